"""Starting a system's processes on fresh servers, and stopping them."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.config import PREFIX
from service.embedded.processes import ending_with_us

ROOT = Path(__file__).parent.parent
READY_S = 60.0
STOP_S = 15.0


class NotReady(Exception):
    """A system did not come up; its logs say why."""


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a command while the block lasts; its process id."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PG"))}
    with log.open("ab") as output:
        process = subprocess.Popen(
            ending_with_us(command, "TERM"), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            cwd=ROOT, env={**kept, **environment},
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int, log: Path) -> None:
    """Wait until /readyz answers 200. Raises NotReady."""
    until = time.monotonic() + READY_S
    while not _is_ready(port):
        if time.monotonic() > until:
            raise NotReady(f"nothing answered within {READY_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def wait_for_file(path: Path, log: Path) -> None:
    """Wait until a process has written this file. Raises NotReady."""
    until = time.monotonic() + READY_S
    while not path.exists():
        if time.monotonic() > until:
            raise NotReady(f"{path.name} did not appear within {READY_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def command_line(command: Sequence[str]) -> str:
    """A command as a person would type it, without this machine's paths."""
    return " ".join("python" if word == sys.executable else word for word in command)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
