"""Workers killed, Redis flushed, the stack stopped, all amid hundreds of jobs: none is lost, none ends twice.

Beside HTTP it uses the pid files of the data folder, and the address of its Redis.
"""

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import redis

from service.embedded import server_urls
from tests.acceptance import cases
from tests.acceptance.calls import (
    CLOSING_ACTIONS,
    Job,
    actions,
    all_ended,
    assert_problem,
    pages,
    read,
    side_by_side,
    submit_many,
    time_of,
)
from tests.acceptance.stack import STOPS_WITHIN_S, Stack, eventually


@dataclass(frozen=True)
class Chaos:
    """How much of it."""

    jobs: int
    kills: int
    flushed_after: tuple[int, ...]


SHORT = Chaos(jobs=400, kills=4, flushed_after=(1, 2))
FULL = Chaos(jobs=1000, kills=10, flushed_after=(2, 5, 8))


@pytest.fixture
def chaos(full: bool) -> Chaos:
    """With `--faults full` as much as is promised."""
    return FULL if full else SHORT


def wave(size: int) -> list[dict[str, Any]]:
    """Cases of both models."""
    picture = cases.image_submission(cases.image(28))
    return [cases.submission(row) if row % 2 else picture for row in range(size)]


def claimant(stack: Stack, http: httpx.Client) -> str | None:
    """The worker that has a job in its hands, if one has."""
    for job in pages(http, "/v1/jobs", state="running", limit=1):
        events = http.get(f"/v1/jobs/{job['id']}/events").json()["items"]
        claims = [event["actor"] for event in events if event["action"] == "job.claimed"]
        return next(name for name in stack.worker_names if name in claims[-1])
    return None


def kill_a_worker_at_work(stack: Stack, http: httpx.Client, within_s: float = 5) -> None:
    """SIGKILL a worker that has a job in its hands, or any if that does not happen soon; see it replaced."""
    until = time.monotonic() + within_s
    while True:
        with stack.workers_paused(settled=False):  # else it might end its jobs before the signal arrives
            name = claimant(stack, http)
            if name is not None or time.monotonic() > until:
                pid = stack.pid(name or stack.worker_names[0])
                os.kill(pid, signal.SIGKILL)
                break
        time.sleep(0.01)
    eventually(lambda: stack.pid(name or stack.worker_names[0]) != pid, within_s=30)


def assert_ended_once(http: httpx.Client, jobs: dict[str, Job]) -> list[list[str]]:
    """That each job succeeded with one result and one closing event; what happened to each."""
    assert Counter(job["state"] for job in jobs.values()) == {"succeeded": len(jobs)}
    trails = side_by_side(lambda job_id: actions(http, job_id), jobs, threads=4)
    for trail in trails:
        assert trail[0] == "job.submitted"
        assert [action for action in trail if action in CLOSING_ACTIONS] == ["job.succeeded"], trail
        assert trail[-1] in CLOSING_ACTIONS
    results = side_by_side(lambda job_id: read(http, job_id)["result"], jobs, threads=4)
    assert all(result["type"] == "classification" for result in results)
    return trails


@pytest.mark.timeout(300)
def test_killed_workers_and_flushes_lose_no_job(
    rough_stack: Stack, rough_http: httpx.Client, chaos: Chaos
) -> None:
    sent: list[str] = []
    with redis.Redis.from_url(server_urls(rough_stack.data).redis_url) as broker:
        for number in range(chaos.kills):
            sent += [job["id"] for job in submit_many(rough_http, wave(chaos.jobs // chaos.kills))]
            kill_a_worker_at_work(rough_stack, rough_http)
            if number in chaos.flushed_after:
                broker.flushall()
    trails = assert_ended_once(rough_http, all_ended(rough_http, sent, within_s=90))
    assert any("job.rescued" in trail for trail in trails), "no kill met a running job: nothing shown"


@pytest.mark.timeout(180)
def test_a_killed_postgres_loses_no_job_that_was_accepted(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    sent: list[str] = []
    refused = 0
    for number in range(60):
        if number in {20, 40}:
            os.kill(rough_stack.pid("postgres"), signal.SIGKILL)
        answer = rough_http.post("/v1/jobs", json=cases.submission(number))
        if answer.status_code == 202:
            sent.append(answer.json()["id"])
            continue
        refused += 1
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        time.sleep(0.2)
    eventually(lambda: rough_http.get("/readyz").status_code == 200, within_s=60)
    assert_ended_once(rough_http, all_ended(rough_http, sent, within_s=60))
    assert refused, "Postgres was never away: nothing shown"


@pytest.mark.timeout(300)
def test_stopping_and_starting_amid_many_jobs_loses_none(rough_stack: Stack, chaos: Chaos) -> None:
    sent: list[str] = []
    stopping = threading.Event()
    submitting = threading.Thread(target=submit_until_refused, args=(rough_stack, sent, stopping))
    submitting.start()
    eventually(lambda: len(sent) >= chaos.jobs, within_s=60)
    stopping.set()
    stopped_at = datetime.now(UTC)
    took_s = rough_stack.stop()
    submitting.join()
    rough_stack.start()
    with rough_stack.client() as http:
        jobs = all_ended(http, sent, within_s=60)
        assert_ended_once(http, jobs)
    after = sum(time_of(job["finished_at"]) > stopped_at for job in jobs.values())
    assert after, "all jobs had ended before the stop: nothing shown"
    assert took_s < STOPS_WITHIN_S


def submit_until_refused(stack: Stack, sent: list[str], stopping: threading.Event) -> None:
    """Submit without a pause; the ids of those that were accepted go into `sent`."""
    with stack.client() as http:
        try:
            while True:
                sent.extend(job["id"] for job in submit_many(http, wave(100)))
        except (httpx.TransportError, AssertionError):
            assert stopping.is_set(), "refused before the stop"
