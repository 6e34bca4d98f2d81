"""A system under load: what the load generator asks of it, and what is read from its database and processes.

Both systems take the same bodies and have a table `job` with `id`, `state` and `created_at`, so one set of
questions serves both.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks import cpu, wire

ID = re.compile(rb'"id": ?"([0-9a-f-]{36})"')
SUCCEEDED = re.compile(rb'"state": ?"succeeded"')
OBSERVE_S = 0.05
PATIENCE_S = 300.0

UNFINISHED = "SELECT count(*) FROM job WHERE id = ANY(%s::uuid[]) AND state::text <> 'succeeded'"
SUCCEEDED_SINCE = "SELECT count(*) FROM job WHERE created_at >= %s AND state::text = 'succeeded'"
MEAN_CLAIM = (
    "SELECT (count(*) / sum(1.0 / claim_size))::float FROM job WHERE created_at >= %s AND claim_size > 0"
)


class LoadFailed(Exception):
    """A system did not do what the benchmark asks for, so there is nothing to compare."""


@dataclass(frozen=True)
class System:
    """A running system. `roots` are the processes whose CPU time counts; `settings` says how it was started."""

    name: str
    title: str
    port: int
    path: str
    headers: bytes
    database_url: str
    folder: Path
    roots: cpu.Roots
    settings: Sequence[str]
    versions: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    batches: bool = False  # whether it claims several jobs at a time and says how many

    def submit(self, body: bytes, *, wait: bool = False) -> bytes:
        """The request that submits one case."""
        return wire.request("POST", self.path, self._headers(wait=wait), body)

    def submit_bulk(self, body: bytes) -> bytes:
        """The request that submits many cases."""
        return wire.request("POST", f"{self.path}/bulk", self.headers, body)

    def read(self, job_id: str) -> bytes:
        """The request that reads a job."""
        return wire.request("GET", f"{self.path}/{job_id}", self.headers)

    def cpu(self) -> cpu.Seconds:
        """CPU seconds used so far, by component."""
        return cpu.read(self.roots)

    def now(self) -> datetime:
        """The database's clock."""
        found: datetime = self._ask("SELECT clock_timestamp()")
        return found

    def wait_for(self, job_ids: Sequence[str]) -> None:
        """Ask the database every 50 ms until all these jobs have succeeded, the newest ones first.

        Counting some thousand rows on every look would burden the database that is measured; the newest jobs end
        last, so these few are looked at until they have ended. Raises LoadFailed.
        """
        newest, until = list(job_ids[-16:]), time.monotonic() + PATIENCE_S
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for ids in (newest, list(job_ids)):
                while connection.execute(UNFINISHED, (ids,)).fetchone() != (0,):
                    self._check_alive()
                    if time.monotonic() > until:
                        raise LoadFailed(f"{self.title}: jobs are not done after {PATIENCE_S:.0f} s")
                    time.sleep(OBSERVE_S)

    def succeeded_since(self, since: datetime) -> int:
        """Jobs submitted since then that have succeeded."""
        return int(self._ask(SUCCEEDED_SINCE, since))

    def mean_batch(self, since: datetime) -> float:
        """Jobs for each claim since then."""
        return float(self._ask(MEAN_CLAIM, since)) if self.batches else 1.0

    def server_version(self) -> str:
        """The version of its Postgres."""
        return str(self._ask("SHOW server_version")).split()[0]

    def _check_alive(self) -> None:
        for name, pid in self.roots.items():
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                log = (self.folder / f"{name}.log").read_text()[-2000:]
                raise LoadFailed(f"{self.title}: {name} has ended:\n{log}")

    def _headers(self, *, wait: bool) -> bytes:
        return self.headers + (b"Prefer: wait=10\r\n" if wait else b"")

    def _ask(self, question: str, *values: object) -> Any:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(question, values).fetchone()
        assert row is not None
        return row[0]


def job_id(response: wire.Response) -> str:
    """The id of the job in an answer. Raises LoadFailed when the request was refused."""
    if response.status >= 300:
        raise LoadFailed(f"a request was answered with {response.status}: {response.body[:200]!r}")
    found = ID.search(response.body)
    assert found is not None
    return found[1].decode()


def job_ids(response: wire.Response) -> list[str]:
    """The ids of all jobs in an answer. Raises LoadFailed when the request was refused."""
    job_id(response)
    return [found.decode() for found in ID.findall(response.body)]


def has_succeeded(response: wire.Response) -> bool:
    """Whether the answer is a job that has succeeded."""
    return response.status == 200 and SUCCEEDED.search(response.body) is not None
