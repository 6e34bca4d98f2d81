"""What is no proper HTTP, or comes slowly, or breaks off: sent over bare sockets."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import Job, pages, submit
from tests.acceptance.stack import Stack

ONE_MB = 1_000_000
MORE_THAN_THE_SERVER_HAS_THREADS = 40
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
MALFORMED = {
    "binary noise": b"\x00\x01\x02\xff\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40),
    "no version": b"GET /healthz\r\n\r\n",
    "a version to come": b"GET /healthz HTTP/3.0\r\n\r\n",
    "a space in the path": b"GET /health z HTTP/1.1\r\n\r\n",
    "a NUL in the path": b"GET /\x00 HTTP/1.1\r\n\r\n",
    "a method of 100,000 letters": b"A" * 100_000 + b" /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path of 1 MB": b"GET /" + b"a" * ONE_MB + b" HTTP/1.1\r\n\r\n",
    "a header of 1 MB": GET + b"X: " + b"a" * ONE_MB + b"\r\n\r\n",
    "10,000 headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
    "a NUL in a header": GET + b"X: a\x00b\r\n\r\n",
    "a space in a header's name": GET + b"X y: a\r\n\r\n",
    "a header without a colon": GET + b"Nothing\r\n\r\n",
    "a length below zero": b"POST /v1/jobs HTTP/1.1\r\nContent-Length: -5\r\n\r\n{}",
    "a length that is no number": b"POST /v1/jobs HTTP/1.1\r\nContent-Length: abc\r\n\r\n{}",
    "a length past 64 bits": b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    "two lengths": b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "an unknown transfer coding": b"POST /v1/jobs HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n{}",
    "a host that is none": b"GET /v1/jobs HTTP/1.1\r\nHost: ][:99999999\r\n\r\n",
    "headers that end early": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\n",
}


@contextlib.contextmanager
def connected(stack: Stack) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        yield connection


def answer_to(stack: Stack, sent: bytes) -> bytes:
    """What the server says to `sent`, after which the sender falls silent; nothing if it just hangs up."""
    received = b""
    with connected(stack) as connection:
        with contextlib.suppress(OSError):  # it may hang up before it has read all
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    return received


def post(stack: Stack, path: str, *headers: str) -> bytes:
    """The head of a POST by the admin."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {stack.admin_key}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_http_is_refused_and_the_server_lives_on(
    stack: Stack, http: httpx.Client, name: str
) -> None:
    answer = answer_to(stack, MALFORMED[name])
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:200]
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "chunk", [b"zz\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nabc\r\n", b"5\r\n{\r\n"]
)
def test_a_malformed_chunk_is_refused(stack: Stack, chunk: bytes) -> None:
    head = post(stack, "/v1/jobs", "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = answer_to(stack, head + chunk)
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:200]


def test_a_case_that_breaks_off_is_not_accepted(stack: Stack) -> None:
    """Its JSON is whole, and yet more was announced: what is missing cannot be known."""
    content = json.dumps(cases.submission()).encode()
    head = post(stack, "/v1/jobs", "Content-Type: application/json", f"Content-Length: {len(content) + 9}")
    answer = answer_to(stack, head + content)
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:200]


def test_an_upload_that_breaks_off_is_not_stored(stack: Stack) -> None:
    answer = answer_to(stack, post(stack, "/v1/uploads", "Content-Length: 1000") + b"half a file")
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer


@pytest.mark.parametrize("chunks", [b"3\r\nabc\r\n", b"3\r\nabc\r\nzz\r\n"])
def test_a_chunked_upload_that_breaks_off_is_not_stored(stack: Stack, chunks: bytes) -> None:
    answer = answer_to(stack, post(stack, "/v1/uploads", "Transfer-Encoding: chunked") + chunks)
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer


def test_a_slow_body_is_accepted(stack: Stack) -> None:
    content = json.dumps(cases.submission()).encode()
    with connected(stack) as connection:
        connection.sendall(
            post(stack, "/v1/jobs", "Content-Type: application/json", f"Content-Length: {len(content)}")
        )
        for start in range(0, len(content), 40):
            connection.sendall(content[start : start + 40])
            time.sleep(0.05)
        assert connection.recv(65536).startswith(b"HTTP/1.1 202")


def test_slow_bodies_do_not_hold_up_the_others(stack: Stack, http: httpx.Client) -> None:
    head = post(stack, "/v1/jobs", "Content-Type: application/json", "Content-Length: 1000")
    with contextlib.ExitStack() as slow:
        for _ in range(MORE_THAN_THE_SERVER_HAS_THREADS):
            slow.enter_context(connected(stack)).sendall(head + b"{")
        time.sleep(0.5)
        began = time.monotonic()
        assert http.get("/healthz", timeout=20).status_code == 200
        assert http.get("/v1/jobs", params={"limit": 1}, timeout=20).status_code == 200
        assert time.monotonic() - began < 5


def test_those_who_hang_up_while_they_wait_leave_the_server_well(stack: Stack, http: httpx.Client) -> None:
    content = json.dumps(cases.submission()).encode()
    headers = ("Content-Type: application/json", "Prefer: wait=2", f"Content-Length: {len(content)}")
    with stack.workers_paused():
        before = newest(http)
        for _ in range(10):
            with connected(stack) as connection:
                connection.sendall(post(stack, "/v1/jobs", *headers) + content)
        time.sleep(0.5)
        assert newest(http) != before, "what was sent whole is accepted, whether or not somebody listens"
        assert http.get("/healthz").status_code == 200
    assert submit(http)["state"] == "queued"


def newest(http: httpx.Client) -> Job | None:
    """The newest job."""
    return next(iter(pages(http, "/v1/jobs", limit=1)), None)
