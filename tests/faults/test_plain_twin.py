"""What people write today, under two of the same faults: its losses stand beside ours in the report. Full form only.

The twin is the one of the benchmarks: a Celery task a job, acknowledged late and given back when a worker is lost.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from benchmarks import cases
from benchmarks.plain.settings import Addresses
from benchmarks.system import System
from benchmarks.systems import plain_system, plain_worker
from service.embedded import server_urls
from tests.faults.checker import Verdict
from tests.faults.report import Report, Row

pytestmark = pytest.mark.timeout(900)

WAITS_S = 60.0
OPEN = "SELECT id::text FROM job WHERE state::text <> 'succeeded'"


class Worker:
    """The twin's Celery worker, its parent and children in one process group."""

    def __init__(self, addresses: Addresses, log: Path) -> None:
        self._addresses = addresses
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                plain_worker(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self._addresses.environment()},
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()


@contextmanager
def worker_on(folder: Path, addresses: Addresses) -> Iterator[Worker]:
    """A worker beside the one of the system, which stands still."""
    worker = Worker(addresses, folder / "killed-worker.log")
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()


def test_the_plain_twin_loses_jobs_under_the_same_faults(
    tmp_path: Path, report: Report, full: bool, seed: int
) -> None:
    if not full:
        pytest.skip("the comparison belongs to the full form: --faults full")
    bodies = [cases.body(case) for case in cases.inputs(2000, seed)]
    with plain_system(tmp_path / "twin") as system:
        urls = server_urls(tmp_path / "twin")
        os.kill(system.roots["worker"], signal.SIGKILL)  # with it, its children end: ours take over
        addresses = Addresses(system.database_url, urls.redis_url)
        with worker_on(tmp_path, addresses) as worker:
            killed = _kills(system.port, system.database_url, worker, bodies[:1500], kills=15)
            flushed = _flushes(system, urls.redis_url, worker, bodies[1500:], flushes=5)
    report.rows.append(
        Row("plain twin, workers killed", "15 SIGKILLs of its workers", 1500, _lost(killed), 0)
    )
    report.rows.append(Row("plain twin, Redis flushed", "5 times emptied", 500, _lost(flushed), 0))
    print(f"\nplain twin: {len(killed)} of 1,500 lost to kills, {len(flushed)} of 500 lost to flushes")
    assert flushed, "the twin lost nothing: then the scenario shows nothing"


def _kills(port: int, database_url: str, worker: Worker, bodies: list[bytes], *, kills: int) -> set[str]:
    """Jobs that have not ended a minute after the last kill."""
    part = len(bodies) // kills
    for number in range(kills):
        _submit(port, bodies[number * part : (number + 1) * part])
        worker.kill()
        worker.start()
        time.sleep(4.0)
    return _open_after(database_url)


def _flushes(
    system: System, redis_url: str, worker: Worker, bodies: list[bytes], *, flushes: int
) -> set[str]:
    """Jobs that have not ended a minute after the last flush, beyond those left from before."""
    before = _open(system.database_url)
    part = len(bodies) // flushes
    with redis.Redis.from_url(redis_url) as broker:
        for number in range(flushes):
            worker.signal(signal.SIGSTOP)
            _submit(system.port, bodies[number * part : (number + 1) * part])
            broker.flushall()
            worker.signal(signal.SIGCONT)
    return _open_after(system.database_url) - before


def _submit(port: int, bodies: list[bytes]) -> None:
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
        for body in bodies:
            assert http.post("/jobs", content=body).status_code == 202


def _open_after(database_url: str) -> set[str]:
    until = time.monotonic() + WAITS_S
    while (left := _open(database_url)) and time.monotonic() < until:
        time.sleep(1.0)
    return left


def _open(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        return {row[0] for row in connection.execute(OPEN)}


def _lost(job_ids: set[str]) -> Verdict:
    return Verdict({"lost": sorted(job_ids)})
