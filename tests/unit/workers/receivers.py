"""Receivers without sockets: a resolver, and connections that are noted down, for workers/outbound."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import httpcore

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
Answers = list[tuple[int, int, int, str, tuple[str, int]]]


class FakeLine(httpcore.AsyncNetworkStream):
    """A connection on which one answer is read, and then its end. TLS changes nothing but what is noted."""

    def __init__(self, answer: bytes) -> None:
        self._unread = answer
        self.sent = b""
        self.server_name: str | None = None
        self.tls: ssl.SSLContext | None = None
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.sent += buffer

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "FakeLine":
        self.server_name, self.tls = server_hostname, ssl_context
        return self

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Receivers:
    """All hosts there are: every one answers alike, unless it is down or never accepts. Notes who was connected to."""

    answer: bytes = NO_CONTENT
    down: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    connected: list[tuple[str, int]] = field(default_factory=list)
    lines: list[FakeLine] = field(default_factory=list)

    async def dial(self, host: str, port: int) -> FakeLine:
        self.connected.append((host, port))
        if host in self.down:
            raise ConnectionRefusedError
        if host in self.silent:
            await asyncio.Event().wait()
        self.lines.append(FakeLine(self.answer))
        return self.lines[-1]


@dataclass
class Resolver:
    """Answers like getaddrinfo: numbers as inet_aton reads them, names by `answers_for`. Notes what it was asked."""

    answers_for: Callable[[str], list[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int, family: int, kind: int) -> Answers:
        self.asked.append(host)
        found = self._number(host) or self.answers_for(host)
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in found]

    def _number(self, host: str) -> list[str]:
        try:
            return [socket.inet_ntoa(socket.inet_aton(host))]
        except (OSError, UnicodeError):
            return []
