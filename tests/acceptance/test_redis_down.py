"""Without Redis jobs are accepted, scored and told of all the same, a little later."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx

from tests.acceptance import cases
from tests.acceptance.calls import all_ended, job_of, submit
from tests.acceptance.stack import Stack, eventually

ACCEPTED_WITHIN_S = 5.0


def submitted_for(http: httpx.Client, seconds: float) -> list[str]:
    """The ids of jobs that were submitted meanwhile, each accepted promptly."""
    ids, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        ids.append(submit(http)["id"])
        assert time.monotonic() - began < ACCEPTED_WITHIN_S
        time.sleep(0.05)
    return ids


@contextlib.contextmanager
def redis_kept_down(stack: Stack) -> Iterator[None]:
    """Redis is killed again and again, as often as it is restarted."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
                os.kill(stack.pid("redis"), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def redis_state(http: httpx.Client) -> str:
    return str(job_of(http.get("/readyz"))["redis"])


def test_jobs_are_accepted_while_redis_is_dead_and_end_when_it_is_back(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    with redis_kept_down(rough_stack):
        eventually(lambda: redis_state(rough_http) == "unreachable", within_s=10)
        ids = submitted_for(rough_http, 3)
    eventually(lambda: redis_state(rough_http) == "ok", within_s=30)
    jobs = all_ended(rough_http, ids, within_s=30)
    assert {job["state"] for job in jobs.values()} == {"succeeded"}


def test_jobs_are_accepted_while_redis_hangs_and_end_when_it_is_back(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    with rough_stack.paused("redis"):
        ids = submitted_for(rough_http, 3)
        assert redis_state(rough_http) == "unreachable"
    jobs = all_ended(rough_http, ids, within_s=30)
    assert {job["state"] for job in jobs.values()} == {"succeeded"}


def test_a_hanging_redis_that_is_killed_is_replaced(rough_stack: Stack, rough_http: httpx.Client) -> None:
    with rough_stack.paused("redis"):
        ids = submitted_for(rough_http, 1)
        os.kill(rough_stack.pid("redis"), signal.SIGKILL)
        jobs = all_ended(rough_http, ids, within_s=30)
    assert {job["state"] for job in jobs.values()} == {"succeeded"}


def test_without_redis_the_stack_is_still_ready(rough_stack: Stack, rough_http: httpx.Client) -> None:
    with rough_stack.paused("redis"):
        answer = rough_http.get("/readyz")
    assert (answer.status_code, job_of(answer)["status"]) == (200, "ready")


def test_one_who_waits_gets_the_result_while_redis_hangs(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    """No wake-up and no announcement comes through: the worker looks by itself, and so does the API for who waits."""
    with rough_stack.paused("redis"):
        eventually(lambda: redis_state(rough_http) == "unreachable", within_s=10)
        began = time.monotonic()
        answer = rough_http.post("/v1/jobs", json=cases.submission(1), headers={"Prefer": "wait=30"})
        assert (answer.status_code, job_of(answer)["state"]) == (200, "succeeded")
        assert time.monotonic() - began < 5
