"""Batches seen to their end by a worker's lane: files in, accounted output out, whatever happens on the way."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models.pipelines import Case
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.output import OutputKind
from service.crypto import Keyring, sha256_hex
from service.db import Database
from service.lifecycle import BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore, ScriptedGraph, busy_and_waiting
from tests.integration import shifts
from tests.integration.shifts import CASES, FIELDS, Shift, csv_of, ndjson_of, rows_of

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


def test_a_batch_goes_from_its_file_to_accounted_output(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.run(source)
    view = shift.nights.view(batch_id)
    assert (view.state, view.rows_total, view.rows_succeeded, view.rows_failed, view.chunks_total) == (
        *(BatchState.COMPLETED, 200, 195, 5, 4),
    )
    results = shift.lines(batch_id)
    assert [line["row"] for line in results] == [row for row in range(1, 201) if row not in BAD]
    assert [line["id"] for line in results] == [f"case-{line['row']}" for line in results]
    errors = shift.lines(batch_id, OutputKind.ERRORS)
    assert [(line["row"], line["id"], line["column"]) for line in errors] == [
        (row, f"case-{row}", FIELDS[0]) for row in BAD
    ]
    assert {line["code"] for line in errors} == {"out_of_range"}
    assert all(line["message"] for line in errors)


def test_results_are_those_of_single_jobs(shift: Shift, source: str) -> None:
    loaded = shift.services.pool.get(shift.nights.model.id)
    stored = [Case(shift.nights.model.encode(case)) for case in CASES]
    wanted = loaded.scoring.score(loaded.graphs.run, stored)
    for line in shift.lines(shift.run(source)):
        result: Any = wanted[line["row"] % len(CASES)].result
        assert line["label"] == result["label"]
        for label, probability in result["probabilities"].items():
            assert line[f"probability_{label}"] == pytest.approx(probability, abs=1e-6)


def test_the_trail_states_the_hashes_of_what_went_in_and_came_out(shift: Shift, source: str) -> None:
    batch_id = shift.run(source)
    assert shift.nights.detail(batch_id, "batch.completed") == {
        "counts": {"total": 200, "succeeded": 195, "failed": 5, "remaining": 0},
        "source_sha256": sha256_hex(csv_of(rows_of(200, BAD))),
        "results_sha256": sha256_hex(shift.content(batch_id)),
        "errors_sha256": sha256_hex(shift.content(batch_id, OutputKind.ERRORS)),
    }


def test_parquet_out_is_one_readable_file(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.run(source, output=OutputFormat.PARQUET)
    table = pq.read_table(io.BytesIO(shift.content(batch_id)))
    assert table.column("row").to_pylist() == [row for row in range(1, 201) if row not in BAD]
    errors = pq.read_table(io.BytesIO(shift.content(batch_id, OutputKind.ERRORS)))
    assert errors.column("row").to_pylist() == list(BAD)


def test_csv_out_is_one_file_with_a_header_whose_failed_rows_can_be_run_again(
    shift: Shift, source: str
) -> None:
    shift.chunks_of(64)
    batch_id = shift.run(source, output=OutputFormat.CSV, place=str(shift.folder / "out"))
    results, errors = (
        list(csv.DictReader(io.StringIO(shift.content(batch_id, kind).decode(), newline="")))
        for kind in (OutputKind.RESULTS, OutputKind.ERRORS)
    )
    assert [int(line["row"]) for line in results] == [row for row in range(1, 201) if row not in BAD]
    assert list(results[0])[:3] == ["row", "id", "label"]
    assert [(int(line["row"]), line["id"]) for line in errors] == [(row, f"case-{row}") for row in BAD]
    assert (shift.folder / "out" / f"{batch_id}.results.csv").read_bytes() == shift.content(batch_id)
    again = shift.nights.rerun(batch_id).id
    shift.work()
    assert shift.nights.view(again).rows_failed == len(BAD)
    none = shift.run(shift.file("good.csv", csv_of(rows_of(3))), output=OutputFormat.CSV)
    assert shift.content(none, OutputKind.ERRORS) == b"row,id,column,code,message\r\n"


@pytest.mark.parametrize("form", OutputFormat)
def test_the_same_file_gives_the_same_bytes(shift: Shift, source: str, form: OutputFormat) -> None:
    shift.chunks_of(64)
    first, second = (shift.run(source, output=form) for _ in range(2))
    for kind in OutputKind:
        assert shift.content(first, kind) == shift.content(second, kind)


def test_nothing_of_a_batch_lies_in_the_clear(shift: Shift, source: str) -> None:
    batch_id = shift.run(source)
    sealed = b"".join(shift.blobs.blobs.values())
    assert b"case-7" not in sealed
    assert f"batches/{shift.nights.caller.tenant_id}/{batch_id}/" in "".join(shift.blobs.blobs)
    for table in ("batch", "batch_chunk", "batch_step", "audit_event"):
        stored = shift.nights.rows(f"SELECT coalesce(string_agg({table}::text, ''), '') FROM {table}")[0][0]
        assert "cases.csv" not in stored
        assert "case-7" not in stored


def test_the_errors_of_a_batch_without_any_are_an_empty_file(shift: Shift) -> None:
    batch_id = shift.run(shift.file("good.csv", csv_of(rows_of(10))))
    assert shift.content(batch_id, OutputKind.ERRORS) == b""
    parquet = shift.run(shift.file("good.csv", csv_of(rows_of(10))), output=OutputFormat.PARQUET)
    table = pq.read_table(io.BytesIO(shift.content(parquet, OutputKind.ERRORS)))
    assert (table.num_rows, table.column_names) == (0, ["row", "id", "column", "code", "message"])


def test_a_batch_of_bad_rows_alone_completes_without_results(shift: Shift) -> None:
    batch_id = shift.run(shift.file("bad.csv", csv_of(rows_of(10, range(1, 11)))))
    assert shift.content(batch_id) == b""
    assert len(shift.lines(batch_id, OutputKind.ERRORS)) == 10


# Re-runs and dry runs


def test_a_rerun_scores_the_failed_rows_alone(shift: Shift) -> None:
    shift.chunks_of(64)
    uri = shift.file("cases.csv", csv_of(rows_of(200, BAD)))
    first = shift.run(uri)
    again = shift.nights.rerun(first).id
    shift.work()
    view = shift.nights.view(again)
    assert (view.state, view.rows_total, view.rows_failed, view.rerun_of) == (
        *(BatchState.COMPLETED, 5, 5, first),
    )
    assert [line["row"] for line in shift.lines(again, OutputKind.ERRORS)] == list(BAD)
    third = shift.nights.rerun(again).id
    shift.work()
    assert [line["row"] for line in shift.lines(third, OutputKind.ERRORS)] == list(BAD)


def test_a_rerun_of_a_chunk_that_was_set_aside_scores_it(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(source, output=OutputFormat.PARQUET)
    set_aside(shift, batch_id, number=1)
    shift.work()
    view = shift.nights.view(batch_id)
    assert (view.state, view.rows_succeeded, view.rows_failed) == (BatchState.COMPLETED, 132, 68)
    errors = pq.read_table(io.BytesIO(shift.content(batch_id, OutputKind.ERRORS))).to_pylist()
    assert [line["row"] for line in errors] == [3, *range(64, 129), 130, 200]
    assert {line["code"] for line in errors if 64 < line["row"] < 129} == {"worker_crashed"}
    again = shift.nights.rerun(batch_id).id
    shift.work()
    table = pq.read_table(io.BytesIO(shift.content(again)))
    assert table.column("row").to_pylist() == list(range(66, 129))


def test_a_rerun_of_a_file_that_changed_is_refused(shift: Shift, source: str) -> None:
    first = shift.run(source)
    shift.file("cases.csv", csv_of(rows_of(200, [7])))
    again = shift.nights.rerun(first).id
    shift.work()
    assert shift.code(again) == "source_changed"
    assert shift.nights.actions(again) == ["batch.opened", "batch.failed"]


@pytest.mark.parametrize(("rows", "failed"), [(70, [3, 64, 65]), (64, [3, 64]), (63, [3]), (1000, list(BAD))])
def test_a_dry_run_checks_the_first_rows_and_scores_none(
    shift: Shift, source: str, rows: int, failed: list[int]
) -> None:
    shift.chunks_of(64)
    batch_id = shift.run(source, dry_run_rows=rows)
    view, checked = shift.nights.view(batch_id), min(rows, 200)
    assert (view.state, view.rows_total, view.rows_succeeded, view.rows_failed) == (
        *(BatchState.COMPLETED, checked, checked - len(failed), len(failed)),
    )
    assert shift.content(batch_id) == b""
    assert [line["row"] for line in shift.lines(batch_id, OutputKind.ERRORS)] == failed


# Sizes and places


def test_without_experience_sizes_come_from_a_run_of_the_graph(shift: Shift, source: str) -> None:
    batch_id = shift.run(source)
    found = shift.nights.rows("SELECT chunk_rows, run_rows FROM batch WHERE id = %s", batch_id)[0]
    assert 256 <= found[0] <= 524_288
    assert 1 <= found[1] <= shift.nights.model.manifest.runtime.max_batch


def test_a_slow_model_is_measured_without_holding_jobs_up_for_long(
    shift: Shift, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.batches.sizes.RUN_S", 0.25)
    loaded = shift.services.pool.get(shift.nights.model.id)
    slow = ScriptedGraph(loaded.graphs, script=lambda feeds: busy_and_waiting(0.04 * len(feeds["features"])))
    loaded.graphs = slow
    batch_id = shift.open(source)
    shift.batch_thread.work()
    assert slow.batch_sizes == [1, 1, 2, 2, 4, 4]
    assert shift.nights.rows("SELECT run_rows FROM batch WHERE id = %s", batch_id)[0][0] == 4


@pytest.mark.parametrize(("seconds", "rows"), [(3.0, 64), (0.8, 64), (11.0, 64), (0.1, 1024), (100.0, 256)])
def test_sizes_are_kept_while_chunks_take_about_as_long_as_meant(
    shift: Shift, source: str, seconds: float, rows: int
) -> None:
    shift.chunks_of(64)
    shift.nights.rows("UPDATE batch_chunk SET seconds = %s", seconds)
    batch_id = shift.open(source)
    shift.batch_thread.work()
    assert shift.nights.rows("SELECT chunk_rows FROM batch WHERE id = %s", batch_id)[0][0] == rows


def test_a_copy_of_the_output_goes_where_the_caller_wants_it(shift: Shift, source: str) -> None:
    batch_id = shift.run(source, place=str(shift.folder / "out" / "night"))
    assert {path.name: path.read_bytes() for path in (shift.folder / "out" / "night").iterdir()} == {
        f"{batch_id}.{kind}.ndjson": shift.content(batch_id, kind) for kind in OutputKind
    }


def test_a_place_outside_of_the_roots_is_refused(shift: Shift, source: str) -> None:
    batch_id = shift.run(source, place=str(shift.folder / "elsewhere"))
    assert (shift.nights.state(batch_id), shift.code(batch_id)) == (BatchState.FAILED, "source_not_allowed")


def test_ndjson_and_parquet_in_give_what_csv_gives(shift: Shift, source: str) -> None:
    shift.chunks_of(64)
    wanted = shift.content(shift.run(source))
    uri = shift.file("cases.ndjson", ndjson_of(rows_of(200, BAD)))
    assert shift.content(shift.run(uri, BatchFormat.NDJSON)) == wanted


def set_aside(shift: Shift, batch_id: Any, number: int) -> None:
    """Let the chunk of this number kill its workers."""
    while shift.nights.state(batch_id) is BatchState.VALIDATING:
        shift.batch_thread.work()
    for _ in range(3):
        chunk = shift.nights.claim(places={batch_id: number})
        assert chunk is not None
        assert chunk.number == number
        shift.nights.lapse(chunk)
        shift.nights.rescue()
