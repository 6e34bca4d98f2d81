"""Bounds the number of requests that run at the same time, so that probes are answered while every other thread is busy.

A slow reader, a slow sender, a wait or an unreachable server occupies a thread. The server has SPARE_THREADS more than the
settings say: they answer probes, and let other requests wait for a place as long as places keep coming free.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from service.api.http.problems import respond_to
from service.errors import ServerBusy
from service.metrics import REQUESTS_REFUSED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATIENCE_S = 1.0  # for some place to come free
LONGEST_S = 3.0  # for one of its own
DATABASE_PROBES = 2
ALWAYS = "/healthz"
PROBES = ("/readyz", "/metrics")  # they ask the database, which may not answer for a while


class Places:
    """A WSGI application in front of ours: at most `limit` requests run, not counting probes."""

    def __init__(
        self, app: "WSGIApplication", limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._places = threading.BoundedSemaphore(limit)
        self._probes = threading.BoundedSemaphore(DATABASE_PROBES)
        self._clock = clock
        self._moved_at = clock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request, or 503 when there is no place for it."""
        path = str(environ.get("PATH_INFO", ""))
        if path == ALWAYS:
            return self._app(environ, start_response)
        leave = self._enter(probe=path in PROBES)
        if leave is None:
            REQUESTS_REFUSED.inc()
            return respond_to(ServerBusy())(environ, start_response)
        try:
            return _Answer(self._app(environ, start_response), leave)
        except BaseException:
            leave()
            raise

    def _enter(self, *, probe: bool) -> Callable[[], None] | None:
        """Take a place, waiting only while places keep coming free. What releases it, or None."""
        if self._places.acquire(blocking=False):
            self._moved_at = self._clock()
            return self._leave
        if probe:
            return self._probes.release if self._probes.acquire(timeout=PATIENCE_S) else None
        until = self._clock() + LONGEST_S
        while self._clock() < min(until, self._moved_at + PATIENCE_S):
            if self._places.acquire(timeout=PATIENCE_S):
                self._moved_at = self._clock()
                return self._leave
        return None

    def _leave(self) -> None:
        self._moved_at = self._clock()
        self._places.release()


class _Answer:
    """The bytes of an answer, which keeps its place until they are sent or the reader disconnects."""

    def __init__(self, parts: Iterable[bytes], leave: Callable[[], None]) -> None:
        self._parts = parts
        self._next = iter(parts)
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._next)

    def close(self) -> None:
        """Release the place, once."""
        leave, self._leave = self._leave, None
        try:
            if hasattr(self._parts, "close"):
                self._parts.close()
        finally:
            if leave is not None:
                leave()
