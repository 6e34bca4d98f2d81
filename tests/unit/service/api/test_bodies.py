"""Request bodies: read whole, within their limit, by a bounded number of callers at a time."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from uuid import UUID

import pytest
from flask import Flask
from flask.ctx import RequestContext
from werkzeug.exceptions import HTTPException
from werkzeug.test import create_environ

from service.accounts import Principal
from service.api.http.bodies import PART_BYTES, Bodies
from service.api.http.requests import body_as
from service.api.http.turns import Turns
from service.api.jobs.schemas import SubmitRequest
from service.crypto import Cipher
from service.errors import (
    BodyIncomplete,
    BodyNotJson,
    BodyTooLarge,
    ContentTypeUnsupported,
    LengthRequired,
    TenantBusy,
)

LIMIT_BYTES = 1000
JSON = "application/json"
app = Flask(__name__)


def caller(tenant: str = "a") -> Principal:
    return Principal("0123456789ab", UUID(int=ord(tenant)), frozenset(), Cipher(bytes(32)))


def bodies(slots: int = 4) -> Bodies:
    return Bodies(Turns(64), slots=slots, limit_bytes=LIMIT_BYTES)


def request(stream: IO[bytes], length: int | None, **headers: str) -> RequestContext:
    """A request as a server hands it on: `length` is what it announces, whatever the stream then gives."""
    environ = create_environ(method="POST") | {"wsgi.input": stream} | headers
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    return app.request_context(environ)


def read_json(
    body: bytes, content_type: str | None = JSON, *, length: int | None = None, encoding: str = "identity"
) -> bytes:
    """`body` as a JSON request brings it."""
    announced = len(body) if length is None else length
    headers = {"HTTP_CONTENT_ENCODING": encoding} | ({"CONTENT_TYPE": content_type} if content_type else {})
    with request(io.BytesIO(body), announced, **headers):
        return bodies().json(caller())


def read_file(body: bytes, *, length: int | None, limit_bytes: int = LIMIT_BYTES) -> list[bytes]:
    """The parts of an upload."""
    with request(io.BytesIO(body), length):
        return list(bodies().file(caller(), limit_bytes))


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/fhir+json"],
)
def test_a_json_body_is_read_as_it_was_sent(content_type: str) -> None:
    assert read_json(b' {"a": 1} ', content_type) == b' {"a": 1} '


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "text/json", "application/jsonp", "application/x-www-form-urlencoded",
     "multipart/form-data; boundary=x", "json"],
)  # fmt: skip
def test_a_body_of_another_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(ContentTypeUnsupported, match="application/json"):
        read_json(b"{}", content_type)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(ContentTypeUnsupported, match="Content-Encoding"):
        read_json(b"{}", encoding=encoding)


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_a_body_that_says_it_is_not_compressed_is_read(encoding: str) -> None:
    assert read_json(b"{}", encoding=encoding) == b"{}"


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":1}', b'{"a":1,"b":2,"a":3}', b'[{"x":{"a":1,"a":2}}]', b'{"a":1,"\\u0061":2}']
)
def test_an_object_that_names_a_field_twice_is_refused(body: bytes) -> None:
    with pytest.raises(BodyNotJson, match="twice"):
        body_as(SubmitRequest, body)


@pytest.mark.parametrize("body", [b'{"a":{"a":1},"b":{"a":1}}', b'[{"a":1},{"a":1}]', b'{"a":1,"A":1}'])
def test_the_same_field_of_different_objects_is_no_doubling(body: bytes) -> None:
    assert read_json(body) == body


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff", b"[" * 900])
def test_a_body_that_is_not_json_is_left_to_the_schema_to_refuse(body: bytes) -> None:
    assert read_json(body) == body


def test_a_body_of_exactly_the_limit_is_read() -> None:
    body = b'"' + b"x" * (LIMIT_BYTES - 2) + b'"'
    assert read_json(body) == body


@pytest.mark.parametrize("excess", [1, 2, 1000])
def test_a_body_past_the_limit_is_refused(excess: int) -> None:
    with pytest.raises((BodyTooLarge, HTTPException)) as caught:
        read_json(b" " * (LIMIT_BYTES + excess))
    assert not isinstance(caught.value, HTTPException) or caught.value.code == 413


def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises((BodyIncomplete, HTTPException)) as caught:
        read_json(b'{"a":', length=10)
    assert not isinstance(caught.value, HTTPException) or caught.value.code == 400


def test_an_upload_comes_in_parts() -> None:
    body = bytes(PART_BYTES + 1)
    parts = read_file(body, length=len(body), limit_bytes=len(body))
    assert b"".join(parts) == body
    assert max(map(len, parts)) <= PART_BYTES


def test_an_upload_of_unknown_length_is_refused() -> None:
    with pytest.raises(LengthRequired):
        read_file(b"content", length=None)


def test_an_upload_that_announces_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(BodyTooLarge, match=str(LIMIT_BYTES)):
        read_file(b"", length=LIMIT_BYTES + 1)


@pytest.mark.parametrize(
    ("body", "length"), [(b"half", 10), (b"", 10), (b"", 0)], ids=["cut", "none", "empty"]
)
def test_an_upload_that_is_not_whole_is_refused(body: bytes, length: int) -> None:
    with pytest.raises((BodyIncomplete, HTTPException)) as caught:
        read_file(body, length=length)
    assert not isinstance(caught.value, HTTPException) or caught.value.code == 400


class SlowSender(io.RawIOBase):
    """A body that does not come until it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def readable(self) -> bool:
        """See RawIOBase."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer in typeshed
        """See RawIOBase."""
        self.asked.set()
        self.go_on.wait(10)
        buffer[:2] = b"{}"
        return 2


@contextmanager
def slow_body_of(tenant: str, to: Bodies) -> Iterator[None]:
    """While this lasts, a caller of this tenant sends a body and does not come to an end."""
    sender = SlowSender()

    def read() -> None:
        with request(io.BufferedReader(sender), 2, CONTENT_TYPE=JSON):
            to.json(caller(tenant))

    thread = threading.Thread(target=read)
    thread.start()
    assert sender.asked.wait(5)
    yield
    sender.go_on.set()
    thread.join(5)


def sent_by(tenant: str, to: Bodies, body: bytes = b"{}") -> bytes:
    with request(io.BytesIO(body), len(body), CONTENT_TYPE=JSON):
        return to.json(caller(tenant))


def test_one_slow_tenant_leaves_room_for_the_others() -> None:
    to = bodies(slots=2)
    with slow_body_of("a", to):
        with pytest.raises(TenantBusy):
            sent_by("a", to)
        assert sent_by("b", to) == b"{}"


def test_slow_senders_together_take_no_more_than_the_bound() -> None:
    to = bodies(slots=2)
    with slow_body_of("a", to), slow_body_of("b", to), pytest.raises(TenantBusy):
        sent_by("c", to)


def test_a_place_is_given_back_when_a_body_has_been_read_or_refused() -> None:
    to = bodies(slots=1)
    for _ in range(3):
        assert sent_by("a", to) == b"{}"
        with pytest.raises((BodyTooLarge, HTTPException)):
            sent_by("a", to, bytes(2 * LIMIT_BYTES))
