"""Jobs whose answer is written token by token: each token is a step of the heartbeat, and a cancellation ends the text."""

import itertools
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
from service.errors import DatabaseUnavailable, JobNotFound
from service.jobs import partial_texts, queries, submission, sweeps
from service.jobs.partial_texts import Progress
from service.jobs.submission import NewJob
from service.leases import Lease
from service.lifecycle import JobState
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import Workbench, workbench
from tests.unit.models.example_decoders import write_generator
from workers.jobs import joining
from workers.runtime import OnnxRuntime, RunFailed

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
    folder = write_generator(tmp_path / NAME, "alone, left padding")
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
    ids = submitted(bench, model, *texts)
    bench.score_model(model)
    return ids


def submitted(bench: Workbench, model: PublishedModel, *texts: str, **options: object) -> list[UUID]:
    """Jobs of these texts with these options."""
    checked = model.pipeline.check_options(options)
    jobs = [
        NewJob(bench.caller, model, payload=model.encode({"text": text}), options=checked) for text in texts
    ]
    with bench.database.statement() as work:
        return [job.id for job in submission.submit(work, jobs)]


def text_of(bench: Workbench, job_id: UUID) -> object:
    result = bench.view(job_id).result
    assert result is not None
    return result.content["text"]


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


@pytest.fixture
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "LOOK_S", 0.0)


def joining_at(bench: Workbench, model: PublishedModel, run: int, text: str, **options: object) -> list[UUID]:
    """Submit a job once the graph has run so many times; the list that its id will be in."""
    found = list[UUID]()

    def script(_: Mapping[str, Array]) -> None:
        if len(bench.graph.batch_sizes) == run:
            found.extend(submitted(bench, model, text, **options))

    bench.graph.script = script
    return found


@pytest.mark.usefixtures("looks_at_once")
def test_a_job_joins_between_two_tokens_and_is_written_back_before_the_others(
    bench: Workbench, words: PublishedModel
) -> None:
    late = joining_at(bench, words, 2, "pain", max_new_tokens=3)
    submits, early = bench.graph.script, list[list[str]]()

    def script(feeds: Mapping[str, Array]) -> None:
        assert submits is not None
        submits(feeds)
        early.append(bench.outcomes([first, *late]))

    bench.graph.script = script
    [first] = submitted(bench, words, "no fever")
    assert bench.score_model(words) == 1
    bench.graph.script = None
    assert ["running", "succeeded"] in early
    assert max(bench.graph.batch_sizes) == 2
    again = [
        *submitted(bench, words, "no fever"), *submitted(bench, words, "pain", max_new_tokens=3)
    ]  # fmt: skip
    while bench.score_model(words):
        pass
    assert [text_of(bench, job_id) for job_id in [first, *late]] == [text_of(bench, each) for each in again]
    for job_id in [first, *late]:
        assert bench.actions(job_id)[:3] == ["job.submitted", "job.claimed", "job.succeeded"]


@pytest.mark.usefixtures("looks_at_once")
def test_a_crash_is_counted_against_no_job_that_others_may_have_joined(
    bench: Workbench, words: PublishedModel
) -> None:
    late = joining_at(bench, words, 2, "pain")
    submits = bench.graph.script

    def script(feeds: Mapping[str, Array]) -> None:
        assert submits is not None
        submits(feeds)
        if len(feeds["input_ids"]) == 2:
            raise KeyboardInterrupt

    bench.graph.script = script
    [first] = submitted(bench, words, "no fever")
    with pytest.raises(KeyboardInterrupt):
        bench.score_model(words)
    bench.graph.script = None
    bench.lapse(first, *late)
    with bench.database.transaction() as work:
        sweeps.rescue(work, max_crashes=3)
    counted = "SELECT crash_count, state::text FROM job WHERE id = ANY(%s)"
    assert bench.rows(counted, [first, *late]) == [(0, "queued")] * 2
    assert [bench.score_model(words), bench.score_model(words)] == [1, 1]
    sizes = "SELECT claim_size FROM job WHERE id = ANY(%s)"
    assert bench.rows(sizes, [first, *late]) == [(1,)] * 2
    assert bench.outcomes([first, *late]) == ["succeeded"] * 2


@pytest.mark.usefixtures("looks_at_once")
def test_jobs_that_fail_together_are_scored_by_themselves(bench: Workbench, words: PublishedModel) -> None:
    late = joining_at(bench, words, 2, "pain")
    bench.graph.faults = {2: RunFailed()}
    [first] = submitted(bench, words, "no fever")
    assert bench.score_model(words) == 1
    assert bench.outcomes([first, *late]) == ["succeeded"] * 2


@pytest.mark.usefixtures("looks_at_once")
@pytest.mark.parametrize(
    "why", ["the worker stops", "others have joined for long enough", "there is no room"]
)
def test_no_job_joins_if(why: str, bench: Workbench, words: PublishedModel) -> None:
    late = joining_at(bench, words, 2, "pain")
    submits = bench.graph.script

    def script(feeds: Mapping[str, Array]) -> None:
        assert submits is not None
        submits(feeds)
        bench.scorer.stopping = why == "the worker stops"

    bench.graph.script = script
    if why == "others have joined for long enough":
        bench.scorer._join_s = 0.0
    most = words.manifest.runtime.max_batch
    texts = ["no fever"] * (most if why == "there is no room" else 1)
    first = submitted(bench, words, *texts)
    bench.score_model(words)
    assert bench.outcomes([*first, *late]) == [*["succeeded"] * len(first), "queued"]


