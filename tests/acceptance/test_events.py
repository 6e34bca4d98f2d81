"""GET /v1/events: events as they happen, in order, once each, over as many connections as a reader makes."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import (
    Job,
    assert_problem,
    ended,
    job_of,
    pages,
    scored,
    side_by_side,
    submit,
    submit_many,
)
from tests.acceptance.stack import Stack, eventually

PROMPTLY_S = 1.5  # on a machine that does other things too; the slow re-read comes after 2 s


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of these tests."""
    with stack.client(stack.new_key("events ward")) as client:
        yield client


class Reader:
    """Reads one stream in a thread of its own: its blocks, as lists of lines, and when each came."""

    def __init__(
        self, http: httpx.Client, *, wait_s: int | None = 30, last_id: str | None = None, **query: str
    ) -> None:
        self.blocks: list[list[str]] = []
        self.times: list[float] = []
        self.ended = threading.Event()
        headers = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
        headers |= {} if last_id is None else {"Last-Event-ID": last_id}
        self._context = http.stream("GET", "/v1/events", params=query, headers=headers)
        self.response = self._context.__enter__()
        assert self.response.status_code == 200, self.response.read()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        eventually(lambda: bool(self.blocks), within_s=10)

    def _read(self) -> None:
        block: list[str] = []
        try:
            for line in self.response.iter_lines():
                if line:
                    block.append(line)
                else:
                    self.blocks.append(block)
                    self.times.append(time.monotonic())
                    block = []
        except httpx.HTTPError:
            pass
        self.ended.set()

    @property
    def messages(self) -> list[dict[str, str]]:
        """The events that came: `id`, `event` and `data`."""
        found = [
            dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in self.blocks
        ]
        return [message for message in found if "data" in message]

    @property
    def jobs(self) -> list[str]:
        return [json.loads(message["data"])["data"]["job_id"] for message in self.messages]

    @property
    def last_id(self) -> str:
        """What a reader shows to go on."""
        ids = [line[4:] for block in self.blocks for line in block if line.startswith("id: ")]
        return ids[-1]

    def close(self) -> None:
        """Go away: a close alone would wait for the thread that reads."""
        found: socket.socket = self.response.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._context.__exit__(None, None, None)


@contextmanager
def reading(http: httpx.Client, **wanted: Any) -> Iterator[Reader]:
    reader = Reader(http, **wanted)
    try:
        yield reader
    finally:
        reader.close()


def canceled(http: httpx.Client, stack: Stack) -> str:
    """The id of a job that was canceled."""
    with stack.workers_paused():
        job_id: str = submit(http)["id"]
        assert job_of(http.post(f"/v1/jobs/{job_id}/cancel"))["state"] == "canceled"
    return job_id


def test_an_event_comes_as_soon_as_the_job_has_ended(ward: httpx.Client) -> None:
    before = scored(ward)["id"]
    with reading(ward) as reader:
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["cache-control"] == "no-store"
        assert "retry: 1000" in reader.blocks[0]
        job: Job = scored(ward)
        at = time.monotonic()
        eventually(lambda: reader.jobs == [job["id"]], within_s=10)
        assert reader.times[-1] - at < PROMPTLY_S
    assert before not in reader.jobs
    (message,) = reader.messages
    content = json.loads(message["data"])
    assert message["event"] == content["type"] == "job.succeeded"
    assert message["id"] == content["data"]["event_id"]
    assert content["data"]["job_url"].endswith(f"/v1/jobs/{job['id']}")
    assert content["data"]["model_digest"] == job["model_digest"]


def test_no_patient_data_is_in_the_stream(ward: httpx.Client) -> None:
    subject = f"patient-{uuid4()}"
    with reading(ward) as reader:
        job = scored(ward, subject=subject, metadata={"name": subject})
        eventually(lambda: bool(reader.messages), within_s=10)
    assert subject not in str(reader.blocks)
    assert job["result"]["label"] not in str(reader.messages)


def test_only_the_types_asked_for_come(stack: Stack, ward: httpx.Client) -> None:
    with reading(ward, types="job.canceled,job.failed") as reader:
        scored(ward)
        job_id = canceled(ward, stack)
        eventually(lambda: bool(reader.jobs), within_s=10)
        assert reader.jobs == [job_id]


def test_another_tenant_is_told_nothing(ward: httpx.Client, stranger: httpx.Client) -> None:
    with reading(stranger) as theirs, reading(ward) as own:
        job_id = scored(ward)["id"]
        eventually(lambda: own.jobs == [job_id], within_s=10)
        time.sleep(2.5)
        assert job_id not in theirs.jobs


def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(ward: httpx.Client) -> None:
    with reading(ward, wait_s=0) as reader:
        began = reader.last_id
    first, second, third = (scored(ward)["id"] for _ in range(3))
    with reading(ward, last_id=began, wait_s=0) as reader:
        assert reader.ended.wait(10)
        assert reader.jobs == [first, second, third]
    with reading(ward, last_id=reader.messages[0]["id"], wait_s=0) as reader:
        assert reader.ended.wait(10)
        assert reader.jobs == [second, third]
    with reading(ward, last_id=reader.last_id, wait_s=0) as reader:
        assert reader.ended.wait(10)
        assert reader.jobs == []


def test_a_reader_that_saw_no_event_resumes_where_it_began(ward: httpx.Client) -> None:
    with reading(ward, wait_s=1) as reader:
        assert reader.ended.wait(10)
    job_id = scored(ward)["id"]
    with reading(ward, last_id=reader.last_id, wait_s=0) as reader:
        assert reader.ended.wait(10)
        assert reader.jobs == [job_id]


