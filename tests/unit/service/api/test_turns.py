"""Requests and their turns: how many of a tenant run, how large bodies share room and turns, and what is not parsed at all."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.ctx import RequestContext
from werkzeug.test import create_environ

from models.strict_json import read_json
from service.accounts import Principal
from service.api.http.requests import HINTED, part_as
from service.api.http.turns import (
    LARGE_BYTES,
    LONG_S,
    LONG_VALUES,
    MB,
    PAUSES_TIMES,
    RESTS_TIMES,
    ROOM_MB,
    SHARED_S,
    STRANGERS_S,
    Turns,
    cost_of,
)
from service.api.jobs.schemas import SubmitRequest
from service.crypto import Cipher
from service.errors import BodyTooLarge, RequestInvalid, TenantBusy

LONG = b"[" + b"0," * LONG_VALUES + b"0]"
HUGE = b"[" + b"0," * 2_000_000 + b"0]"  # holds the interpreter for 80 ms


def caller(tenant: str) -> Principal:
    return Principal("0123456789ab", UUID(int=ord(tenant)), frozenset(), Cipher(bytes(32)))


A, B = caller("a"), caller("b")


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


@contextmanager
def request(app: Flask, path: str = "/", **given: Any) -> Iterator[RequestContext]:
    with app.request_context(create_environ(path, method="POST", **given)) as context:
        yield context


def in_a_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


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


def test_while_its_body_is_read_a_request_takes_no_turn(app: Flask) -> None:
    turns = Turns(64)
    turns.install(app)
    for who in (B, A):
        with request(app):
            turns.begin(who)
    with (
        request(app, "/", headers={"Content-Length": "9"}),
        request(app, "/", headers={"Transfer-Encoding": "chunked"}),
    ):
        turns.begin(A)
        turns.begin(A)
        with request(app):
            turns.begin(A)


def test_the_next_of_a_kind_that_takes_long_rests(app: Flask) -> None:
    now, slept = [100.0], list[float]()
    turns = Turns(64, clock=lambda: now[0], sleep=slept.append)
    turns.install(app)
    for path in ("long", "other"):
        app.add_url_rule(f"/{path}", path, methods=["POST"])

    def ask(path: str, who: Principal, work_s: float) -> None:
        with request(app, path):
            turns.begin(who)
            until = time.thread_time() + work_s
            while time.thread_time() < until:
                pass

    ask("/other", B, 0)
    ask("/long", A, 3 * LONG_S)
    for path, who in (("/other", A), ("/long", B), ("/long", A)):
        ask(path, who, 0)
    (rested,) = slept
    assert 3 * LONG_S * RESTS_TIMES <= rested < 10 * LONG_S * RESTS_TIMES
    ask("/long", A, LONG_S)
    now[0] += SHARED_S + 0.1
    ask("/long", A, 0)  # it is alone by now
    assert len(slept) == 2


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
        until = time.thread_time() + LONG_S
        while time.thread_time() < until:
            pass
    assert slept == []
    with request(app):
        turns.begin(A)
    assert len(slept) == 1


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
    assert slept == [STRANGERS_S]
    now[0] += SHARED_S + 0.1
    http.get("/nothing")
    assert slept == [STRANGERS_S]


def test_what_stops_the_others_for_long_is_spaced_by_many_times_as_long(app: Flask) -> None:
    now, slept = [100.0], list[float]()
    turns = Turns(64, clock=lambda: now[0], sleep=slept.append)
    turns.install(app)
    for who in (A, A, B, A):
        with request(app):
            turns.take(who, HUGE)
    pause = PAUSES_TIMES * cost_of(HUGE).seconds
    assert slept == pytest.approx([0, pause, 0, 2 * pause])
    now[0] += 3 * pause
    with request(app):
        turns.take(A, HUGE)
    assert slept[-1] == 0
    assert pause == pytest.approx(2.0, rel=0.01)


def test_a_tenant_with_too_many_of_them_is_told(app: Flask) -> None:
    turns = Turns(64, clock=lambda: 100.0, sleep=lambda _: None)
    turns.install(app)

    def parse(who: Principal) -> None:
        with request(app):
            turns.take(who, HUGE)

    for _ in range(10):  # 20 s of patience in steps of 2 s
        parse(A)
    with pytest.raises(TenantBusy):
        parse(A)
    parse(B)


@pytest.mark.parametrize(
    "body",
    [
        "{" + ",".join(f'"a{number}":0' for number in range(260_000)) + "}",
        "[" + ",".join(["[]"] * 1_300_000) + "]",
        "[" + ",".join(["0"] * 3_500_000) + "]",
    ],
    ids=["members", "lists", "numbers"],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(app: Flask, body: str) -> None:
    turns = Turns(64)
    with request(app), pytest.raises(BodyTooLarge, match="too many values"):
        turns.take(A, body.encode())


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"jobs": [{"model": "m", "input": {f"field {i}": 1.5 for i in range(100)}}] * 1000}),
        json.dumps({"input": {"signal": [[0.125, -0.25]] * 650_000}}),
        json.dumps({"input": {"data": "A" * 10_000_000}}),
    ],
    ids=["1,000 jobs of 100 fields", "an hour of two leads", "a picture"],
)
def test_honest_bodies_are_not(app: Flask, body: str) -> None:
    turns = Turns(64)
    turns.install(app)
    with request(app):
        turns.take(A, body.encode())


@pytest.mark.parametrize("text", ["[" + "0," * 500_000 + "0]", "[" + "[]," * 200_000 + "0]"])
def test_the_estimate_is_no_less_than_it_takes(text: str) -> None:
    body = text.encode()
    estimated, took = cost_of(body).seconds, float("inf")
    for _ in range(5):
        began = time.thread_time()
        read_json(body)
        took = min(took, time.thread_time() - began)
    assert took < 3 * estimated  # a slow machine takes longer, none far longer


def test_large_bodies_share_the_room_that_there_is(app: Flask) -> None:
    turns = Turns(64)
    turns.install(app)
    over, admitted = threading.Event(), threading.Semaphore(0)

    def read(who: Principal) -> None:
        with request(app):
            turns.admit(who, ROOM_MB // 3 * MB)
            admitted.release()
            over.wait(10)

    threads = [in_a_thread(partial(read, A)) for _ in range(2)]
    assert admitted.acquire(timeout=5)
    assert not admitted.acquire(timeout=0.2)  # the second waits
    threads.append(in_a_thread(partial(read, B)))
    assert admitted.acquire(timeout=5)
    over.set()
    assert admitted.acquire(timeout=5)
    for thread in threads:
        thread.join(timeout=5)


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

    threads = [in_a_thread(wait) for _ in range(10)]
    for _ in threads:
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


@pytest.mark.parametrize("names", [105, 200_000])
def test_far_more_unknown_names_than_are_told_cost_no_more_than_those(names: int) -> None:
    part = {"model": "m", "input": {}} | {f"a{number}": 0 for number in range(names)}
    began = time.thread_time()
    with pytest.raises(RequestInvalid) as raised:
        part_as(SubmitRequest, part)
    assert time.thread_time() - began < 0.5
    assert len(raised.value.errors) == 100
    assert raised.value.errors[0].pointer == "/a0"


def test_the_first_of_many_unknown_names_get_a_hint() -> None:
    names = {f"prioritty{number}": 0 for number in range(30)}
    with pytest.raises(RequestInvalid) as raised:
        part_as(SubmitRequest, {"model": "m", "input": {}} | names)
    hinted = ["priority" in error.detail for error in raised.value.errors]
    assert hinted == [True] * HINTED + [False] * (30 - HINTED)