@pytest.mark.usefixtures("looks_at_once")
@pytest.mark.parametrize(
    ("others", "elsewhere", "state"),
    [(False, False, "succeeded"), (True, False, "queued"), (True, True, "succeeded")],
)
def test_jobs_join_as_long_as_no_other_model_has_work(
    bench: Workbench,
    words: PublishedModel,
    monkeypatch: pytest.MonkeyPatch,
    others: bool,
    elsewhere: bool,
    state: str,
) -> None:
    """`elsewhere`: another lane scores the other model."""
    monkeypatch.setattr(joining, "PERIODS", 10**9)
    bench.scorer._elsewhere = lambda _: elsewhere
    bench.scorer._join_s = 1e-6
    late = joining_at(bench, words, 2, "pain")
    if others:
        bench.submit(1.0)
    [first] = submitted(bench, words, "no fever")
    bench.score_model(words)
    assert bench.outcomes([first, *late]) == ["succeeded", state]


@pytest.fixture
def shows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SHOW_S", 0.0)


def progress(bench: Workbench, job_id: UUID, *, recorded: bool = True) -> Progress:
    with bench.database.statement() as work:
        return partial_texts.read(work, bench.caller, job_id, recorded=recorded)


def looking(bench: Workbench, *job_ids: UUID) -> dict[UUID, list[Progress]]:
    """Read the progress of jobs before each run of the graph; the lists that it will be in."""
    found: dict[UUID, list[Progress]] = {job_id: [] for job_id in job_ids}

    def script(_: Mapping[str, Array]) -> None:
        for job_id, seen in found.items():
            seen.append(progress(bench, job_id))

    bench.graph.script = script
    return found


def kept(bench: Workbench) -> list[UUID]:
    return [row.job_id for row in bench.rows("SELECT job_id FROM job_partial_text")]


def swept(bench: Workbench) -> None:
    with bench.database.statement() as work:
        partial_texts.sweep(work)


@pytest.mark.usefixtures("shows_at_once")
def test_what_a_job_has_written_so_far_is_read_sealed_while_it_runs_and_removed_after_it(
    bench: Workbench, words: PublishedModel
) -> None:
    ids = submitted(bench, words, "no fever", "rest rest fever")
    found = looking(bench, *ids)
    bench.score_model(words)
    for job_id in ids:
        texts = [each.text for each in found[job_id] if each.state is JobState.RUNNING]
        assert len(set(texts)) > 3
        assert all(later.startswith(text) for text, later in itertools.pairwise(texts))
        assert str(text_of(bench, job_id)).startswith(texts[-1])
        assert progress(bench, job_id).text == "", "it has ended"
    [*payloads] = bench.rows("SELECT payload FROM job_partial_text")
    assert all(b"fever" not in row.payload for row in payloads)
    swept(bench)
    assert kept(bench) == []


@pytest.mark.usefixtures("shows_at_once")
def test_what_a_lost_attempt_had_written_is_gone_and_the_next_one_begins_again(
    bench: Workbench, words: PublishedModel
) -> None:
    [job_id] = submitted(bench, words, "no fever")

    def dies(_: Mapping[str, Array]) -> None:
        if progress(bench, job_id).text:
            raise KeyboardInterrupt

    bench.graph.script = dies
    with pytest.raises(KeyboardInterrupt):
        bench.score_model(words)
    held = Lease(job_id, progress(bench, job_id).fence)
    assert progress(bench, job_id).text
    bench.lapse(job_id)
    with bench.database.transaction() as work:
        sweeps.rescue(work, max_crashes=3)
    assert progress(bench, job_id).text == ""
    found = looking(bench, job_id)[job_id]
    bench.score_model(words)
    first, *_, last = found
    assert (first.text, first.fence, last.fence) == ("", held.fence + 1, held.fence + 1)
    assert last.text
    bench.graph.script = None
    with bench.database.statement() as work:
        partial_texts.write(work, [(held, b"late")])
    assert bench.rows("SELECT fence FROM job_partial_text") == [(held.fence + 1,)]


@pytest.mark.usefixtures("shows_at_once")
def test_a_sweep_leaves_the_texts_of_running_jobs(bench: Workbench, words: PublishedModel) -> None:
    [job_id] = submitted(bench, words, "no fever")
    left = list[list[UUID]]()

    def sweeps_each_time(_: Mapping[str, Array]) -> None:
        swept(bench)
        left.append(kept(bench))

    bench.graph.script = sweeps_each_time
    bench.score_model(words)
    assert left[-1] == [job_id]


@pytest.mark.usefixtures("shows_at_once")
def test_a_text_is_written_to_its_end_though_no_part_of_it_can_be_stored(
    bench: Workbench, words: PublishedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(partial_texts, "write", unavailable)
    [job_id] = scored(bench, words, "no fever")
    assert bench.outcomes([job_id]) == ["succeeded"]
    assert kept(bench) == []


@pytest.mark.usefixtures("shows_at_once")
def test_reading_a_text_is_recorded_once_and_another_tenant_reads_none(
    bench: Workbench, words: PublishedModel
) -> None:
    [job_id] = submitted(bench, words, "no fever")
    stranger = factories.principal(bench.database, bench.keyring, tenant="stranger")

    def reads(_: Mapping[str, Array]) -> None:
        recorded = "text.read" in bench.actions(job_id)
        progress(bench, job_id, recorded=recorded)
        with pytest.raises(JobNotFound), bench.database.statement() as work:
            partial_texts.read(work, stranger, job_id, recorded=False)

    bench.graph.script = reads
    bench.score_model(words)
    assert bench.actions(job_id).count("text.read") == 1
