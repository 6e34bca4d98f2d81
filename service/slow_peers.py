"""Ends connections at whose other end nobody takes what we send, or sends what we wait for.

The server gives a request a thread and lets the peer set its pace, without an end. The kernel counts the bytes of each
connection, so a look every few seconds tells who keeps a thread or a buffer for nothing, and no request pays for it. The
same look ends what one address has open beyond its share.
"""

import os
import socket
import stat
import struct
import termios
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from fcntl import ioctl
from pathlib import Path

import structlog

from service.metrics import CONNECTIONS_ENDED

EVERY_S = 5.0
SLOWEST_BYTES_S = 8 * 1024  # a modem of 64 kbit/s
SLOW_S = 30.0  # slower than that for so long
LONGEST_S = 6 * 3600.0  # of sending one answer, however fast
SAME_S = 1.0  # between the arrival of a request and its first reading
ADDRESS_SHARE = 4096  # of a process' connections
OPEN_FILES = Path("/proc/self/fd")  # Linux; elsewhere nothing is watched
INTERNET = (socket.AF_INET, socket.AF_INET6)
# From linux/tcp.h: 8 bytes of states, 24 numbers of 4 bytes, 4 of 8 bytes, 3 of 4 bytes.
TCP_INFO = struct.Struct("=8x24I4Q3I")
UNACKED, LAST_SENT, LAST_RECEIVED, ACKED, RECEIVED, NOT_SENT = 4, 9, 11, 26, 27, 30

log = structlog.get_logger()


class Reason(StrEnum):
    """Why a connection was ended: a label of a metric."""

    UNREAD = "unread"
    UNSENT = "unsent"
    SHARE = "share"


Peer = tuple[str, int]


@dataclass(frozen=True)
class Link:
    """What the kernel says of a connection. Bytes are counted since it was made; times are of time.monotonic, in seconds."""

    peer: Peer
    received: int
    received_at: float  # the last of them
    acked: int
    sent_at: float
    unread: bool  # bytes that we sent wait for the peer
    left: bool  # bytes that it sent wait for us

    @property
    def asks(self) -> bool:
        """Whether we have answered nothing since the peer last sent something, or at most that it may go on (100)."""
        return not self.unread and not self.left and self.sent_at < self.received_at + SAME_S

    @property
    def unanswered(self) -> bool:
        """Whether we have sent nothing at all since the peer last sent something."""
        return self.acked <= 1 or self.sent_at < self.received_at  # 1 may stand for the handshake


@dataclass(frozen=True)
class _Course:
    """How a connection went on from look to look."""

    link: Link
    since: float  # of its state
    slow_since: float
    parts: int = 0  # how many looks saw something arrive since we last sent something

    def likely_to_owe(self, since: float) -> tuple[bool, bool, float]:
        """Least for the connection that most likely owes a body which was first asked for at `since`."""
        return self.parts < 2, not self.link.unanswered, abs(self.link.received_at - since)


