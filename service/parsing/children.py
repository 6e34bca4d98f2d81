"""The parent's side: the warm process is started when the first file comes, and forks a child for each file.

Started with an environment of its own, it holds neither keys nor connections.
"""

import os
import signal
import socket
from collections.abc import Sequence
from typing import Final

import structlog

from models.forking import ROOT, WarmProcess
from service.metrics import PARSING_CHILDREN_KILLED
from service.parsing.channel import Channel, ChannelClosed
from service.parsing.packets import Packets

# Of the environment, a child gets these alone: no setting, and no secret.
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZDIR", "LD_LIBRARY_PATH")
LIBRARIES: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve a gigabyte at once, which the limit would count
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a process that forks has one thread
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "67108864",  # blocks of rows are taken and given back all the time
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    "MALLOC_TOP_PAD_": "1048576",
}

log = structlog.get_logger()


class ChildEnded(Exception):
    """A child has ended while it was parsing. `too_costly`: it ran past a limit; otherwise the file crashed it."""

    def __init__(self, *, too_costly: bool) -> None:
        self.too_costly = too_costly
        super().__init__("past a limit" if too_costly else "crashed")


class Child:
    """A child of the warm process."""

    def __init__(self, warm: WarmProcess, number: int, connection: socket.socket) -> None:
        self.number = number
        self._warm = warm
        self._connection = connection
        self._ended = False

    def end(self) -> int:
        """End it, if it has not ended; its exit status, or the negative number of a signal that had ended it."""
        if self._ended:
            return 0
        self._ended = True
        self._connection.close()
        return self._warm.end(self.number)

    def lost(self, *, late: bool = False) -> ChildEnded:
        """End it, after it broke off, or was `late`: why."""
        status = self.end()
        too_costly = late or -status in (signal.SIGKILL, signal.SIGXCPU)
        PARSING_CHILDREN_KILLED.labels("limit" if too_costly else "crash").inc()
        log.warning("parsing_child_ended", late=late, status=status)
        return ChildEnded(too_costly=too_costly)


class ChannelChild(Child):
    """A child with a channel to it."""

    def __init__(self, warm: WarmProcess, number: int, connection: socket.socket) -> None:
        super().__init__(warm, number, connection)
        self.channel = Channel(connection)


class PacketChild(Child):
    """A child to which messages are packets."""

    def __init__(self, warm: WarmProcess, number: int, connection: socket.socket) -> None:
        super().__init__(warm, number, connection)
        self.packets = Packets(connection)


class WarmParsers(WarmProcess):
    """A warm process with the parsers of one module."""

    def __init__(self, module: str) -> None:
        super().__init__(module, _environment)

    def fork(self, *, file: int | None = None) -> ChannelChild:
        """A new child, with the descriptor of a file if it is to read one. Raises ChannelClosed if none can be had."""
        return ChannelChild(self, *self._forked(socket.SOCK_STREAM, [] if file is None else [file]))

    def fork_for_packets(self, buffer: int) -> PacketChild:
        """A new child, with the descriptor of memory that it shares. Raises ChannelClosed if none can be had."""
        return PacketChild(self, *self._forked(socket.SOCK_SEQPACKET, [buffer]))

    def _forked(self, kind: int, descriptors: Sequence[int]) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with theirs:
            try:
                return self.child([theirs.fileno(), *descriptors]), ours
            except BaseException as fault:
                ours.close()
                if isinstance(fault, OSError):
                    raise ChannelClosed from None
                raise


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | LIBRARIES | {"PYTHONPATH": str(ROOT)}
