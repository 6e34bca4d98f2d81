"""Reads request bodies: whole, within their limit, and without letting slow senders take every thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from service.accounts import Principal
from service.errors import (
    BodyIncomplete,
    BodyTooLarge,
    ContentTypeUnsupported,
    LengthRequired,
    ServerBusy,
)

JSON = "application/json"
PART_BYTES = 256 * 1024
SLOT_WAIT_S = 1.0


class Bodies:
    """Bodies being read, bounded in number for all callers and for each key: a slow sender holds a thread."""

    def __init__(self, *, slots: int, limit_bytes: int) -> None:
        self._all = threading.BoundedSemaphore(slots)
        self._of_key: dict[str, threading.BoundedSemaphore] = {}
        self._slots_of_key = max(1, slots // 2)
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()

    def json(self, principal: Principal) -> bytes:
        """The body of a JSON request. Raises ContentTypeUnsupported, BodyTooLarge, BodyIncomplete or ServerBusy."""
        if request.mimetype != JSON and not request.mimetype.endswith("+json"):
            raise ContentTypeUnsupported(f"Send the body as {JSON}.")
        _refuse_encoding()
        request.max_content_length = self._limit_bytes + 1
        with self._slot(principal.key_id):
            body = request.get_data(cache=False)
        if len(body) > self._limit_bytes:
            raise BodyTooLarge(f"The body may have up to {self._limit_bytes} bytes.")
        if len(body) < (request.content_length or 0):
            raise BodyIncomplete
        return body

    def file(self, principal: Principal, limit_bytes: int) -> Iterator[bytes]:
        """The body of an upload, part by part. Raises LengthRequired, BodyTooLarge, BodyIncomplete or ServerBusy.

        Its length must be announced: a chunked body that breaks off cannot be told from a whole one.
        """
        _refuse_encoding()
        if request.content_length is None:
            raise LengthRequired
        if request.content_length > limit_bytes:
            raise BodyTooLarge(f"An upload may have up to {limit_bytes} bytes.")
        request.max_content_length = limit_bytes + 1
        received = 0
        with self._slot(principal.key_id):
            while part := request.stream.read(PART_BYTES):
                received += len(part)
                yield part
        if received < request.content_length or not received:
            raise BodyIncomplete

    @contextmanager
    def _slot(self, key_id: str) -> Iterator[None]:
        with self._lock:
            own = self._of_key.setdefault(key_id, threading.BoundedSemaphore(self._slots_of_key))
        if not own.acquire(timeout=SLOT_WAIT_S):
            raise ServerBusy
        try:
            if not self._all.acquire(timeout=SLOT_WAIT_S):
                raise ServerBusy
            try:
                yield
            finally:
                self._all.release()
        finally:
            own.release()


def _refuse_encoding() -> None:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentTypeUnsupported("Send the body as it is, without Content-Encoding.")
