"""`medqueue up` as a user has it: a process, the HTTP it serves, and the pid files of its data folder."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import httpx

from service.cli.root import main
from tests.forking import commands
from tests.forking.commands import Forked

MEDQUEUE = Path(sys.executable).with_name("medqueue")
READY_WITHIN_S = 120.0
STOPS_WITHIN_S = 15.0
STATEMENT_ENDS_S = (
    0.3  # a claim that a worker had sent before it was paused must not find what is submitted next
)
EVERY_SCOPE = ("jobs:read", "jobs:write", "uploads:write", "models:read", "webhooks:read", "webhooks:write")

# Settings under which a stack sends webhooks to receivers of this machine.
RECEIVERS_HERE = {
    "MEDQUEUE_WEBHOOK_ALLOW_HTTP": "1",
    "MEDQUEUE_WEBHOOK_ALLOWED_PORTS": "*",
    "MEDQUEUE_WEBHOOK_TENANT_NETWORKS": "* = 127.0.0.0/8",
}
JOB_EVENTS = [
    f"job.{name}" for name in ("succeeded", "failed", "canceled", "expired", "quarantined", "overdue")
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Stack:
    """One stack on a free port with a data folder of its own. `settings` are MEDQUEUE_* variables.

    `forked`: from a process that has imported everything; it takes a third of the CPU.
    """

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    port: int = field(default_factory=free_port)
    forked: bool = True
    _process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def night(self) -> Path:
        """The folder in which sources of batches may lie."""
        return self.data.parent / "night"

    @property
    def admin_key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    def start(self) -> None:
        """Start it and wait for the line that says that jobs are accepted."""
        given = ("--port", self.port, "--data-dir", self.data, "--workers", self.workers)
        words = ["up", *map(str, given)]
        self.night.mkdir(parents=True, exist_ok=True)
        environment = _environment({"MEDQUEUE_BATCH_ALLOWED_ROOTS": str(self.night), **self.settings})
        with self._output.open("wb") as output:
            if self.forked:
                self._process = Forked(
                    (*commands.MEDQUEUE, *words), stdout=output, stderr=output, env=environment
                )
            else:
                self._process = subprocess.Popen(
                    [MEDQUEUE, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                )
        line = f"ready {self.url}"
        eventually(lambda: self._ended or line in self.output.splitlines(), within_s=READY_WITHIN_S)
        assert not self._ended, self.output

    def stop(self) -> float:
        """Ctrl-C; the seconds it took. The stop must be clean."""
        assert self._process is not None, "start it first"
        began = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        try:
            assert self._process.wait(2 * STOPS_WITHIN_S) == 0, self.output
        finally:
            self.kill()
        return time.monotonic() - began

    def kill(self) -> None:
        """End it by force if it still runs."""
        if self._process is not None and not self._ended:
            self._process.kill()
            self._process.wait()

    def client(self, key: str | None = None) -> httpx.Client:
        """A client that shows `key`, or the admin's."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=90)

    def new_key(self, tenant: str, *scopes: str) -> str:
        """A key of `tenant`, which is made where it is missing."""
        return str(json.loads(self._told("keys", "create", *_create_options(tenant, scopes)))["key"])

    def endpoint(self, url: str, event_types: Sequence[str] = JOB_EVENTS) -> str:
        """Register a webhook endpoint; its signing secret."""
        with self.client() as http:
            answer = http.post("/v1/webhook-endpoints", json={"url": url, "event_types": list(event_types)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret"])

    def revoke(self, key: str) -> None:
        """End a key."""
        self._told("keys", "revoke", key.split("_")[1])

    def publish(self, folder: Path, *, seal: bool = True) -> None:
        """Seal and publish a bundle."""
        if seal:
            subprocess.run([sys.executable, "-m", "models", "seal", folder], check=True, timeout=60)
        self._told("models", "publish", str(folder))

    def pid(self, name: str) -> int:
        """The process id of one of the stack's programs, as its pid file says it now."""
        return int((self.data / "run" / f"{name}.pid").read_text())

    @property
    def worker_names(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    @contextlib.contextmanager
    def workers_paused(self, *, settled: bool = True) -> Iterator[None]:
        """Nothing is scored while the block lasts; `settled`: nor claimed, by what a worker had sent before."""
        with contextlib.ExitStack() as paused:
            for name in self.worker_names:
                paused.enter_context(self.paused(name))
            if settled:
                time.sleep(STATEMENT_ENDS_S)
            yield

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """One program stands still while the block lasts, unless it is dead already or killed meanwhile."""
        pid = self.pid(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @property
    def output(self) -> str:
        """What `medqueue up` has printed."""
        return self._output.read_text(errors="replace")

    @property
    def _output(self) -> Path:
        return self.data.with_name(f"{self.data.name}.out")

    @property
    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _told(self, *words: str) -> str:
        """What the operator's command line answers; it runs in this process, which saves its start."""
        told, faults = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, _environment({}), clear=True),
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(faults),
        ):
            code = main([*words, "--data-dir", str(self.data), "--json"])
        assert code == 0, faults.getvalue()
        return told.getvalue()


def eventually(holds: Callable[[], bool], *, within_s: float, every_s: float = 0.05) -> None:
    """Wait until `holds`; fail when it does not within `within_s`."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"did not come true within {within_s:.0f} s"
        time.sleep(every_s)


def _create_options(tenant: str, scopes: tuple[str, ...]) -> list[str]:
    chosen = [option for scope in scopes or EVERY_SCOPE for option in ("--scope", scope)]
    return ["--tenant", tenant, "--new-tenant", "--name", "acceptance", *chosen]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
    return {**own, **settings}
