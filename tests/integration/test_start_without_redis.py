"""Worker and scheduler that are started while Redis is away do their work, say what is wrong, and stop when told to."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.bootstrap import bootstrap
from service.catalog import Catalog
from service.cli import main
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import scheduler_command, worker_command
from service.jobs import sweeps
from tests import factories
from tests.acceptance.stack import eventually, free_port
from tests.fakes import FakeTaskQueue
from tests.forking.commands import Forked

ROOT = Path(__file__).parents[2]
COMES_UP_WITHIN_S = 90.0
STOPS_WITHIN_S = 15.0


@pytest.fixture
def away(settings: Settings) -> Settings:
    """Settings of a fresh installation whose Redis nobody listens for."""
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    away.data_dir.mkdir(exist_ok=True)
    bootstrap(away)
    return away


@pytest.fixture
def processes(away: Settings) -> Iterator[dict[str, Forked]]:
    """Both, by the names that they have; started, not yet up."""
    commands = {"worker": worker_command("worker"), "scheduler": scheduler_command("scheduler")}
    with ExitStack() as running:
        started = {}
        for name, command in commands.items():
            environment = {"PATH": "/usr/bin:/bin", **away.environment(), "MEDQUEUE_WORKER_NAME": name}
            started[name] = running.enter_context(Forked(command, env=environment, cwd=ROOT))
            running.callback(started[name].kill)
        yield started


def test_they_work_and_say_what_is_wrong_and_stop_when_told_to(
    away: Settings, processes: dict[str, Forked], capfd: pytest.CaptureFixture[str]
) -> None:
    database = Database(away.database_url, queue=FakeTaskQueue())
    caller = factories.principal(database, Keyring(factories.MASTER_KEY))
    model = Catalog(database, cache_s=0).resolve(factories.BREAST_CANCER)
    job_ids = factories.submitted(database, caller, model, count=3)

    def ended() -> bool:
        with database.statement() as work:
            rows = work.execute(
                "SELECT count(*) FROM job WHERE state = 'succeeded' AND id = ANY(%s)", (job_ids,)
            )
        return bool(rows[0][0] == 3)

    def swept() -> bool:
        with database.statement() as work:
            last = sweeps.last_sweep(work)
        return last is not None and not last.late

    eventually(ended, within_s=COMES_UP_WITHIN_S, every_s=0.2)
    eventually(swept, within_s=COMES_UP_WITHIN_S, every_s=0.2)
    for name in processes:
        eventually(lambda: told(away, name, capfd) is not None, within_s=COMES_UP_WITHIN_S, every_s=0.5)  # noqa: B023
    for name, process in processes.items():
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPS_WITHIN_S) == 0, name
    database.close()


def told(settings: Settings, name: str, capfd: pytest.CaptureFixture[str]) -> str | None:
    """What `medqueue health` says of a healthy process about Redis."""
    capfd.readouterr()
    status = main(["health", name, "--name", name, "--data-dir", str(settings.data_dir)])
    error = capfd.readouterr().err
    return error if status == 0 and "unreachable" in error else None
