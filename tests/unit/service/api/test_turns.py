"""Turns of requests: how many of a tenant are worked on, which rest, and who stands in line."""

import threading
import time
from functools import partial
from typing import Any

import pytest
from flask import Flask

from service.accounts import Principal
from service.api.http.turns import (
    LARGE_BYTES,
    LONG_S,
    PROBERS_S,
    QUARTER,
    RESTS_TIMES,
    SHARED_S,
    STRANGERS_S,
    Turns,
)
from service.errors import TenantBusy
from tests.unit.service.api.asking import LONG, A, B, in_a_thread, request


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


@pytest.mark.parametrize(("others", "at_once"), [((), 3), ((B,), 1)], ids=["alone", "one of two"])
def test_while_others_send_requests_a_tenant_has_one_turn(
    app: Flask, others: tuple[Principal, ...], at_once: int
) -> None:
    turns = Turns(64)
    turns.install(app)
    over, has_turn = threading.Event(), threading.Semaphore(0)

    def work(who: Principal) -> None:
        with request(app):
            turns.take(who, LONG)
            has_turn.release()
            over.wait(10)

    for who in (A, *others):
        with request(app):
            turns.begin(who)
    threads = [in_a_thread(partial(work, A)) for _ in range(3)]
    for _ in range(at_once):
        assert has_turn.acquire(timeout=5)
    assert at_once == 3 or not has_turn.acquire(timeout=0.2)
    threads.append(in_a_thread(partial(work, B)))
    assert has_turn.acquire(timeout=5)  # another finds one at once
    over.set()
    for _ in range(3 - at_once):
        assert has_turn.acquire(timeout=5)  # the end of one is the turn of the next
    for thread in threads:
        thread.join(timeout=5)


def test_a_tenant_that_was_silent_for_a_while_counts_no_more(app: Flask) -> None:
    now = [100.0]
    turns = Turns(64, clock=lambda: now[0])
    for who in (B, A):
        with request(app):
            turns.begin(who)
    now[0] += SHARED_S + 0.1
    with request(app), request(app):
        turns.begin(A)
        turns.take(A, LONG)
        turns.take(A, LONG)  # would wait for the first one's end


def test_a_request_that_waits_for_results_leaves_its_turn_to_the_next(app: Flask) -> None:
    turns = Turns(64)
    turns.install(app)
    for who in (A, B):
        with request(app):
            turns.begin(who)
    order: list[str] = []

    def second() -> None:
        with request(app):
            turns.take(A, LONG)
            order.append("second")

    with request(app):
        turns.take(A, LONG)
        thread = in_a_thread(second)
        time.sleep(0.1)
        order.append("first")
        with turns.paused():
            thread.join(timeout=5)
        order.append("first again")
        another = in_a_thread(second)
        time.sleep(0.1)
        assert order == ["first", "second", "first again"]
    another.join(timeout=5)
    assert order[3:] == ["second"]


def test_of_requests_without_a_body_one_is_worked_on_at_a_time(app: Flask) -> None:
    turns = Turns(64)
    turns.install(app)
    for who in (A, B):
        with request(app):
            turns.begin(who)
    order: list[str] = []

    def second() -> None:
        with request(app):
            turns.begin(A)
            order.append("second")

    with request(app):
        turns.begin(A)
        thread = in_a_thread(second)
        time.sleep(0.1)
        with request(app):
            turns.begin(B)
            order.append("first, and another tenant beside it")
    thread.join(timeout=5)
    assert order == ["first, and another tenant beside it", "second"]


def is_worked_on(app: Flask, turns: Turns, path: str = "/", **given: Any) -> bool:
    """Whether a request of A has its turn at once."""
    begun = threading.Event()

    def ask() -> None:
        with request(app, path, **given):
            turns.begin(A)
            begun.set()

    in_a_thread(ask)
    return begun.wait(0.2)


def shared(app: Flask) -> Turns:
    """Turns while two tenants send requests."""
    turns = Turns(64)
    turns.install(app)
    for who in (B, A):
        with request(app):
            turns.begin(who)
    return turns


def test_of_requests_of_two_kinds_one_is_worked_on_as_well(app: Flask) -> None:
    app.add_url_rule("/other", "other", methods=["POST"])
    turns = shared(app)
    with request(app):
        turns.begin(A)
        assert not is_worked_on(app, turns, "/other")


@pytest.mark.parametrize("given", [{"data": b"{}"}, {"headers": {"Transfer-Encoding": "chunked"}}])
def test_a_request_takes_its_turn_once_its_body_is_read(app: Flask, given: dict[str, Any]) -> None:
    turns = shared(app)
    with request(app, **given):
        turns.begin(A)
        assert is_worked_on(app, turns)
        turns.take(A, b"{}")
        assert not is_worked_on(app, turns)


