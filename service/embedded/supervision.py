"""supervisord as a child of this process: start it, start stages of programs in it, stop all.

supervisord restarts what dies, and stops in order.
"""

import http.client
import socket
import subprocess
import sys
import xmlrpc.client
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.embedded.errors import StackFailed
from service.embedded.folder import DataFolder, write_private
from service.embedded.processes import ending_with_us
from service.embedded.programs import Program, Stage, start_script, supervisor_configuration
from service.embedded.waiting import wait_until

SOCKET = "supervisor.sock"
START_S = 30.0
STOP_S = 11.0  # longer than the waits of all stages together, 10 s
PATIENCE = 3  # starts of an awaited program after which it counts as broken


@dataclass
class Supervisor:
    """A running supervisord and the programs it was given."""

    folder: DataFolder
    programs: tuple[Program, ...]
    process: subprocess.Popen[bytes]
    _pids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def start(self, stage: Stage, timeout_s: float, progress: Callable[[str], None]) -> None:
        """Start the programs of a stage and wait until each is ready, which `progress` is told. Raises StackFailed."""
        waiting = [program for program in self.programs if program.stage is stage]
        if not waiting:
            return
        self._call("startProcessGroup", stage.name.lower(), False)

        def all_ready() -> bool:
            states = self._states()
            for program in waiting.copy():
                if self._is_ready(program, states[program.name]):
                    waiting.remove(program)
                    progress(f"{program.name} is ready")
            return not waiting

        if not wait_until(all_ready, timeout_s):
            raise self._failed(waiting[0].name, f"was not ready within {timeout_s:.0f} s")

    def wait(self) -> None:
        """Block until supervisord ends, which it does only when something stops or kills it."""
        self.process.wait()

    def await_start(self) -> None:
        """Wait until it takes commands. Raises StackFailed when it ends or does not answer."""
        if not wait_until(lambda: self._answers() or self._has_ended(), START_S) or self._has_ended():
            raise self._failed("supervisord", "did not come up")

    def stop(self) -> None:
        """Stop every program, the last stage first. Within STOP_S, by force if necessary."""
        self.process.terminate()
        # Each call makes it check its programs; otherwise it does so once a second.
        if not wait_until(lambda: not self._answers() and self._has_ended(), STOP_S):
            self.process.kill()
        self.process.wait()

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def _answers(self) -> bool:
        with suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
            return bool(self._call("getState", timeout_s=1.0))
        return False

    def _is_ready(self, program: Program, state: Mapping[str, Any]) -> bool:
        if state["pid"]:
            self._pids[program.name].add(state["pid"])
        if len(self._pids[program.name]) >= PATIENCE:
            raise self._failed(program.name, "exits whenever it is started")
        return state["statename"] == "RUNNING" if program.is_ready is None else program.is_ready()

    def _failed(self, name: str, reason: str) -> StackFailed:
        return StackFailed(name, reason, self.folder.log(name))

    def _states(self) -> dict[str, Mapping[str, Any]]:
        return {state["name"]: state for state in self._call("getAllProcessInfo")}

    def _call(self, method: str, *values: object, timeout_s: float = 10.0) -> Any:
        transport = _SocketTransport(self.folder.sockets / SOCKET, timeout_s)
        with xmlrpc.client.ServerProxy("http://localhost", transport) as proxy:
            return getattr(proxy.supervisor, method)(*values)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _SocketTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, with a time limit: supervisord's own transport has none."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, _host: object) -> http.client.HTTPConnection:
        return _SocketConnection(self._path, self._timeout_s)


@contextmanager
def supervised(
    folder: DataFolder, programs: Sequence[Program], environment: Mapping[str, str]
) -> Iterator[Supervisor]:
    """Run supervisord, with no program started yet, while the block lasts. Raises StackFailed."""
    for program in programs:
        write_private(folder.run / f"{program.name}.sh", start_script(program))
    configuration = folder.run / "supervisord.conf"
    write_private(configuration, supervisor_configuration(programs, folder.sockets / SOCKET))
    command = (sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration))
    process = subprocess.Popen(
        ending_with_us(command, "TERM"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        cwd=folder.run, env=dict(environment), start_new_session=True,
    )  # fmt: skip
    supervisor = Supervisor(folder, tuple(programs), process)
    try:
        supervisor.await_start()
        yield supervisor
    finally:
        supervisor.stop()
