"""What a body costs: room for large ones, pauses after long parsing, and what is not parsed at all."""

import json
import threading
import time
from functools import partial

import pytest
from flask import Flask

from models.strict_json import read_json
from service.accounts import Principal
from service.api.http.requests import HINTED, part_as
from service.api.http.turns import (
    LARGE_BYTES,
    MB,
    PAUSES_BESIDE_OTHERS_TIMES,
    PAUSES_TIMES,
    ROOM_MB,
    SMALL_BYTES,
    Turns,
    cost_of,
)
from service.api.jobs.schemas import SubmitRequest
from service.errors import BodyTooLarge, RequestInvalid, TenantBusy
from tests.unit.service.api.asking import HUGE, LONG, A, B, in_a_thread, request


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


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


def test_beside_others_bodies_of_many_values_are_spaced_by_twice_as_long(app: Flask) -> None:
    now, slept = [100.0], list[float]()
    turns = Turns(64, clock=lambda: now[0], sleep=slept.append)
    turns.install(app)
    for who in (B, A):
        with request(app):
            turns.begin(who)
    for body in (HUGE, HUGE, LONG, LONG):
        with request(app):
            turns.take(A, body)
    huge, long = (PAUSES_BESIDE_OTHERS_TIMES * cost_of(body).seconds for body in (HUGE, LONG))
    assert slept == pytest.approx([0, huge, 2 * huge, 2 * huge + long])


def test_a_text_is_counted_in_parts_and_no_further_than_what_is_too_much() -> None:
    part = b"[{" + b'"a":0,' * 20_000
    assert cost_of(part * 3).values == 120_000
    assert cost_of(part * 3).megabytes == pytest.approx(3 * cost_of(part).megabytes)
    assert cost_of(part * 100).is_too_high
    assert cost_of(part * 100).values < 600_000  # of 4,000,000


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
        json.dumps({"input": {"samples": [1024] * (2 * 3600 * 360)}}),
        json.dumps({"input": {"data": "A" * 10_000_000}}),
    ],
    ids=["1,000 jobs of 100 fields", "an hour of two leads", "two hours at 360 Hz", "a picture"],
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


def test_many_bodies_that_are_not_large_share_it_too(app: Flask) -> None:
    turns = Turns(160)
    turns.install(app)
    over, admitted = threading.Event(), threading.Semaphore(0)

    def read(length: int) -> None:
        with request(app):
            turns.admit(A, length)
            admitted.release()
            over.wait(10)

    threads = [in_a_thread(partial(read, LARGE_BYTES)) for _ in range(40)]
    for _ in range(ROOM_MB // 2):
        assert admitted.acquire(timeout=5)
    assert not admitted.acquire(timeout=0.2)
    threads.append(in_a_thread(partial(read, SMALL_BYTES)))
    assert admitted.acquire(timeout=5)
    over.set()
    for thread in threads:
        thread.join(timeout=5)


def test_requests_of_large_objects_wait_for_each_other(app: Flask) -> None:
    turns = Turns(64, sleep=lambda _: None)
    turns.install(app)
    over, taken = threading.Event(), threading.Semaphore(0)

    def work(who: Principal) -> None:
        with request(app):
            turns.take(who, HUGE)
            taken.release()
            over.wait(10)

    threads = [in_a_thread(partial(work, who)) for who in (A, B)]
    assert taken.acquire(timeout=5)
    assert not taken.acquire(timeout=0.2)
    with request(app):
        turns.take(A, LONG)  # a small one does not
    over.set()
    assert taken.acquire(timeout=5)
    for thread in threads:
        thread.join(timeout=5)


def test_requests_that_wait_for_results_leave_their_room_to_others(app: Flask) -> None:
    turns = Turns(64, sleep=lambda _: None)
    turns.install(app)
    with request(app):
        turns.admit(A, ROOM_MB // 3 * MB)
        turns.take(A, HUGE)
        with turns.paused():
            done = threading.Event()

            def other() -> None:
                with request(app):
                    turns.admit(A, ROOM_MB // 3 * MB)
                    turns.take(A, HUGE)
                    done.set()

            thread = in_a_thread(other)
            assert done.wait(5)
        thread.join(timeout=5)


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


def test_a_request_that_has_its_body_keeps_its_room_while_it_waits(app: Flask) -> None:
    turns = Turns(64)
    turns.install(app)
    with request(app):
        turns.admit(A, ROOM_MB // 3 * MB)
        with turns.paused(keeps_room=True):
            assert not turns._room.take(A.tenant_id, places=ROOM_MB // 3 * MB // 1024)
        with turns.paused():
            assert turns._room.take(A.tenant_id, places=ROOM_MB // 3 * MB // 1024)
