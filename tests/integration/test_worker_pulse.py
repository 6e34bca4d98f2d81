"""Workers and scheduler as real processes: who takes no messages is told apart from who is busy, and all can be scraped."""

import contextlib
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import psycopg
import pytest
from redis import Redis

from service.bootstrap import bootstrap
from service.broker import CeleryTaskQueue
from service.catalog import Catalog
from service.cli import main
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import embedded_servers, scheduler_command, worker_command
from service.pulse import Pulse, pulse_file
from service.queue import score_wake_up
from tests import factories
from tests.forking.commands import Forked

ROOT = Path(__file__).parents[2]
PATIENCE_S = 2.0  # four pulses of deaf_worker
NOTICED_WITHIN_S = 30.0


@dataclass(frozen=True)
class Process:
    """A worker or scheduler that has come up."""

    name: str
    settings: Settings
    child: Forked

    def healthy(self) -> bool:
        words = ["--data-dir", str(self.settings.data_dir), "--stalled-after", str(PATIENCE_S)]
        return main(["health", "worker", "--name", self.name, *words]) == 0

    def pulse(self) -> Pulse | None:
        return Pulse.read(pulse_file(self.settings.data_dir, self.name))

    def file(self, kind: str) -> Path:
        return self.settings.data_dir / "run" / f"{self.name}.{kind}"


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers of this module's own, which it may stop, and a database with the bundled models."""
    folder = tmp_path_factory.mktemp("pulse")
    with embedded_servers(folder / "servers", fsync=False) as urls:
        settings = Settings(
            database_url=urls.database_url,
            redis_url=urls.redis_url,
            data_dir=folder / "data",
            master_key=factories.MASTER_KEY_TEXT,
            metrics_port=0,
        )
        settings.data_dir.mkdir(exist_ok=True)
        bootstrap(settings)
        yield settings


