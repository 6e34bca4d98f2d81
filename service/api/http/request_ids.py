"""The id of a request: given by its caller or generated, returned in the answer and part of every log line."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADER = "X-Request-Id"
NAME = "request_id"
# What ids of requests are made of: UUIDs, ULIDs, hexadecimal, base64 for addresses. Anything else is not taken over.
GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
TRACE = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds:
    """A WSGI application in front of ours that gives each request its id."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer with the id in a header. A thread serves one request at a time, so what it logs names this one."""
        request_id = id_of(environ.get("HTTP_X_REQUEST_ID"), environ.get("HTTP_TRACEPARENT"))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**{NAME: request_id})

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, (HEADER, request_id)], *more)

        return self._app(environ, start)


def id_of(given: str | None, traceparent: str | None) -> str:
    """The id that the caller gave, otherwise the id of the request's trace, otherwise a new one."""
    if given is not None and GIVEN.fullmatch(given):
        return given
    traced = TRACE.fullmatch(traceparent or "")
    return traced[1] if traced else uuid4().hex


def current() -> str | None:
    """The id of the request that this thread serves."""
    found = structlog.contextvars.get_contextvars().get(NAME)
    return None if found is None else str(found)