def test_hundreds_of_events_come_once_each_to_a_reader_that_keeps_coming_back(ward: httpx.Client) -> None:
    found: list[str] = []
    with reading(ward, wait_s=0) as reader:
        last_id = reader.last_id
    submitted = [job["id"] for job in submit_many(ward, [cases.submission()] * 450)]
    until = time.monotonic() + 60
    while len(found) < len(submitted) and time.monotonic() < until:
        with reading(ward, last_id=last_id, wait_s=1) as reader:
            assert reader.ended.wait(20)
            found += reader.jobs
            last_id = reader.last_id
    assert sorted(found) == sorted(submitted)


def test_a_stream_ends_after_the_time_asked_for(ward: httpx.Client) -> None:
    began = time.monotonic()
    with reading(ward, wait_s=2) as reader:
        assert reader.ended.wait(10)
    assert 2 <= time.monotonic() - began < 5


def test_a_silent_stream_is_kept_alive(ward: httpx.Client) -> None:
    with reading(ward) as reader:
        eventually(lambda: any(block[0].startswith(":") for block in reader.blocks), within_s=15)
        assert 8 < reader.times[1] - reader.times[0] < 13


def test_a_job_that_expires_is_told_of(rough_stack: Stack, rough_http: httpx.Client) -> None:
    """The feed is read again every two seconds."""
    with rough_stack.workers_paused(), reading(rough_http, types="job.expired") as reader:
        deadline = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        job_id = submit(rough_http, deadline=deadline)["id"]
        eventually(lambda: reader.jobs == [job_id], within_s=15)


def test_the_waiting_streams_are_bounded_and_the_rest_get_what_there_is(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    with reading(rough_http, wait_s=0) as reader:
        last_id = reader.last_id
    job_id = scored(rough_http)["id"]

    def follow(_: int) -> tuple[list[str], list[str], float]:
        with rough_stack.client() as http:
            began = time.monotonic()
            with reading(http, last_id=last_id, wait_s=6) as reader:
                assert reader.ended.wait(20)
            return reader.blocks[0], reader.jobs, time.monotonic() - began

    found = side_by_side(follow, range(40), threads=40)
    turned_away = [took_s for first, _, took_s in found if "retry: 5000" in first]
    waited = [took_s for first, _, took_s in found if "retry: 1000" in first]
    assert len(turned_away) + len(waited) == 40
    assert 8 <= len(turned_away) < 40
    assert max(turned_away) < 6 <= min(waited) + 0.5
    assert all(jobs == [job_id] for _, jobs, _ in found)
    assert rough_http.get("/healthz").status_code == 200


def test_a_reader_that_goes_away_gives_its_place_back(ward: httpx.Client) -> None:
    def waiting() -> float:
        lines = ward.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("medqueue_waiting_requests "))

    eventually(lambda: waiting() == 0, within_s=20, every_s=0.5)
    with reading(ward):
        eventually(lambda: waiting() == 1, within_s=5)
    eventually(lambda: waiting() == 0, within_s=15, every_s=0.5)


def test_a_stream_ends_soon_after_its_key_is_revoked(stack: Stack) -> None:
    key = stack.new_key("events revoked", "jobs:read")
    with stack.client(key) as http, reading(http) as reader:
        stack.revoke(key)
        assert reader.ended.wait(10)


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({"Last-Event-ID": str(uuid4())}, "", 404, "event_not_found"),
        ({"Last-Event-ID": "17"}, "", 400, "header_invalid"),
        ({"Last-Event-ID": "@"}, "", 400, "header_invalid"),
        ({"Last-Event-ID": "@-1"}, "", 400, "header_invalid"),
        ({"Last-Event-ID": "@" + "9" * 19}, "", 400, "header_invalid"),
        ({"Last-Event-ID": ""}, "", 400, "header_invalid"),
        ({"Prefer": "wait=x"}, "", 400, "header_invalid"),
        ({}, "?types=job.submitted", 422, "request_invalid"),
        ({}, "?types=", 422, "request_invalid"),
        ({}, "?types=job.failed,", 422, "request_invalid"),
        ({}, "?types=job.failed&types=job.expired", 422, "request_invalid"),
        ({}, "?since=1", 422, "request_invalid"),
    ],
)
def test_a_bad_request_for_events_is_refused_before_the_stream_begins(
    ward: httpx.Client, headers: dict[str, str], query: str, status: int, code: str
) -> None:
    assert_problem(ward.get(f"/v1/events{query}", headers=headers), status, code)


def test_an_event_of_another_tenant_is_no_place_to_resume_behind(
    ward: httpx.Client, stranger: httpx.Client
) -> None:
    job_id = scored(ward)["id"]
    event = next(
        event for event in pages(ward, f"/v1/jobs/{job_id}/events") if event["action"] == "job.succeeded"
    )
    headers = {"Last-Event-ID": event["id"], "Prefer": "wait=0"}
    assert ward.get("/v1/events", headers=headers).status_code == 200
    assert_problem(stranger.get("/v1/events", headers=headers), 404, "event_not_found")


def test_a_key_without_the_scope_is_refused(stack: Stack) -> None:
    with stack.client(stack.new_key("events scope", "jobs:write")) as http:
        assert_problem(http.get("/v1/events"), 403, "scope_missing")


def test_a_waiting_stream_leaves_a_wait_for_a_job_alone(ward: httpx.Client) -> None:
    with reading(ward):
        assert ended(ward, submit(ward)["id"])["state"] == "succeeded"
