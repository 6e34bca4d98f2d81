"""Connections that are kept open between two requests, for a while.

httpcore's own pool checks every connection at each request, and only then closes those past their time; this one checks
the connections of one origin, and sweeps.
"""

import asyncio
import time
from dataclasses import dataclass, field

import httpcore

MOST_AT_REST = 64  # asyncio gives each encrypted connection a buffer of 256 KiB


@dataclass(eq=False)
class Connection:
    """A connection to an origin: when it was opened and, between two requests, became idle (time.monotonic)."""

    origin: str
    http: httpcore.AsyncConnectionInterface
    opened_at: float = field(default_factory=time.monotonic)
    rests_since: float = field(default_factory=time.monotonic)


class IdleConnections:
    """Idle connections, the longest idle first, for `idle_s` seconds and never older than `age_s`. One event loop."""

    def __init__(self, *, idle_s: float, age_s: float) -> None:
        self._idle_s = idle_s
        self._age_s = age_s
        self._connections: list[Connection] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def take(self, origin: str) -> Connection | None:
        """The connection to an origin that was used last, if one is still good."""
        while (connection := self._newest(origin)) is not None:
            if self._is_good(connection):
                return connection
            await connection.http.aclose()
        return None

    async def add(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it if it is no longer usable."""
        connection.rests_since = time.monotonic()
        self._connections.append(connection)
        if not self._is_good(connection):
            await self._connections.pop().http.aclose()
        elif len(self._connections) > MOST_AT_REST:
            await self._connections.pop(0).http.aclose()
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    async def aclose(self) -> None:
        """Close them all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        closing, self._connections = self._connections, []
        for connection in closing:
            await connection.http.aclose()

    def _newest(self, origin: str) -> Connection | None:
        for place in range(len(self._connections) - 1, -1, -1):
            if self._connections[place].origin == origin:
                return self._connections.pop(place)
        return None

    def _is_good(self, connection: Connection) -> bool:
        now, http = time.monotonic(), connection.http
        in_time = now < connection.rests_since + self._idle_s and now < connection.opened_at + self._age_s
        return in_time and http.is_idle() and not http.has_expired()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s)
            good = [connection for connection in self._connections if self._is_good(connection)]
            spent = [connection for connection in self._connections if connection not in good]
            self._connections = good
            for connection in spent:
                await connection.http.aclose()
