"""Requests that wait are bounded in number: past the bound the answer comes at once, and others are served."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import all_ended, job_of, submit
from tests.acceptance.stack import Stack

WAITING = 100
PROMPTLY_S = 2.0  # on a machine that does other things too; without a bound it is the 30 s of the wait
FAR_AWAY = "2101-01-01T00:00:00Z"


def timed(call: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    began = time.monotonic()
    answer = call()
    return time.monotonic() - began, answer


@pytest.mark.timeout(120)
def test_a_hundred_who_wait_do_not_hold_up_the_others(rough_stack: Stack, rough_http: httpx.Client) -> None:
    body, headers = cases.submission(deadline=FAR_AWAY), {"Prefer": "wait=30"}
    clients = [rough_stack.client() for _ in range(WAITING)]
    gate = threading.Barrier(WAITING)

    def wait_for_one(client: httpx.Client) -> tuple[float, httpx.Response]:
        gate.wait()
        return timed(lambda: client.post("/v1/jobs", json=body, headers=headers))

    with ThreadPoolExecutor(WAITING) as pool:
        with rough_stack.workers_paused():
            waiting = [pool.submit(wait_for_one, client) for client in clients]
            time.sleep(5)
            still = [future for future in waiting if not future.done()]
            assert 0 < len(still) <= WAITING / 2, "some wait, and the bound turned away the rest"
            others_are_served(rough_http)
        answers = [future.result() for future in waiting]
    for client in clients:
        client.close()
    assert Counter(answer.status_code for _, answer in answers) == {
        200: len(still),
        202: WAITING - len(still),
    }
    assert_turned_away_at_once(waiting, still)
    jobs = all_ended(rough_http, (job_of(answer)["id"] for _, answer in answers), within_s=30)
    assert {job["state"] for job in jobs.values()} == {"succeeded"}


def assert_turned_away_at_once(waiting: list[Future[Any]], still: list[Future[Any]]) -> None:
    for future in waiting:
        took_s, answer = future.result()
        if future not in still:
            assert took_s < 5
            assert "preference-applied" not in answer.headers


def others_are_served(http: httpx.Client) -> None:
    """Probes, reads and submits answer promptly; a further wait is answered at once with the queued job."""
    job_id = submit(http)["id"]
    for call in (
        lambda: http.get("/healthz"),
        lambda: http.get(f"/v1/jobs/{job_id}"),
        lambda: http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=30"}),
        lambda: http.post("/v1/jobs", json=cases.submission()),
    ):
        took_s, answer = timed(call)
        assert answer.status_code in {200, 202}
        assert took_s < PROMPTLY_S
