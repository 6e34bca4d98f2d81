"""What a pipeline may raise on a job: its failure on this job alone, but for what ends the process."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate

from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.test_scoring import POISON, raising
from tests.integration.workbench import Workbench, workbench


class OwnEnd(BaseException):
    """A package's own exception that no `except Exception` catches."""


@pytest.fixture
def bench(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    tmp_path: Path,
    servers: ServerUrls,
    database_url: str,
) -> Iterator[Workbench]:
    urls = servers.database_url, database_url
    with workbench(database, blobs, keyring, queue, tmp_path, urls) as made:
        yield made


@pytest.mark.parametrize(
    "fault",
    [
        ZeroDivisionError(),
        SystemExit(0),
        SystemExit("x"),
        GeneratorExit(),
        asyncio.CancelledError(),
        OwnEnd(),
    ],
)
def test_a_fault_nobody_foresaw_fails_its_job_alone(bench: Workbench, fault: BaseException) -> None:
    ids = bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(fault, POISON)
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "model_failed", "succeeded"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), WorkerTerminate(1), WorkerShutdown(0)])
def test_what_a_signal_raises_ends_the_process_and_no_job(bench: Workbench, fault: BaseException) -> None:
    ids = bench.submit(POISON)
    bench.graph.script = raising(fault, POISON)
    with pytest.raises(type(fault)):
        bench.score()
    assert bench.outcomes(ids) == ["running"]
