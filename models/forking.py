"""The side of a warm process's owner: starts it at the first request, asks it for children, and ends it. See models.warm."""

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from models.warm import END, FORK

ROOT: Final = Path(__file__).parent.parent
STARTED_S: Final = 120.0
ANSWERED_S: Final = 30.0
ANSWER_BYTES: Final = 64
PATH: Final = "PYTHONPATH"


class WarmProcess:
    """A warm process for one module, started when it is first needed, and again if it has died or code is found elsewhere."""

    def __init__(self, module: str, environment: Callable[[], Mapping[str, str]]) -> None:
        self._module = module
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0
        self._path: str | None = None
        atexit.register(self.close)

    def child(self, descriptors: Sequence[int]) -> int:
        """The id of a new child, which gets copies of `descriptors`. Raises OSError if none can be had."""
        with self._lock:
            try:
                return self._child(self._started(), descriptors)
            except OSError:
                self._close()
                return self._child(self._started(), descriptors)

    def end(self, child: int) -> int:
        """End a child, if it has not ended; its exit status, or the negative number of the signal that ended it."""
        with self._lock:
            if self._control is None or self._owner != os.getpid():
                return 0
            try:
                self._control.send(b"%s %d" % (END, child))
                return int(self._answer(self._control))
            except OSError:
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

    def _child(self, control: socket.socket, descriptors: Sequence[int]) -> int:
        socket.send_fds(control, [FORK], descriptors)
        return int(self._answer(control))

    def _started(self) -> socket.socket:
        environment = dict(self._environment())
        if self._control is not None and self._owner == os.getpid():
            if self._path == environment.get(PATH):
                return self._control
            self._close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "models.warm", str(theirs.fileno()), self._module],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._control, self._owner, self._path = ours, os.getpid(), environment.get(PATH)
        ours.settimeout(STARTED_S)
        if self._answer(ours) != b"ready":
            raise ConnectionError(f"{self._module} cannot be imported")
        ours.settimeout(ANSWERED_S)
        return ours

    @staticmethod
    def _answer(control: socket.socket) -> bytes:
        answer = control.recv(ANSWER_BYTES)
        if not answer:
            raise ConnectionError("the warm process has ended")
        return answer

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
