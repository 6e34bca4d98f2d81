"""This side: asks for a process, and is to it what subprocess is to an executed one."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from models.forking import ROOT, WarmProcess

MEDQUEUE: Final = (sys.executable, "-m", "service.cli")


class Written(Protocol):
    """A file that a process writes to."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
    return own | {"PYTHONPATH": str(ROOT)}


_warm = WarmProcess("tests.forking.programs", _environment)


class Forked:
    """What `subprocess.Popen` would be for a command that begins with our Python, `-m` and a module of OURS or LIBRARIES.

    Without `stdout` or `stderr` what it writes there goes nowhere.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: Written | None = None,
        stderr: Written | None = None,
        cwd: Path | None = None,
    ) -> None:
        assert tuple(command[:2]) == MEDQUEUE[:2], command
        asked = {"words": [*command[2:]], "environment": dict(env), "folder": str(cwd or Path.cwd())}
        with tempfile.TemporaryFile("w+") as request, Path(os.devnull).open("w") as nowhere:
            json.dump(asked, request)
            request.flush()
            written = (stdout or nowhere, stderr or nowhere)
            self.pid = _warm.child([request.fileno(), *(file.fileno() for file in written)])
        self._ended = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        """See subprocess.Popen."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end."""
        self.wait()

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        return self._status(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        if (status := self._status(timeout)) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)

    def _status(self, within_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], within_s)[0]:
            os.close(self._ended)
            self.returncode = _warm.end(self.pid)
        return self.returncode


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """A command to its end; what it wrote. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = Forked(command, env=env, stdout=output, stderr=errors, cwd=cwd)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        for written in (output, errors):
            written.seek(0)
        return subprocess.CompletedProcess([*command], status, output.read(), errors.read())
