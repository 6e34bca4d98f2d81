"""Idempotency-Key: a repeated request is answered as the first time and stores nothing again."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import assert_problem, ended, job_of, pages, side_by_side
from tests.acceptance.stack import Stack


def post(http: httpx.Client, body: Any, key: str, path: str = "/v1/jobs") -> httpx.Response:
    return http.post(path, json=body, headers={"Idempotency-Key": key})


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def count(http: httpx.Client, subject: str) -> int:
    return len(list(pages(http, "/v1/jobs", subject=subject)))


def test_the_same_request_gets_the_first_answer_byte_for_byte(http: httpx.Client) -> None:
    key, body = str(uuid4()), cases.submission(subject=str(uuid4()), metadata={"a": "b"})
    first = post(http, body, key)
    ended(http, job_of(first)["id"])
    again = post(http, body, key)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert count(http, body["subject"]) == 1


def test_the_same_request_that_waits_gets_the_result_of_the_first(http: httpx.Client) -> None:
    key, body = str(uuid4()), cases.submission()
    first = post(http, body, key)
    again = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key, "Prefer": "wait=30"})
    assert (again.status_code, job_of(again)["id"]) == (200, job_of(first)["id"])


def test_another_body_under_the_same_key_is_refused(http: httpx.Client) -> None:
    key, subject = str(uuid4()), str(uuid4())
    assert post(http, cases.submission(subject=subject), key).status_code == 202
    problem = assert_problem(
        post(http, cases.submission(1, subject=subject), key), 422, "idempotency_key_reused"
    )
    assert "new key" in problem["detail"]
    assert count(http, subject) == 1


def test_sixteen_requests_at_the_same_time_make_one_job(http: httpx.Client) -> None:
    key, body = str(uuid4()), cases.submission(subject=str(uuid4()))
    answers = side_by_side(lambda _: post(http, body, key), range(16))
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert count(http, body["subject"]) == 1


def test_a_refused_request_does_not_use_up_its_key(http: httpx.Client) -> None:
    key = str(uuid4())
    assert post(http, cases.without("mean_radius"), key).status_code == 422
    assert post(http, cases.submission(), key).status_code == 202


def test_two_tenants_may_use_the_same_key(http: httpx.Client, stranger: httpx.Client) -> None:
    key = str(uuid4())
    ids = {job_of(post(caller, cases.submission(), key))["id"] for caller in (http, stranger)}
    assert len(ids) == 2


def test_a_bulk_request_is_repeated_as_a_whole(http: httpx.Client) -> None:
    key, subject = str(uuid4()), str(uuid4())
    body = {
        "jobs": [cases.submission(row, subject=subject) for row in range(5)] + [cases.submission(input=3)]
    }
    first, again = (post(http, body, key, "/v1/jobs/bulk") for _ in range(2))
    assert (again.status_code, again.content) == (200, first.content)
    assert count(http, subject) == 5


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_another_bulk_body_under_the_same_key_stores_nothing(http: httpx.Client, rows: int) -> None:
    key, subject = str(uuid4()), str(uuid4())
    assert (
        post(http, {"jobs": [cases.submission(subject=subject)] * 5}, key, "/v1/jobs/bulk").status_code == 200
    )
    other = post(http, {"jobs": [cases.submission(1, subject=subject)] * rows}, key, "/v1/jobs/bulk")
    assert_problem(other, 422, "idempotency_key_reused")
    assert count(http, subject) == 5


def test_sixteen_bulk_requests_at_the_same_time_are_stored_once(http: httpx.Client) -> None:
    key, subject = str(uuid4()), str(uuid4())
    body = {"jobs": [cases.submission(subject=subject)] * 20}
    answers = side_by_side(lambda _: post(http, body, key, "/v1/jobs/bulk"), range(16))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert count(http, subject) == 20


def test_a_repetition_after_the_deadline_still_gets_the_first_answer(http: httpx.Client) -> None:
    """A client that lost the answer must learn that its job was accepted, not that it came too late."""
    key, body = str(uuid4()), cases.submission(deadline=soon(1.5))
    first = post(http, body, key)
    assert first.status_code == 202, first.text
    time.sleep(1.6)
    again = post(http, body, key)
    assert (again.status_code, again.content) == (202, first.content)


def test_a_repeated_bulk_request_after_a_deadline_does_not_mix_up_its_jobs(http: httpx.Client) -> None:
    key = str(uuid4())
    body = {"jobs": [cases.submission(deadline=soon(1.5)), cases.submission(metadata={"row": "1"})]}
    first = post(http, body, key, "/v1/jobs/bulk")
    assert [item.get("state") for item in job_of(first)["items"]] == ["queued"] * 2, first.text
    time.sleep(1.6)
    again = post(http, body, key, "/v1/jobs/bulk")
    assert [item.get("id") for item in job_of(again)["items"]] == [
        item["id"] for item in job_of(first)["items"]
    ]
    assert (again.status_code, again.content) == (200, first.content)


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "ümlaut"])
def test_a_malformed_key_is_refused(http: httpx.Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    assert_problem(http.post("/v1/jobs", json=cases.submission(), headers=headers), 400, "header_invalid")


def test_a_key_of_the_greatest_length_is_taken(stack: Stack, http: httpx.Client) -> None:
    key = (str(uuid4()) + "~" * 255)[:255]
    assert len({job_of(post(http, cases.submission(), key))["id"] for _ in range(2)}) == 1