@pytest.fixture
def redis(deployed: Settings) -> Iterator[Redis]:
    with Redis.from_url(deployed.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def start(deployed: Settings) -> Iterator[Start]:
    """Starts processes by their real command line, and kills them after the test."""
    with contextlib.ExitStack() as started:

        def up(name: str, *, scheduler: bool = False) -> Process:
            command = scheduler_command(name) if scheduler else worker_command(name)
            words = ["tests.integration.deaf_worker" if word == "workers.app" else word for word in command]
            child = started.enter_context(launched(words, deployed, name))
            process = Process(name, deployed, child)
            eventually(lambda: child.poll() is not None or process.file("ready").exists(), within_s=90)
            return process

        yield up


@contextlib.contextmanager
def launched(
    words: list[str], settings: Settings, name: str, errors: IO[str] | None = None
) -> Iterator[Forked]:
    environment = {"PATH": "/usr/bin:/bin", **settings.environment(), "MEDQUEUE_WORKER_NAME": name}
    with Forked(words, env=environment, cwd=ROOT, stderr=errors) as child:
        try:
            yield child
        finally:
            child.kill()


def eventually(holds: Callable[[], object], *, within_s: float = NOTICED_WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.2)


def always(holds: Callable[[], object], *, for_s: float) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert holds()
        time.sleep(0.5)


def waiting_pulses(redis: Redis, child: Forked) -> list[str]:
    return list(redis.scan_iter(f"pulse.*:{child.pid}"))


def test_a_worker_at_rest_is_healthy_and_takes_its_pulses(start: Start, redis: Redis) -> None:
    worker = start("at-rest")

    def used_s() -> float:
        used = psutil.Process(worker.child.pid).cpu_times()
        always(worker.healthy, for_s=PATIENCE_S + 2)
        spent = psutil.Process(worker.child.pid).cpu_times()
        return float(spent.user + spent.system - used.user - used.system)

    # On a busy machine its start may go on for a while.
    assert any(used_s() < 0.05 * (PATIENCE_S + 2) for _ in range(3))
    eventually(lambda: not waiting_pulses(redis, worker.child))
    redis.flushall()
    always(worker.healthy, for_s=PATIENCE_S + 2)


def test_a_worker_that_stands_still_is_unhealthy_and_leaves_one_message_that_expires(
    start: Start, redis: Redis
) -> None:
    worker = start("still")
    assert worker.healthy()
    os.kill(worker.child.pid, signal.SIGSTOP)
    eventually(lambda: not worker.healthy())
    os.kill(worker.child.pid, signal.SIGCONT)
    eventually(worker.healthy)
    os.kill(worker.child.pid, signal.SIGKILL)
    for queue in waiting_pulses(redis, worker.child):
        assert redis.llen(queue) == 1
        assert 0 < int(str(redis.ttl(queue))) <= 60


def test_a_worker_that_takes_no_messages_is_unhealthy_though_it_runs(start: Start, redis: Redis) -> None:
    worker = start("deaf")
    assert worker.healthy()

    def deafened() -> bool:
        """Again and again: a worker is ready a moment before it asks for messages."""
        os.kill(worker.child.pid, signal.SIGUSR2)
        return not worker.healthy()

    eventually(deafened)
    unhealthy_at_s = time.monotonic()
    eventually(
        lambda: (pulse := worker.pulse()) and pulse.written_at_s > unhealthy_at_s
    )  # it goes on writing
    assert not worker.healthy()
    assert worker.child.poll() is None
    (queue,) = waiting_pulses(redis, worker.child)
    assert redis.llen(queue) == 1


def test_a_worker_that_is_busy_for_long_is_healthy(start: Start, deployed: Settings) -> None:
    """Its result cannot be stored while another holds the table; meanwhile it keeps its lease and takes nothing."""
    worker = start("busy")
    queue = CeleryTaskQueue(deployed.redis_url)
    database = Database(deployed.database_url, queue=queue)
    caller = factories.principal(database, Keyring(factories.MASTER_KEY))
    model = Catalog(database, cache_s=0).resolve(factories.BREAST_CANCER)
    url = deployed.database_url
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE job_result IN ACCESS EXCLUSIVE MODE")
        (job_id,) = factories.submitted(database, caller, model)
        queue.wake(score_wake_up(model.id))
        eventually(lambda: (pulse := worker.pulse()) and pulse.waits_since_s)
        always(worker.healthy, for_s=2 * PATIENCE_S)
        pulse = worker.pulse()
        assert pulse is not None
        assert pulse.busy
        other.rollback()
    with database.statement() as work:
        assert work.execute("SELECT fence FROM job WHERE id = %s", (job_id,)) == [(1,)]
    eventually(lambda: (pulse := worker.pulse()) and not pulse.busy and pulse.waits_since_s is None)
    assert worker.healthy()
    database.close()
    queue.close()


def test_a_worker_whose_redis_is_away_is_healthy_and_says_so(
    start: Start, redis: Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = start("lonely")
    server = psutil.Process(int(redis.info("server")["process_id"]))
    server.suspend()
    try:
        eventually(lambda: (pulse := worker.pulse()) and pulse.redis_away)
        capfd.readouterr()
        assert worker.healthy()
        told = capfd.readouterr().err
        assert "lonely runs, but Redis carries no messages to it: unreachable. Start the server" in told
    finally:
        server.resume()
    eventually(lambda: (pulse := worker.pulse()) and not pulse.redis_away)
    eventually(lambda: (pulse := worker.pulse()) and pulse.waits_since_s is None, within_s=60)
    assert worker.healthy()


def test_a_process_serves_its_metrics_until_it_stops_and_takes_its_signs_away(start: Start) -> None:
    worker, scheduler = start("scraped"), start("scraped-scheduler", scheduler=True)
    for process, metric in (
        (worker, "medqueue_models_loaded_megabytes"),
        (scheduler, "medqueue_jobs_rescued_total"),
    ):
        port = int(process.file("metrics").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert metric in answer.read().decode()
        assert process.healthy()
        process.child.terminate()
        assert process.child.wait(20) == 0
        assert not [kind for kind in ("ready", "pulse", "metrics") if process.file(kind).exists()]


def test_metrics_on_a_port_that_is_taken_stop_the_start(deployed: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = deployed.model_copy(update={"metrics_port": port})
        with (
            (tmp_path / "errors").open("w") as errors,
            launched(list(worker_command("refused")), settings, "refused", errors) as child,
        ):
            child.wait(60)
    assert child.returncode == 2
    assert (
        f"MEDQUEUE_METRICS_PORT: cannot listen on 127.0.0.1:{port}: Address already in use."
        in (tmp_path / "errors").read_text()
    )
