"""GET /v1/jobs/{id}/text: a text while it is written, over any number of connections, and though its worker is killed."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import slow_writer
from tests.acceptance.calls import actions, assert_problem, job_of, read, submit
from tests.acceptance.slow_writer import MOST, text_of
from tests.acceptance.stack import Stack
from tests.acceptance.test_chaos import claimant

Message = dict[str, str]


@pytest.fixture(scope="module")
def writer(rough_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The model, published."""
    folder = tmp_path_factory.mktemp("writer") / slow_writer.NAME
    rough_stack.publish(slow_writer.write_slow_writer(folder), seal=False)


pytestmark = [pytest.mark.usefixtures("writer"), pytest.mark.timeout(180)]


def writing(http: httpx.Client, **fields: Any) -> str:
    """A job that writes for seconds."""
    body = {"model": slow_writer.NAME, "input": {"text": "no"}, "options": {"max_new_tokens": MOST}}
    return str(submit(http, body | fields)["id"])


def stream(
    http: httpx.Client, job_id: str, last_id: str | None = None, *, wait_s: int = 20
) -> Iterator[Message]:
    """The messages of one connection."""
    headers = {"Prefer": f"wait={wait_s}"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    with http.stream("GET", f"/v1/jobs/{job_id}/text", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        block: Message = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            block |= {name: value} if name else {}
            if not line:
                if "data" in block:
                    yield block
                block = {}


def followed(
    http: httpx.Client, job_id: str, *, wait_s: int = 20, tell: Callable[[Message], None] = lambda _: None
) -> list[Message]:
    """All messages until the job has ended, over as many connections as it takes."""
    found: list[Message] = []
    while not found or found[-1]["id"] != "ended":
        for message in stream(http, job_id, found[-1]["id"] if found else None, wait_s=wait_s):
            found.append(message)
            tell(message)
    return found


def text_told(messages: list[Message]) -> str:
    """What a reader of these messages has."""
    text = ""
    for message in messages:
        text = (
            "" if message["event"] == "text.discarded" else text + json.loads(message["data"]).get("text", "")
        )
    return text


@pytest.mark.parametrize("wait_s", [20, 1])
def test_a_text_comes_in_pieces_that_make_up_the_result(rough_http: httpx.Client, wait_s: int) -> None:
    job_id = writing(rough_http)
    messages = followed(rough_http, job_id, wait_s=wait_s)
    kinds = [message["event"] for message in messages]
    assert kinds == [*["text.appended"] * (len(kinds) - 1), "job.succeeded"]
    assert len(kinds) >= 3  # two pieces and the end
    assert text_told(messages) == text_of(MOST) == read(rough_http, job_id)["result"]["text"]
    assert json.loads(messages[-1]["data"]) == {"state": "succeeded", "abstained": False}
    assert "text.read" in actions(rough_http, job_id)
    (whole, _) = followed(rough_http, job_id)
    assert text_told([whole]) == text_of(MOST)


def test_a_text_whose_worker_is_killed_begins_again(rough_stack: Stack, rough_http: httpx.Client) -> None:
    job_id, killed = writing(rough_http), list[str]()

    def kill(message: Message) -> None:
        if not killed and message["event"] == "text.appended":
            name = claimant(rough_stack, rough_http)
            assert name is not None
            os.kill(rough_stack.pid(name), signal.SIGKILL)
            killed.append(name)

    messages = followed(rough_http, job_id, tell=kill)
    kinds = [message["event"] for message in messages]
    again = kinds.index("text.discarded")
    assert text_told(messages[: again + 1]) == ""
    assert text_of(MOST).startswith(text_told(messages[:again]))
    assert kinds[again + 1 :] == [*["text.appended"] * (len(kinds) - again - 2), "job.succeeded"]
    assert text_told(messages) == text_of(MOST) == read(rough_http, job_id)["result"]["text"]
    fences = {message["id"].split("-")[0] for message in messages if message["event"] == "text.appended"}
    assert len(fences) == 2
    trail = actions(rough_http, job_id)
    assert (trail.count("job.claimed"), trail.count("job.succeeded")) == (2, 1)


def test_a_stream_keeps_no_other_request_of_its_tenant_waiting(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    """Of a tenant, one request is worked on at a time while another one sends requests, too."""
    job_id = writing(rough_http)
    with rough_stack.client(rough_stack.new_key("texts beside")) as other:
        assert other.get("/v1/jobs?limit=1").status_code == 200
        for _ in stream(rough_http, job_id):
            began = time.monotonic()
            with rough_stack.client() as http:
                assert read(http, job_id)["state"] == "running"
            assert time.monotonic() - began < 5
            break


def test_the_text_of_a_canceled_job_is_void(rough_http: httpx.Client) -> None:
    job_id = writing(rough_http)

    def cancel(message: Message) -> None:
        if message["event"] == "text.appended":
            assert job_of(rough_http.post(f"/v1/jobs/{job_id}/cancel"))["state"] == "canceled"

    messages = followed(rough_http, job_id, tell=cancel)
    assert [message["event"] for message in messages][-2:] == ["text.discarded", "job.canceled"]
    answer = rough_http.get(f"/v1/jobs/{job_id}/text", headers={"Last-Event-ID": "ended"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_what_cannot_be_followed_is_refused_before_the_stream_begins(
    rough_stack: Stack, rough_http: httpx.Client
) -> None:
    job_id = writing(rough_http)
    path = f"/v1/jobs/{job_id}/text"
    assert_problem(rough_http.get(path, headers={"Last-Event-ID": "7"}), 400, "header_invalid")
    assert_problem(rough_http.get(f"{path}?from=7"), 422, "request_invalid")
    assert_problem(rough_http.get(f"/v1/jobs/{uuid4()}/text"), 404, "job_not_found")
    with rough_stack.client(rough_stack.new_key("another ward")) as stranger:
        assert_problem(stranger.get(path), 404, "job_not_found")
    with rough_stack.client(rough_stack.new_key("texts scope", "jobs:write")) as writes:
        assert_problem(writes.get(path), 403, "scope_missing")
    rough_http.post(f"/v1/jobs/{job_id}/cancel")
