"""This side: asks for a command, and is to it what subprocess is to an executed one."""

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from models.forking import ROOT, WarmProcess

MEDQUEUE = "service.cli"


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
    return own | {"PYTHONPATH": str(ROOT)}


_warm = WarmProcess("tests.forking.programs", _environment)


class Command:
    """`medqueue` with these words, running; what tests need of subprocess.Popen."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        output: IO[Any],
        errors: IO[Any],
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        asked = {
            "words": [MEDQUEUE, *words],
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        with tempfile.TemporaryFile("w+") as request:
            json.dump(asked, request)
            request.flush()
            self.pid = _warm.child([request.fileno(), output.fileno(), errors.fileno()])
        self._ended = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        return self._status(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        if (status := self._status(timeout)) is None:
            raise subprocess.TimeoutExpired(MEDQUEUE, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)

    def _status(self, within_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], within_s)[0]:
            os.close(self._ended)
            self.returncode = _warm.end(self.pid)
        return self.returncode


def run(
    words: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """`medqueue` with these words, to its end; what it wrote."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        command = Command(words, output=output, errors=errors, environment=environment, folder=folder)
        try:
            status = command.wait(timeout)
        finally:
            command.kill()
        for written in (output, errors):
            written.seek(0)
        return subprocess.CompletedProcess([MEDQUEUE, *words], status, output.read(), errors.read())
