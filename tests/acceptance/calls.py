"""The calls that most acceptance tests make, each checked on the way."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import httpx

from tests.acceptance import cases

Job = dict[str, Any]
Given = TypeVar("Given")
Got = TypeVar("Got")

ENDED = frozenset({"succeeded", "failed", "canceled", "expired", "quarantined"})
CLOSING_ACTIONS = frozenset(f"job.{state}" for state in ENDED)


def submit(http: httpx.Client, body: dict[str, Any] | None = None, **fields: Any) -> Job:
    """Submit a good case; the job as it was accepted."""
    answer = http.post("/v1/jobs", json=cases.submission(**fields) if body is None else body)
    assert answer.status_code == 202, answer.text
    return job_of(answer)


def submit_many(http: httpx.Client, bodies: list[dict[str, Any]]) -> list[Job]:
    """Submit good cases in bulk; the jobs in order."""
    answer = http.post("/v1/jobs/bulk", json={"jobs": bodies})
    assert answer.status_code == 200, answer.text
    items: list[Job] = answer.json()["items"]
    assert all("id" in item for item in items), items
    return items


def read(http: httpx.Client, job_id: str) -> Job:
    """A job as it stands."""
    answer = http.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return job_of(answer)


def ended(http: httpx.Client, job_id: str, *, within_s: float = 30) -> Job:
    """A job once it has ended."""
    until = time.monotonic() + within_s
    while True:
        answer = http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=10"})
        assert answer.status_code == 200, answer.text
        job = job_of(answer)
        if job["state"] in ENDED:
            return job
        assert time.monotonic() < until, f"still {job['state']} after {within_s:.0f} s"


def scored(http: httpx.Client, body: dict[str, Any] | None = None, **fields: Any) -> Job:
    """A good case, submitted and scored."""
    job = ended(http, submit(http, body, **fields)["id"])
    assert job["state"] == "succeeded", job
    return job


def all_ended(http: httpx.Client, ids: Iterable[str], *, within_s: float) -> dict[str, Job]:
    """The given jobs by id, without results, once all have ended."""
    wanted, until = set(ids), time.monotonic() + within_s
    while True:
        assert time.monotonic() < until, f"some jobs have not ended after {within_s:.0f} s"
        if not states_left(http):
            found = {job["id"]: job for job in pages(http, "/v1/jobs", limit=200) if job["id"] in wanted}
            assert found.keys() == wanted, f"{len(wanted - found.keys())} jobs are gone"
            if all(job["state"] in ENDED for job in found.values()):
                return found
        time.sleep(0.1)


def states_left(http: httpx.Client) -> list[str]:
    """Those of the states `queued` and `running` that some job is in."""
    found = [http.get("/v1/jobs", params={"state": state, "limit": 1}) for state in ("queued", "running")]
    return [job["state"] for answer in found for job in answer.json()["items"]]


def pages(http: httpx.Client, path: str, **query: Any) -> Iterator[Job]:
    """Every item of a list, page by page."""
    cursor: dict[str, str] = {}
    while True:
        answer = http.get(path, params=query | cursor)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def actions(http: httpx.Client, job_id: str) -> list[str]:
    """What happened to a job, oldest first."""
    return [event["action"] for event in pages(http, f"/v1/jobs/{job_id}/events")]


def side_by_side(call: Callable[[Given], Got], values: Iterable[Given], *, threads: int = 16) -> list[Got]:
    """`call` for each of `values`, so many at the same time."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, values))


def job_of(answer: httpx.Response) -> Job:
    """The JSON object that an answer holds."""
    found: Job = answer.json()
    return found


def time_of(text: str) -> datetime:
    """A time on the wire, which must say its offset."""
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None, text
    return found


def assert_problem(answer: httpx.Response, status: int, code: str) -> Job:
    """That an answer is this problem (RFC 9457), whole; the problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = job_of(answer)
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["type"] == f"urn:medqueue:problem:{code}"
    assert problem["title"]
    assert len(problem["detail"]) > 15, problem
    return problem