def test_a_stream_that_asks_again_who_its_reader_is_takes_no_other_turn(app: Flask) -> None:
    turns = shared(app)
    with request(app):
        turns.begin(A)
        turns.leave()
        turns.begin(A)
        assert is_worked_on(app, turns)


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_the_next_of_a_kind_that_takes_long_rests(app: Flask) -> None:
    now, slept = [100.0], list[float]()
    turns = Turns(64, clock=lambda: now[0], sleep=slept.append)
    turns.install(app)
    for path in ("long", "other"):
        app.add_url_rule(f"/{path}", path, methods=["POST"])

    def ask(path: str, who: Principal, work_s: float = 0.0) -> None:
        with request(app, path):
            turns.begin(who)
            work(work_s)

    ask("/other", B)
    ask("/long", A, 3 * LONG_S)
    now[0] += (QUARTER + 1) * 3 * LONG_S
    for path, who in (("/other", A), ("/long", B)):
        ask(path, who)
    assert slept == []
    ask("/long", A)
    (rested,) = slept
    assert rested >= 3 * LONG_S * (RESTS_TIMES - QUARTER - 1)
    now[0] += SHARED_S + 0.1
    ask("/long", A, LONG_S)
    ask("/long", A)  # it is alone by now
    assert len(slept) == 1


@pytest.mark.parametrize(("count", "least_s", "most_s"), [(1, 0.0, 0.0), (20, 0.26, 0.7)])
def test_many_short_requests_have_a_quarter_of_the_time(
    app: Flask, count: int, least_s: float, most_s: float
) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    turns = Turns(64, clock=lambda: now[0], sleep=sleep)
    turns.install(app)
    with request(app):
        turns.begin(B)
    for _ in range(count + 1):
        with request(app):
            turns.begin(A)
            work(0.8 * LONG_S)
    assert least_s <= now[0] - 100.0 <= most_s


def test_what_was_worked_after_a_wait_counts_as_well(app: Flask) -> None:
    slept: list[float] = []
    turns = Turns(64, clock=lambda: 100.0, sleep=slept.append)
    turns.install(app)
    for who in (B, A):
        with request(app):
            turns.begin(who)
    with request(app):
        turns.begin(A)
        with turns.paused():
            pass
        work(LONG_S)
    assert slept == []
    with request(app):
        turns.begin(A)
    assert slept[0] >= RESTS_TIMES * LONG_S


def test_strangers_are_answered_one_after_the_other_while_tenants_send_requests(app: Flask) -> None:
    now, slept = [100.0], list[float]()
    turns = Turns(64, clock=lambda: now[0], sleep=slept.append)
    turns.install(app)

    @app.get("/known")
    def known() -> str:
        turns.begin(A)
        return "good"

    http = app.test_client()
    for path in ("/nothing", "/known", "/nothing", "/healthz", "/known"):
        http.get(path)
    assert slept == [STRANGERS_S, PROBERS_S]
    http.get("/nothing")
    assert slept[2:] == [STRANGERS_S]
    now[0] += SHARED_S + 0.1
    http.get("/nothing")
    assert len(slept) == 3


def test_a_tenant_has_so_many_in_line_that_threads_are_left_for_others(app: Flask) -> None:
    turns = Turns(8)  # 6 of one tenant
    turns.install(app)
    for who in (A, B):
        with request(app):
            turns.begin(who)
    over, in_line = threading.Event(), threading.Semaphore(0)

    def ask(who: Principal) -> None:
        with request(app):
            turns.admit(who, LARGE_BYTES + 1)
            in_line.release()
            over.wait(10)

    threads = [in_a_thread(partial(ask, A)) for _ in range(6)]
    for _ in threads:
        assert in_line.acquire(timeout=5)
    with request(app), pytest.raises(TenantBusy):
        turns.admit(A, LARGE_BYTES + 1)
    with request(app), pytest.raises(TenantBusy):
        turns.take(A, LONG)
    with request(app):
        turns.admit(A, LARGE_BYTES)
        turns.take(A, b"{}")
        turns.admit(B, LARGE_BYTES + 1)
    over.set()
    for thread in threads:
        thread.join(timeout=5)
    with request(app):
        turns.admit(A, LARGE_BYTES + 1)


def test_requests_that_wait_for_results_stand_in_no_line(app: Flask) -> None:
    turns = Turns(8)
    turns.install(app)
    for who in (A, B):
        with request(app):
            turns.begin(who)
    over, waiting = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        with request(app):
            turns.take(A, LONG)
            with turns.paused():
                waiting.release()
                over.wait(10)

    threads = []
    for _ in range(10):
        threads.append(in_a_thread(wait))
        assert waiting.acquire(timeout=5)
    with request(app):
        turns.take(A, LONG)
    over.set()
    for thread in threads:
        thread.join(timeout=5)


def test_a_burst_of_a_tenant_that_is_alone_waits_in_line(app: Flask) -> None:
    turns = Turns(8)
    turns.install(app)
    with request(app):
        turns.begin(A)
    admitted = threading.Semaphore(0)

    def ask() -> None:
        with request(app):
            turns.admit(A, LARGE_BYTES + 1)
            time.sleep(0.05)
            admitted.release()

    for _ in range(20):
        in_a_thread(ask)
    for _ in range(20):
        assert admitted.acquire(timeout=5)
