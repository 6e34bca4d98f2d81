"""A cheap load generator: many keep-alive HTTP/1.1 connections, one thread, prebuilt requests.

A client is a script: a generator that yields a request and is handed the response, or yields a time of the
monotonic clock and goes on then. It costs some 30 microseconds a request, so that the load competes little with
what it measures.
"""

import heapq
import select
import socket
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Response:
    """A status, a body, and the seconds from the first byte sent to the last byte read."""

    status: int
    body: bytes
    took_s: float


Script = Generator[bytes | float, Response, None]
NOTHING = Response(0, b"", 0.0)


class ServerHungUp(Exception):
    """The server closed a connection in the middle of the load."""


def request(method: str, path: str, headers: bytes, body: bytes = b"") -> bytes:
    """A whole request. `headers` are complete lines, each with its line end."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + headers
    if body:
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return head + b"\r\n" + body


def drive(port: int, scripts: Iterable[Script]) -> None:
    """Run all scripts to their ends, each on a connection of its own. Raises ServerHungUp."""
    loop = _Loop()
    for script in scripts:
        loop.add(_Channel(port, script))
    loop.run()


def ask(port: int, request: bytes) -> Response:
    """One request on a connection of its own."""
    heard: list[Response] = []

    def script() -> Script:
        heard.append((yield request))

    drive(port, [script()])
    return heard[0]


class _Channel:
    """One connection, the script that uses it, and the request under way."""

    def __init__(self, port: int, script: Script) -> None:
        self.script = script
        self.listens_for = 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._heard = bytearray()
        self._ends = -1
        self._begun = 0.0

    def begin(self, request: bytes) -> None:
        """Start a request."""
        self._begun = time.monotonic()
        self._unsent = memoryview(request)
        self._heard.clear()
        self._ends = -1

    def send(self) -> bool:
        """Send what the socket takes; whether all is sent."""
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        return not self._unsent

    def receive(self) -> Response | None:
        """Read what is there; the response once it is complete."""
        part = self.socket.recv(CHUNK_BYTES)
        if not part:
            raise ServerHungUp
        self._heard += part
        if self._ends < 0 and (head := self._heard.find(b"\r\n\r\n")) >= 0:
            self._ends = head + 4 + _content_length(bytes(self._heard[:head]))
        if self._ends < 0 or len(self._heard) < self._ends:
            return None
        start = self._heard.index(b"\r\n\r\n") + 4
        return Response(int(self._heard[9:12]), bytes(self._heard[start:]), time.monotonic() - self._begun)


class _Loop:
    """Runs channels until their scripts have ended."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._channels: dict[int, _Channel] = {}
        self._timers: list[tuple[float, int]] = []

    def add(self, channel: _Channel) -> None:
        self._channels[channel.socket.fileno()] = channel
        self._poll.register(channel.socket, channel.listens_for)

    def run(self) -> None:
        for channel in list(self._channels.values()):
            self._step(channel, None)
        while self._channels:
            for descriptor, events in self._poll.poll(self._pause_s()):
                self._turn(self._channels[descriptor], events)
            self._run_timers()
        self._poll.close()

    def _pause_s(self) -> float:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1.0

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._step(self._channels[heapq.heappop(self._timers)[1]], NOTHING)

    def _turn(self, channel: _Channel, events: int) -> None:
        if events & select.EPOLLOUT:
            if channel.send():
                self._listen(channel, select.EPOLLIN)
            return
        response = channel.receive()
        if response is not None:
            self._step(channel, response)

    def _step(self, channel: _Channel, heard: Response | None) -> None:
        """Let the script go on; start what it wants next."""
        try:
            wanted = next(channel.script) if heard is None else channel.script.send(heard)
        except StopIteration:
            del self._channels[channel.socket.fileno()]
            channel.socket.close()
            return
        if isinstance(wanted, float):
            heapq.heappush(self._timers, (wanted, channel.socket.fileno()))
            self._listen(channel, 0)
            return
        channel.begin(wanted)
        self._listen(channel, select.EPOLLIN if channel.send() else select.EPOLLOUT)

    def _listen(self, channel: _Channel, events: int) -> None:
        if channel.listens_for != events:
            channel.listens_for = events
            self._poll.modify(channel.socket, events)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0
