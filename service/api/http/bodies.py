"""Reads request bodies: whole, within their limit, and without letting slow senders take every thread."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

from flask import request

from service.accounts import Principal
from service.api.http.turns import Turns
from service.errors import (
    BodyIncomplete,
    BodyTooLarge,
    ContentTypeUnsupported,
    LengthRequired,
    TenantBusy,
)
from service.shares import Shares

JSON = "application/json"
PART_BYTES = 256 * 1024
SLOT_WAIT_S = 1.0


class Bodies:
    """Bodies being read, bounded in number for all callers and for each tenant: a slow sender holds a thread."""

    def __init__(self, turns: Turns, *, slots: int, limit_bytes: int) -> None:
        self._turns = turns
        self._shares = Shares(slots, multiple=1)
        self._limit_bytes = limit_bytes
        self._awaited: dict[int, tuple[str, float]] = {}  # by thread

    def awaited_since(self, address: str) -> list[float]:
        """Since when each body that is being read from this address has been awaited, as time.monotonic tells it."""
        return [since for peer, since in self._awaited.copy().values() if peer == address]

    def json(self, principal: Principal) -> bytes:
        """The body of a JSON request, whose turn to be parsed has come.

        Raises ContentTypeUnsupported, BodyTooLarge, BodyIncomplete or TenantBusy.
        """
        if request.mimetype != JSON and not request.mimetype.endswith("+json"):
            raise ContentTypeUnsupported(f"Send the body as {JSON}.")
        _refuse_encoding()
        request.max_content_length = self._limit_bytes + 1
        announced = self._limit_bytes if request.content_length is None else request.content_length
        self._turns.admit(principal, min(announced, self._limit_bytes))
        with self._slot(principal):
            body = request.get_data(cache=False)
        if len(body) > self._limit_bytes:
            raise BodyTooLarge(f"The body may have up to {self._limit_bytes} bytes.")
        if len(body) < (request.content_length or 0):
            raise BodyIncomplete
        self._turns.take(principal, body)
        return body

    def file(self, principal: Principal, limit_bytes: int) -> Iterator[bytes]:
        """The body of an upload, part by part. Raises LengthRequired, BodyTooLarge, BodyIncomplete or TenantBusy.

        Its length must be announced: a chunked body that breaks off cannot be told from a whole one.
        """
        _refuse_encoding()
        if request.content_length is None:
            raise LengthRequired
        if request.content_length > limit_bytes:
            raise BodyTooLarge(f"An upload may have up to {limit_bytes} bytes.")
        request.max_content_length = limit_bytes + 1
        received = 0
        with self._slot(principal):
            while part := request.stream.read(PART_BYTES):
                received += len(part)
                yield part
        if received < request.content_length or not received:
            raise BodyIncomplete

    @contextmanager
    def _slot(self, principal: Principal) -> Iterator[None]:
        with self._shares.place(principal.tenant_id, wait_s=SLOT_WAIT_S) as placed:
            if not placed:
                raise TenantBusy
            self._awaited[get_ident()] = (request.remote_addr or "", time.monotonic())
            try:
                yield
            finally:
                del self._awaited[get_ident()]


def _refuse_encoding() -> None:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentTypeUnsupported("Send the body as it is, without Content-Encoding.")
