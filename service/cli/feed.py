"""Reads a stream of server-sent events (HTML Standard, 9.2.6), and resumes after the last one if it breaks."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from service.cli.errors import ApiProblem, Unreachable

RETRY_S = 1.0
LONGEST_RETRY_S = 30.0


@dataclass(frozen=True)
class Message:
    """One event as it was sent. `id` is where to go on behind it; without `data` it is nothing but a place."""

    id: str | None
    event: str
    data: str
    retry_ms: int | None


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """The messages of a stream; one that breaks off is not among them."""
    last_id, retry_ms, event, data = None, None, "", list[str]()
    for line in lines:
        if not line:
            yield Message(last_id, event, "\n".join(data), retry_ms)
            retry_ms, event, data = None, "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                last_id = value
            case "event":
                event = value
            case "data":
                data.append(value)
            case "retry" if value.isdecimal():
                retry_ms = int(value)


def follow(
    connect: Callable[[str | None], AbstractContextManager[Iterator[str]]],
    *,
    note: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Events without end, over as many connections as it takes. Raises ApiProblem when refused.

    `connect` opens the stream behind the id of an event, or where a stream begins.
    """
    last_id: str | None = None
    retry_s, broke = RETRY_S, 0
    while True:
        try:
            with connect(last_id) as lines:
                for message in messages(lines):
                    broke = 0
                    retry_s = RETRY_S if message.retry_ms is None else message.retry_ms / 1000
                    last_id = message.id or last_id
                    if message.data:
                        yield message
        except (Unreachable, ApiProblem) as fault:
            if isinstance(fault, ApiProblem) and fault.status < 500:
                raise
            if not broke:
                note(f"The stream broke; connecting again. {fault}")
            broke += 1
        pause(min(retry_s * 2**broke, LONGEST_RETRY_S))
