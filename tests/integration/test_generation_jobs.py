"""Jobs whose answer is written token by token: each token is a step of the heartbeat, and a cancellation ends the text."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest

from models.bundle import seal_bundle
from models.pipelines import Array
from service.catalog import Catalog, PublishedModel, publishing
from service.config import Provider
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.jobs import queries
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import Workbench, workbench
from tests.unit.models.example_decoders import write_generator
from workers.runtime import OnnxRuntime

NAME, TOKENS = "words", 12


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
    with workbench(database, blobs, keyring, queue, tmp_path, urls, lease_s=0.6) as made:
        yield made


@pytest.fixture
def words(bench: Workbench, tmp_path: Path) -> PublishedModel:
    """The published model, loaded, whose graph the worker runs."""
    folder = write_generator(tmp_path / NAME, "alone")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('"dose-effect"', f'"{NAME}"', 1))
    with bench.database.transaction() as work:
        publishing.publish(work, bench.blobs, seal_bundle(folder), actor="test")
    bench.graph.real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(folder / "model.onnx")
    model = Catalog(bench.database, cache_s=0, blobs=bench.blobs).resolve(NAME)
    bench.pool.get(model.id)
    bench.graph.batch_sizes.clear()
    return model


def scored(bench: Workbench, model: PublishedModel, *texts: str) -> list[UUID]:
    """Jobs of these texts, scored together."""
    ids = bench.submit_payloads(*(model.encode({"text": text}) for text in texts), model=model)
    bench.scorer.score(model.id)
    bench.write_back.wait()
    return ids


def test_each_token_is_a_step_of_the_heartbeat(bench: Workbench, words: PublishedModel) -> None:
    before = bench.heartbeat.steps
    [job_id] = scored(bench, words, "no fever")
    result = bench.view(job_id).result
    assert result is not None
    runs = len(bench.graph.batch_sizes)
    assert runs == result.content["new_tokens"] + (result.content["finish"] == "end") > 2
    assert bench.heartbeat.steps - before >= 2 * runs


@pytest.mark.parametrize("every", [True, False])
def test_a_text_ends_between_two_tokens_once_all_of_its_jobs_are_canceled(
    bench: Workbench, words: PublishedModel, every: bool
) -> None:
    canceled: set[UUID] = set()

    def script(_: Mapping[str, Array]) -> None:
        if len(bench.graph.batch_sizes) != 3:
            return
        ids = [row[0] for row in bench.rows("SELECT id FROM job WHERE state = 'running' ORDER BY id")]
        canceled.update(ids if every else ids[:1])
        for job_id in canceled:
            with bench.database.transaction() as work:
                queries.cancel(work, bench.caller, job_id)
        until = time.monotonic() + 5
        while bench.heartbeat.lost != canceled and time.monotonic() < until:
            time.sleep(0.02)

    bench.graph.script = script
    ids = scored(bench, words, "no fever", "no cough")
    assert len(canceled) == (2 if every else 1)
    assert [bench.outcomes([each])[0] for each in ids] == [
        "canceled" if each in canceled else "succeeded" for each in ids
    ]
    assert (len(bench.graph.batch_sizes) == 3) is every
