"""A queue that is full: submits are refused before anything is stored, and told when to come back."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import assert_problem, job_of, pages, submit, submit_many
from tests.acceptance.conftest import QUICK_TO_TEST
from tests.acceptance.stack import Stack, eventually

MOST = int(QUICK_TO_TEST["MEDQUEUE_MAX_QUEUED"])
MOST_OF_TENANT = int(QUICK_TO_TEST["MEDQUEUE_MAX_QUEUED_PER_TENANT"])
BULK = 1000
CASE = cases.submission(deadline="2101-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def crowd(rough_stack: Stack) -> Iterator[httpx.Client]:
    """A tenant that submits more than it may."""
    with rough_stack.client(rough_stack.new_key("crowd")) as http:
        yield http


@pytest.fixture(scope="module")
def neighbour(rough_stack: Stack) -> Iterator[httpx.Client]:
    """Another tenant."""
    with rough_stack.client(rough_stack.new_key("neighbour")) as http:
        yield http


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    problem = assert_problem(answer, status, code)
    assert "Nothing was accepted" in problem["detail"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def post(http: httpx.Client, body: Any, key: str, path: str = "/v1/jobs") -> httpx.Response:
    return http.post(path, json=body, headers={"Idempotency-Key": key})


def refusals(rough_http: httpx.Client, reason: str) -> float:
    """What the service has counted."""
    name = f'medqueue_submits_refused_total{{reason="{reason}"}} '
    lines = rough_http.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.timeout(180)
def test_a_full_queue_refuses_what_is_new_repeats_its_answers_and_opens_again(
    rough_stack: Stack, rough_http: httpx.Client, crowd: httpx.Client, neighbour: httpx.Client
) -> None:
    """One test: filling the queue takes seconds."""
    key, bulk_key, subject = str(uuid4()), str(uuid4()), str(uuid4())
    with rough_stack.workers_paused():
        first = post(crowd, CASE, key)
        first_bulk = post(crowd, {"jobs": [CASE] * 9}, bulk_key, "/v1/jobs/bulk")
        for _ in range(MOST_OF_TENANT // BULK - 1):
            submit_many(crowd, [CASE] * BULK)
        rest = MOST_OF_TENANT - (MOST_OF_TENANT // BULK - 1) * BULK - 10
        marked = CASE | {"subject": subject}
        too_many = crowd.post("/v1/jobs/bulk", json={"jobs": [marked] * (rest + 1)})
        assert_refused(too_many, 429, "tenant_queue_full")
        submit_many(crowd, [CASE] * rest)
        assert_refused(crowd.post("/v1/jobs", json=marked), 429, "tenant_queue_full")
        assert_refused(post(crowd, marked, str(uuid4())), 429, "tenant_queue_full")
        assert list(pages(crowd, "/v1/jobs", subject=subject)) == []

        again = post(crowd, CASE, key)
        assert (again.status_code, again.content) == (202, first.content)
        again = post(crowd, {"jobs": [CASE] * 9}, bulk_key, "/v1/jobs/bulk")
        assert (again.status_code, again.content) == (200, first_bulk.content)
        assert crowd.post("/v1/jobs", json=cases.without("mean_radius")).status_code == 422

        submit(neighbour, CASE)
        assert_refused(neighbour.post("/v1/jobs/bulk", json={"jobs": [marked] * BULK}), 503, "queue_full")
        assert list(pages(neighbour, "/v1/jobs", subject=subject)) == []
        assert refusals(rough_http, "tenant_queue_full") == 3
        assert refusals(rough_http, "queue_full") == 1
    eventually(lambda: crowd.post("/v1/jobs", json=CASE).status_code == 202, within_s=60, every_s=0.5)
    assert job_of(neighbour.post("/v1/jobs", json=CASE))["state"] == "queued"
