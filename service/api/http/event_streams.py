"""Streams of server-sent events (HTML Standard, 9.2): the form of their messages and the answer that carries them."""

from collections.abc import Iterator

from flask import Response, stream_with_context

from service.api.http.turns import Turns

MEDIA = "text/event-stream"
RETRY_MS, RETRY_WHEN_FULL_MS = 1000, 5000
KEEP_ALIVE_S = 10.0
KEPT_ALIVE = ": still here\n"


def opening(*, placed: bool) -> str:
    """The first line: when a reader may connect again, later if there was no place to wait."""
    return f"retry: {RETRY_MS if placed else RETRY_WHEN_FULL_MS}\n"


def message(place: object, event: str, data: str) -> str:
    """An event. `place` is where its reader resumes."""
    return f"id: {place}\nevent: {event}\ndata: {data}\n\n"


def streamed(parts: Iterator[bytes], turns: Turns) -> Response:
    """The answer, which no proxy buffers or stores. The request's turn is over, else it lasted as long as the stream."""
    turns.leave()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream_with_context(parts), headers=headers, mimetype=MEDIA)
