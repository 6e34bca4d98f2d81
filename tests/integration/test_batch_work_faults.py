"""What a worker makes of files at fault, stores that are away, lost leases and stops in the middle of a batch."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service.batches import chunks, output, queries
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.files.sources import UriSource
from service.batches.output import OutputKind
from service.catalog.intake import Intake
from service.config import Provider
from service.crypto import Keyring
from service.db import Database
from service.errors import BundleUnusable, ModelUnavailable
from service.lifecycle import BatchState
from tests import factories
from tests.fakes import FakeRuntime, FakeTaskQueue, MemoryBlobStore, ScriptedGraph
from tests.hostile import files
from tests.integration import shifts
from tests.integration.shifts import FIELDS, Shift, csv_of, rows_of
from workers.batches.chunk_scoring import ChunkScorer, ScoredChunk
from workers.batches.thread import BatchThread
from workers.pool import ModelPool
from workers.runtime import OnnxRuntime, RunFailed

BAD = (3, 64, 65, 130, 200)


@pytest.fixture
def shift(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> Iterator[Shift]:
    with shifts.shift(database, blobs, keyring, queue, tmp_path) as made:
        yield made


@pytest.fixture
def source(shift: Shift) -> str:
    return shift.file("cases.csv", csv_of(rows_of(200, BAD)))


# What goes wrong


@pytest.mark.parametrize("size_bytes", [2**20, 2**13])
def test_a_file_that_is_too_costly_fails_its_batch_once_and_for_all(
    shift: Shift, source: str, size_bytes: int
) -> None:
    """Whether its child dies of it or sends too much: no attempt more, and the next batch is scored."""
    uri = shift.file("bomb.parquet", files.repeated_text(tuple(FIELDS), size_bytes))
    failed = shift.open(uri, BatchFormat.PARQUET, id_column=None, carry=("note",))
    other = shift.open(source)
    assert shift.work() < 10
    assert (shift.nights.state(failed), shift.code(failed)) == (BatchState.FAILED, "input_too_costly")
    assert shift.nights.state(other) is BatchState.COMPLETED


@pytest.mark.parametrize(
    ("content", "form", "code"),
    [
        (b"", BatchFormat.CSV, "file_empty"),
        (csv_of(rows_of(1)).splitlines()[0] + b"\n", BatchFormat.CSV, "no_rows"),
        (csv_of(rows_of(3)).replace(b",", b"\t"), BatchFormat.NDJSON, "wrong_format"),
        (b"PAR1 and no more", BatchFormat.PARQUET, "file_unreadable"),
        ("id;größe\n1;2\n".encode("utf-16"), BatchFormat.CSV, "not_utf8"),
        (b"id,other\n1,2\n", BatchFormat.CSV, "column_missing"),
    ],
)
def test_a_file_at_fault_fails_its_batch_in_validation(
    shift: Shift, content: bytes, form: BatchFormat, code: str
) -> None:
    batch_id = shift.run(shift.file("file", content), form)
    view = shift.nights.view(batch_id)
    assert (view.state, view.problem and view.problem["code"]) == (BatchState.FAILED, code)
    assert view.scheduled_at is None
    assert shift.nights.actions(batch_id) == ["batch.opened", "batch.failed"]


def test_a_source_outside_of_the_roots_is_refused(shift: Shift, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(csv_of(rows_of(3)))
    batch_id = shift.run((tmp_path / "secret.csv").as_uri())
    assert shift.code(batch_id) == "source_not_allowed"


@pytest.mark.parametrize("content", [None, csv_of(rows_of(200, [1]))])
def test_a_file_that_goes_or_changes_on_the_way_fails_the_batch(
    shift: Shift, source: str, content: bytes | None
) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source)
    assert [shift.batch_thread.work() for _ in range(2)] == [True, True]
    assert shift.nights.view(batch_id).chunks_done == 1
    if content is None:
        (shift.folder / "in" / "cases.csv").unlink()
    else:
        shift.file("cases.csv", content)
    shift.work()
    assert shift.nights.state(batch_id) is BatchState.FAILED
    assert shift.code(batch_id) == ("source_gone" if content is None else "source_changed")


def test_a_blob_store_that_is_away_costs_time_and_no_row(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source)
    shift.batch_thread.work()
    shift.blobs.away = True
    shift.work()
    assert shift.nights.state(batch_id) in {BatchState.RUNNING, BatchState.SCHEDULED}
    assert shift.nights.actions(batch_id).count("batch.chunk_put_off") == 4
    shift.blobs.away = False
    shift.make_due()
    shift.work()
    assert len(shift.lines(batch_id)) == 195


def test_a_batch_says_why_it_is_tried_again_and_when(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source)
    shift.batch_thread.work()
    assert shift.nights.view(batch_id).retrying is None
    shift.blobs.away = True
    shift.work()
    view = shift.nights.view(batch_id)
    assert view.retrying is not None
    assert (view.retrying.code, view.retrying.attempt) == ("blob_unavailable", 1)
    assert view.retrying.detail
    assert view.retrying.next_try_at > view.created_at
    shift.blobs.away = False
    shift.make_due()
    shift.work()
    done = shift.nights.view(batch_id)
    assert (done.state, done.retrying) == (BatchState.COMPLETED, None)


def test_a_batch_that_ended_is_not_tried_again(shift: Shift, source: str) -> None:
    batch_id = shift.open(source)
    shift.batch_thread.work()
    shift.blobs.away = True
    shift.work()
    assert shift.nights.view(batch_id).retrying is not None
    shift.nights.cancel(batch_id)
    assert shift.nights.view(batch_id).retrying is None


def test_a_blob_store_that_stays_away_fails_the_batch(shift: Shift, source: str) -> None:
    batch_id = shift.open(source)
    shift.batch_thread.work()
    shift.blobs.away = True
    for _ in range(shifts.MAX_ATTEMPTS):
        shift.work()
        shift.make_due()
    assert (shift.nights.state(batch_id), shift.code(batch_id)) == (BatchState.FAILED, "blob_unavailable")


def test_a_part_that_was_changed_in_the_store_is_not_published(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source)
    while shift.nights.state(batch_id) is not BatchState.FINALIZING:
        shift.batch_thread.work()
    place = next(name for name in shift.blobs.blobs if "results-000001" in name)
    shift.blobs.blobs[place] = shift.blobs.blobs[place][:-1] + b"\0"
    shift.work()
    assert (shift.nights.state(batch_id), shift.nights.view(batch_id).results) == (BatchState.FAILED, None)


def test_more_errors_than_allowed_stop_the_batch_and_what_was_scored_stays(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.run(source, error_limit=1)
    view = shift.nights.view(batch_id)
    assert (view.state, shift.code(batch_id)) == (BatchState.FAILED, "too_many_errors")
    with shift.nights.database.statement() as work:
        found = queries.finished_chunks(work, batch_id)
    file = output.partial_file_of(shift.store(batch_id), found, OutputKind.RESULTS, OutputFormat.NDJSON, None)
    assert b"".join(file.read()).count(b"\n") == view.rows_succeeded > 0


# Lost workers, stops and jobs


def test_what_a_lost_worker_scored_is_scored_once_more_and_counted_once(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    undisturbed = shift.content(shift.run(source))
    batch_id = shift.open(source)
    shift.batch_thread.work()
    lost = shift.nights.claimed()
    shift.nights.lapse(lost)
    shift.nights.rescue()
    shift.work()
    assert shift.content(batch_id) == undisturbed
    assert shift.nights.finish(lost) is None


def test_parts_of_lost_claims_are_removed_at_the_end(shift: Shift, source: str) -> None:
    batch_id = shift.open(source)
    shift.batch_thread.work()
    lost = shift.nights.claimed()
    store = shift.store(batch_id)
    left = store.write(OutputKind.RESULTS.part_kind, lost.number, lost.lease.fence, memoryview(b"x"), rows=1)
    assert left is not None
    shift.nights.lapse(lost)
    shift.nights.rescue()
    shift.work()
    assert shift.nights.state(batch_id) is BatchState.COMPLETED
    assert left.location not in shift.blobs.blobs


def test_a_stop_gives_the_chunk_back_untouched(shift: Shift, source: str) -> None:
    batch_id = shift.open(source)
    shift.batch_thread.work()
    shift.batch_thread.stop()
    assert shift.batch_thread.work()
    assert shift.nights.chunk_states(batch_id) == ["queued"]
    attempts = shift.nights.rows("SELECT attempt FROM batch_chunk WHERE batch_id = %s", batch_id)
    assert attempts == [(0,)]


def test_a_canceled_batch_is_let_go_of(shift: Shift, source: str) -> None:
    batch_id = shift.open(source)
    shift.batch_thread.work()
    real = chunks.finish

    def cancel_first(*arguments: Any, **named: Any) -> str | None:
        shift.nights.cancel(batch_id)
        return real(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.batches.chunks.finish", cancel_first)
        shift.work()
    assert shift.nights.state(batch_id) is BatchState.CANCELED
    assert shift.nights.chunk_states(batch_id) == ["skipped"]


def test_a_lease_that_is_lost_on_the_way_ends_the_work_at_once(shift: Shift, source: str) -> None:
    shift.chunks_of(64, run_rows=8)
    batch_id = shift.open(source)
    shift.batch_thread.work()
    graph = ScriptedGraph(shift.services.pool.get(shift.nights.model.id).graphs)
    (of_chunks,) = [beat for beat in shift.batch_thread._heartbeats if beat._table == "batch_chunk"]

    def lose(_: Any) -> None:
        of_chunks.lost = {UUID(int=1)}

    graph.script = lose
    shift.services.pool.get(shift.nights.model.id).graphs = graph
    assert shift.batch_thread.work()
    assert (graph.batch_sizes, shift.nights.chunk_states(batch_id)[0]) == ([8], "running")
    assert not any("results" in name for name in shift.blobs.blobs)


@pytest.mark.parametrize("miscounted", [{"succeeded": 63, "failed": 1}, {"error_lines": 5}])
def test_rows_that_do_not_add_up_are_never_reported_as_complete(
    shift: Shift, source: str, miscounted: dict[str, Any]
) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source)
    real = ChunkScorer.score

    def lying(*arguments: Any, **named: Any) -> ScoredChunk:
        found = real(*arguments, **named)
        return replace(found, **miscounted) if found.succeeded == 62 else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChunkScorer, "score", lying)
        shift.work()
    assert (shift.nights.state(batch_id), shift.code(batch_id)) == (BatchState.FAILED, "accounting_mismatch")


def test_work_goes_on_from_chunk_to_chunk_without_opening_the_file_again(shift: Shift, source: str) -> None:
    shift.chunks_of(16)
    batch_id = shift.open(source)
    shift.batch_thread.work()
    opened = []
    real = UriSource.open

    def counted(self: UriSource) -> Any:
        opened.append(self)
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UriSource, "open", counted)
        shift.work()
    assert shift.nights.state(batch_id) is BatchState.COMPLETED
    assert len(opened) == 1
    order = "SELECT number FROM batch_chunk WHERE batch_id = %s ORDER BY finished_at"
    assert [row[0] for row in shift.nights.rows(order, batch_id)] == list(range(13))


def test_a_model_that_a_worker_refuses_leaves_its_batch_to_others(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> None:
    """As on a GPU whose answers to the golden cases differ: nothing fails, nothing is tried in a circle."""
    real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(factories.bundle().model_path)
    runtime = FakeRuntime(ScriptedGraph(real, {1: RunFailed("x")}))
    with shifts.shift(database, blobs, keyring, queue, tmp_path, runtime=runtime) as worker:
        batch_id = worker.open(worker.file("cases.csv", csv_of(rows_of(20))))
        for state in (
            BatchState.SCHEDULED,
            BatchState.RUNNING,
        ):  # refused at its planning, and at its scoring
            worker.work(most=20)
            view = worker.nights.view(batch_id)
            assert (view.state, view.problem, view.chunks_done) == (state, None, 0)
            assert worker.nights.rows("SELECT DISTINCT state::text, attempt FROM batch_chunk") == [
                ("queued", 0)
            ]
            worker.services.pool.refusals.lift(worker.nights.model.id)
        runtime.graph.faults.clear()
        worker.work()
        assert worker.nights.view(batch_id).state is BatchState.COMPLETED


def test_a_worker_that_refuses_the_model_finds_no_fault_with_the_source(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> None:
    """As where a plug-in is gone: the batch is released before its source is looked for."""
    real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(factories.bundle().model_path)
    runtime = FakeRuntime(ScriptedGraph(real, {}))
    with shifts.shift(database, blobs, keyring, queue, tmp_path, runtime=runtime) as worker:
        uri = worker.file("cases.csv", csv_of(rows_of(20)))
        batch_id = worker.open(uri)
        while not worker.nights.rows("SELECT number FROM batch_chunk"):
            assert worker.batch_thread.work()
        runtime.graph.faults[1] = RunFailed("x")
        (tmp_path / "in" / "cases.csv").unlink()
        pool = ModelPool(runtime, worker.services.catalog, blobs, cache=tmp_path / "other", budget_mb=1000)
        other = BatchThread(replace(worker.services, owner="w2", pool=pool), worker.arbiter)
        while other.work():
            pass
        other.close()
        assert pool.refusals.current() == {worker.nights.model.id}
        assert worker.nights.view(batch_id).problem is None
        chunk = "SELECT state::text, attempt FROM batch_chunk"
        assert worker.nights.rows(chunk) == [("queued", 0)]


@pytest.mark.parametrize("broken", ["plug-in", "bundle"])
def test_a_model_that_breaks_once_its_batch_was_accepted_is_waited_for(
    shift: Shift, source: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As jobs wait: no attempt is used up, and the trail says it once."""

    def gone(*_: Any) -> Any:
        if broken == "plug-in":
            raise ModelUnavailable("m 1", "its package is gone")
        raise BundleUnusable("model.onnx is damaged")

    batch_id = shift.open(source)
    with monkeypatch.context() as patch:
        if broken == "plug-in":
            patch.setattr(Intake, "pipeline", gone)
        else:
            patch.setattr(ModelPool, "get", gone)
        wait_in_vain(shift, batch_id, "batch.step_put_off")
    shift.services.pool.refusals.lift(shift.nights.model.id)
    shift.make_due()
    assert shift.batch_thread.work()
    assert shift.nights.view(batch_id).retrying is None
    if broken == "bundle":
        with monkeypatch.context() as patch:
            patch.setattr(ModelPool, "get", gone)
            wait_in_vain(shift, batch_id, "batch.chunk_put_off")
    shift.make_due()
    shift.work()
    assert len(shift.lines(batch_id)) == 195


def wait_in_vain(shift: Shift, batch_id: UUID, action: str) -> None:
    """Try more often than a batch may be tried."""
    for _ in range(shifts.MAX_ATTEMPTS + 1):
        assert shift.work(most=20) == 1
        shift.make_due()
    view = shift.nights.view(batch_id)
    assert (view.problem, view.retrying and view.retrying.code) == (None, "model_unavailable")
    assert view.retrying is not None
    assert view.retrying.attempt == 0
    assert "Nothing was accepted" not in view.retrying.detail
    assert shift.nights.actions(batch_id).count(action) == 1
