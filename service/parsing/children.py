"""The parent's side: the warm process is started when the first file comes, and forks a child for each file."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import structlog

from service.metrics import PARSING_CHILDREN_KILLED
from service.parsing.channel import Channel, ChannelClosed

ROOT: Final = Path(__file__).parent.parent.parent
STARTED_S: Final = 120.0
ANSWERED_S: Final = 30.0
ANSWER_BYTES: Final = 64
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
    """A child of the warm process, and the channel to it."""

    def __init__(self, warm: "WarmProcess", number: int, channel: Channel) -> None:
        self._warm = warm
        self._number = number
        self.channel = channel
        self._ended = False

    def end(self) -> int:
        """End it, if it has not ended; its exit status, or the negative number of a signal that had ended it."""
        if self._ended:
            return 0
        self._ended = True
        self.channel.close()
        return self._warm.end(self._number)

    def lost(self, *, late: bool = False) -> ChildEnded:
        """End it, after it broke off, or was `late`: why."""
        status = self.end()
        too_costly = late or -status in (signal.SIGKILL, signal.SIGXCPU)
        PARSING_CHILDREN_KILLED.labels("limit" if too_costly else "crash").inc()
        log.warning("parsing_child_ended", late=late, status=status)
        return ChildEnded(too_costly=too_costly)


class WarmProcess:
    """A warm process with the parsers of one module, started when it is first needed, and again if it has died."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0
        atexit.register(self.close)

    def fork(self, *, file: int | None = None) -> Child:
        """A new child, with the descriptor of a file if it is to read one. Raises ChannelClosed if none can be had."""
        with self._lock:
            try:
                return self._forked(self._started(), file)
            except (OSError, ChannelClosed):
                self._close()
                return self._forked(self._started(), file)

    def end(self, number: int) -> int:
        """See Child.end."""
        with self._lock:
            if self._control is None or self._owner != os.getpid():
                return 0
            try:
                self._control.send(b"end %d" % number)
                return int(self._answer(self._control))
            except (OSError, ChannelClosed):
                self._close()  # the children end with it
                return 0

    def close(self) -> None:
        """End the warm process and its children."""
        with self._lock:
            self._close()

    @property
    def pid(self) -> int | None:
        """The id of the warm process, if it runs."""
        return None if self._process is None else self._process.pid

    def _forked(self, control: socket.socket, file: int | None) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                passed = [theirs.fileno()] if file is None else [theirs.fileno(), file]
                socket.send_fds(control, [b"fork"], passed)
                number = int(self._answer(control))
            except BaseException:
                ours.close()
                raise
        return Child(self, number, Channel(ours))

    def _started(self) -> socket.socket:
        if self._control is not None and self._owner == os.getpid():
            return self._control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.parsing.warm", str(theirs.fileno()), self._module],
                env=passed | LIBRARIES | {"PYTHONPATH": str(ROOT)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._control, self._owner = ours, os.getpid()
        ours.settimeout(STARTED_S)
        if self._answer(ours) != b"ready":
            raise ChannelClosed
        ours.settimeout(ANSWERED_S)
        return ours

    @staticmethod
    def _answer(control: socket.socket) -> bytes:
        answer = control.recv(ANSWER_BYTES)
        if not answer:
            raise ChannelClosed
        return answer

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