class SlowPeers:
    """Looks at the connections to `port` of this process, and ends those that hold it up.

    `bodies_since` says since when bodies of requests from an address have been awaited. The kernel cannot tell a peer that
    owes us a body from one that waits for our answer, and the server does not say whose request is whose.
    """

    def __init__(self, port: int, *, bodies_since: Callable[[str], list[float]]) -> None:
        self._port = port
        self._bodies_since = bodies_since
        self._courses: dict[Peer, _Course] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look every few seconds from now on."""
        self._thread = threading.Thread(target=self._run, name="slow-peers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def overdue(self, links: Iterable[Link], now: float) -> dict[Peer, Reason]:
        """The peers whose connections are to end, given what the kernel says at the time `now`."""
        self._courses = {link.peer: self._course(link, now) for link in links}
        by_address: defaultdict[str, list[_Course]] = defaultdict(list)
        for course in self._courses.values():
            by_address[course.link.peer[0]].append(course)
        found: dict[Peer, Reason] = {}
        for address, courses in by_address.items():
            found |= dict.fromkeys(_beyond_the_share(courses), Reason.SHARE)
            found |= dict.fromkeys(_unread(courses, now), Reason.UNREAD)
            found |= dict.fromkeys(_unsent(courses, self._bodies_since(address), now), Reason.UNSENT)
        return found

    def _course(self, link: Link, now: float) -> _Course:
        before = self._courses.get(link.peer)
        if before is None or link.received < before.link.received or link.acked < before.link.acked:
            return _Course(link, since=now, slow_since=now)
        received, sent = link.received - before.link.received, link.acked - before.link.acked
        same = link.unread == before.link.unread
        fast = link.left or received + sent >= SLOWEST_BYTES_S * EVERY_S
        return _Course(
            link,
            since=before.since if same else now,
            slow_since=before.slow_since if same and not fast else now,
            parts=(0 if sent else before.parts) + bool(received),
        )

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look may go well
                log.warning("connections_not_looked_at", error=type(error).__name__)

    def look(self) -> None:
        """Look once."""
        overdue = self.overdue((link for link, _ in connections(self._port)), time.monotonic())
        if not overdue:
            return
        for link, connection in connections(self._port):
            reason = overdue.get(link.peer)
            if reason is not None:
                with suppress(OSError):  # it has ended meanwhile
                    connection.shutdown(socket.SHUT_RDWR)
                CONNECTIONS_ENDED.labels(reason.value).inc()
        log.info("connections_ended", count=len(overdue), reasons=sorted(set(overdue.values())))


def _unread(courses: Iterable[_Course], now: float) -> Iterator[Peer]:
    """Those that take what we send too slowly, or have for too long."""
    for course in courses:
        if course.link.unread and (now - course.slow_since >= SLOW_S or now - course.since >= LONGEST_S):
            yield course.link.peer


def _unsent(courses: Sequence[_Course], bodies_since: Iterable[float], now: float) -> Iterator[Peer]:
    """For each body that is awaited for too long, the connection that owes it.

    That is one at which something arrived at several looks and nothing was answered, or else the one that has been silent
    since the body was first asked for. Where that was another's, which had only just sent its request, a later look ends the
    right one.
    """
    suspects = [course for course in courses if course.link.asks and now - course.slow_since >= SLOW_S]
    for since in bodies_since:
        if now - since < SLOW_S or not suspects:
            continue
        suspect = min(suspects, key=lambda each: each.likely_to_owe(since))
        if suspect.parts >= 2 or abs(suspect.link.received_at - since) < EVERY_S + SAME_S:
            suspects.remove(suspect)
            yield suspect.link.peer


def _beyond_the_share(courses: Sequence[_Course]) -> Iterator[Peer]:
    """Of an address with more connections than its share those that carried least, as idle ones do."""
    if len(courses) > ADDRESS_SHARE:
        for course in sorted(courses, key=lambda each: each.link.received)[: len(courses) - ADDRESS_SHARE]:
            yield course.link.peer


def connections(port: int) -> Iterator[tuple[Link, socket.socket]]:
    """The connections that this process accepted at `port`, each with a socket that is closed after its turn."""
    for number in _open_sockets():
        with (
            suppress(OSError),  # closed meanwhile, or not a connection of TCP
            socket.socket(fileno=os.dup(number)) as connection,
        ):
            if connection.family in INTERNET and connection.getsockname()[1] == port:
                yield _link(connection), connection


def _open_sockets() -> Iterator[int]:
    """Numbers of open files that are sockets. No other kind is touched: to close a copy of a file ends its locks."""
    with suppress(FileNotFoundError):
        for file in OPEN_FILES.iterdir():
            number = int(file.name)
            with suppress(OSError):  # closed meanwhile
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    yield number


def _link(connection: socket.socket) -> Link:
    """Raises OSError for a socket that listens."""
    host, peer_port, *_ = connection.getpeername()
    said = TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size))
    now = time.monotonic()
    (left,) = struct.unpack("i", ioctl(connection, termios.FIONREAD, bytes(4)))
    return Link(
        peer=(host.removeprefix("::ffff:"), peer_port),
        received=said[RECEIVED],
        received_at=now - said[LAST_RECEIVED] / 1000,
        acked=said[ACKED],
        sent_at=now - said[LAST_SENT] / 1000,
        unread=said[NOT_SENT] + said[UNACKED] > 0,
        left=left > 0,
    )
