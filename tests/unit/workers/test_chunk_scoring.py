"""A chunk is scored like single jobs, and its bytes depend on its rows alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.manifest import parse_parameters
from models.pipelines import InputRejected, PredictionInvalid
from models.pipelines.image_classification import ImageClassification, ImageParameters
from service.batches.files.accounting import proven
from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.files.parts import PartKind
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem, FileRefused
from tests.fakes import ScriptedGraph
from tests.unit.models.example_bundles import manifest
from tests.unit.service.batches.files.example_batches import (
    TABLES,
    MemorySource,
    PixelGraph,
    file_of,
    good_rows,
    image,
    loaded_graph,
    parquet_file,
    pipeline,
    plan_of,
    scored,
    told,
    zip_file,
)
from workers.batches.chunk_scoring import ChunkScorer
from workers.jobs.problems import MODEL_FAILED
from workers.runtime import OutOfMemory, RunFailed


@pytest.mark.parametrize("output", OutputFormat)
@pytest.mark.parametrize("form", TABLES)
def test_any_order_and_repetition_of_chunks_gives_the_same_bytes(
    form: BatchFormat, output: OutputFormat
) -> None:
    rows = good_rows(100)
    rows[7]["dose"], rows[42]["age"], rows[77]["id"] = 1e9, None, "r3"
    content, limits = file_of(form, rows), Limits(rows=9, size_bytes=10**6)
    runs = [
        scored(content, form, limits, output=output, order=order, id_column="id")
        for order in (None, [*range(11, -1, -1)], [5, 5, *range(12), 0, 11, 5])
    ]
    for kind in (PartKind.RESULTS, PartKind.ERRORS):
        first, *others = (b"".join(run.joined(kind).read()) for run in runs)
        assert len(first) > 100
        assert all(other == first for other in others)


@pytest.mark.parametrize("output", OutputFormat)
def test_what_a_dictionary_of_the_file_holds_does_not_show_in_the_output(output: OutputFormat) -> None:
    schema = pa.schema(
        [("side", pa.dictionary(pa.int8(), pa.string())), ("dose", pa.float64()), ("age", pa.float64())]
    )
    rows = [{"side": f"s{number // 10}", "dose": 1, "age": 2} for number in range(60)]
    content, limits = parquet_file(rows, schema=schema, group=30), Limits(rows=7)
    forward, backward = (
        scored(content, BatchFormat.PARQUET, limits, output=output, order=order, carry=("side",))
        for order in (None, range(9, -1, -1))
    )
    assert b"".join(forward.joined().read()) == b"".join(backward.joined().read())
    assert [line["side"] for line in forward.lines()] == [row["side"] for row in rows]


@pytest.mark.parametrize("form", TABLES)
def test_formats_and_chunk_sizes_give_the_same_lines(form: BatchFormat) -> None:
    rows = good_rows(60)
    rows[7]["dose"], rows[42]["age"], rows[50]["id"] = 1e9, None, "r3"
    reference = scored(file_of(BatchFormat.PARQUET, rows), BatchFormat.PARQUET, id_column="id")
    for size in (1, 7, 1000):
        run = scored(file_of(form, rows), form, Limits(rows=size), id_column="id")
        assert told(run) == told(reference)
        for mine, other in zip(run.lines(), reference.lines(), strict=True):
            assert mine.pop("missing") == other["missing"]
            assert mine == pytest.approx({name: other[name] for name in mine}, abs=1e-6)


def test_rows_are_accounted_for() -> None:
    rows = good_rows(50)
    rows[3]["dose"], rows[4]["age"], rows[4]["dose"] = -1, None, None
    run = scored(file_of(BatchFormat.PARQUET, rows), BatchFormat.PARQUET, Limits(rows=8))
    account = proven(run.plan.rows, [chunk.rows for chunk in run.plan.chunks], list(run.accounts.values()))
    assert (account.rows, account.succeeded, account.failed, account.error_lines) == (50, 48, 2, 3)


def test_a_duplicate_id_is_an_error_of_the_later_rows_across_chunks() -> None:
    rows = good_rows(20)
    rows[11]["id"] = rows[19]["id"] = "r2"
    run = scored(file_of(BatchFormat.CSV, rows), BatchFormat.CSV, Limits(rows=4), id_column="id")
    assert [fault[:3] for fault in told(run)] == [(12, "id", "duplicate_id"), (20, "id", "duplicate_id")]
    assert [line["row"] for line in run.lines()] == [row for row in range(1, 21) if row not in (12, 20)]


def test_errors_name_the_id_of_their_row() -> None:
    rows = good_rows(4)
    rows[2]["dose"] = 99
    run = scored(file_of(BatchFormat.PARQUET, rows), BatchFormat.PARQUET, id_column="id")
    [line] = run.lines(PartKind.ERRORS)
    assert list(line) == ["row", "id", "column", "code", "message"]
    assert (line["row"], line["id"], line["column"], line["code"]) == (3, "r2", "dose", "out_of_range")


def test_a_micro_batch_has_at_most_as_many_rows_as_the_limit() -> None:
    graph = ScriptedGraph(loaded_graph())
    scored(file_of(BatchFormat.PARQUET, good_rows(100)), BatchFormat.PARQUET, graph=graph, batch_limit=30)
    assert graph.batch_sizes == [30, 30, 30, 10]


def scorer_over(graph: ScriptedGraph, between: Callable[[], None] = lambda: None) -> ChunkScorer:
    return ChunkScorer(pipeline(), graph, batch_limit=16, between=between)


def test_more_urgent_work_is_asked_for_before_each_run() -> None:
    content = file_of(BatchFormat.PARQUET, good_rows(40))
    plan, asked = plan_of(content, BatchFormat.PARQUET), []
    graph = ScriptedGraph(loaded_graph())
    scorer = scorer_over(graph, lambda: asked.append(len(graph.batch_sizes)))
    reader = reader_of(MemorySource(content).open(), plan.layout, pipeline())
    scorer.score(plan.chunks[0], reader.read(plan.chunks[0]), plan.layout, OutputFormat.NDJSON)
    assert asked == [0, 1, 2]


class Watched(ImageClassification):
    """Notes each file that it decodes."""

    decoded = 0

    def preprocess_files(self, contents: Sequence[bytes]) -> list[dict[str, Any] | InputRejected]:
        """Count, and decode."""
        self.decoded += 1
        return super().preprocess_files(contents)


def test_more_urgent_work_is_asked_for_before_each_file() -> None:
    model, asked = Watched(parse_parameters(ImageParameters, manifest("image-classification"))), []
    content = zip_file([(f"{number}.png", image(number)) for number in range(3)])
    plan = plan_of(content, BatchFormat.ZIP, model=model)
    scorer = ChunkScorer(model, PixelGraph(), batch_limit=4, between=lambda: asked.append(model.decoded))
    reader = reader_of(MemorySource(content).open(), plan.layout, model)
    model.decoded = 0
    scorer.score(plan.chunks[0], reader.read(plan.chunks[0]), plan.layout, OutputFormat.NDJSON)
    assert asked == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "code"),
    [(RunFailed("x"), "model_failed"), (PredictionInvalid((0,), "x"), "prediction_invalid")],
)
def test_a_row_that_the_graph_fails_on_fails_alone(fault: Exception, code: str) -> None:
    def poison(feeds: Any) -> None:
        """Fail where a dose is 13."""
        if (feeds["features"][:, 0] == 13).any():
            raise fault

    rows = good_rows(40)
    rows[21]["dose"] = 13
    graph = ScriptedGraph(loaded_graph(), script=poison)
    run = scored(file_of(BatchFormat.PARQUET, rows), BatchFormat.PARQUET, graph=graph)
    failed = [row for row, *_ in told(run)]
    assert failed == [number for number, row in enumerate(rows, 1) if row["dose"] == 13]
    assert {line[2] for line in told(run)} == {code}
    assert len(run.lines()) == 40 - len(failed)


def test_out_of_memory_halves_the_batch_and_remembers() -> None:
    graph = ScriptedGraph(loaded_graph(), {20: OutOfMemory()})
    run = scored(
        file_of(BatchFormat.PARQUET, good_rows(100)), BatchFormat.PARQUET, graph=graph, batch_limit=32
    )
    assert len(run.lines()) == 100
    assert sum(size >= 20 for size in graph.batch_sizes) <= 4


def test_a_prediction_that_is_none_fails_its_row_alone() -> None:
    class Broken(ScriptedGraph):
        def run(self, feeds: Any, graph: str = "model") -> Any:
            outputs = super().run(feeds, graph)
            outputs["probability"][feeds["features"][:, 1] == 5] = np.nan
            return outputs

    run = scored(
        file_of(BatchFormat.PARQUET, good_rows(30)), BatchFormat.PARQUET, graph=Broken(loaded_graph())
    )
    assert [fault[::2] for fault in told(run)] == [(6, "prediction_invalid")]
    assert len(run.lines()) == 29


def test_a_reader_that_loses_a_row_is_noticed() -> None:
    content = file_of(BatchFormat.PARQUET, good_rows(10))
    plan = plan_of(content, BatchFormat.PARQUET)
    chunk = plan.chunks[0]
    blocks = list(reader_of(MemorySource(content).open(), plan.layout, pipeline()).read(chunk))
    for wrong in ([], [*blocks, *blocks]):
        with pytest.raises(FileRefused) as caught:
            scorer_over(ScriptedGraph(loaded_graph())).score(chunk, wrong, plan.layout, OutputFormat.NDJSON)
        assert caught.value.problem is FileProblem.MISCOUNTED


class Brittle(ImageClassification):
    """A pipeline with a mistake: it falls over one file."""

    def preprocess_files(self, contents: Sequence[bytes]) -> list[dict[str, Any] | InputRejected]:
        """Fail on the file that is no image."""
        if b"no image" in contents:
            raise ZeroDivisionError
        return super().preprocess_files(contents)


def test_a_file_that_a_pipeline_falls_over_fails_alone() -> None:
    table = manifest("image-classification")
    model = Brittle(parse_parameters(ImageParameters, table))
    content = zip_file([("a.png", image()), ("b.png", b"no image")])
    run = scored(content, BatchFormat.ZIP, model=model, graph=PixelGraph())
    assert [fault[::2] for fault in told(run)] == [(2, MODEL_FAILED.code)]
    assert told(run)[0][3] == MODEL_FAILED.detail
    assert [line["file"] for line in run.lines()] == ["a.png"]


def test_a_row_too_large_for_memory_leaves_the_batch_as_it_was() -> None:
    def greedy(feeds: Any) -> None:
        if (feeds["features"][:, 0] == 13).any():
            raise OutOfMemory

    rows = good_rows(64)
    for row in rows:
        row["dose"] = 13 if row["id"] == "r5" else 1
    graph = ScriptedGraph(loaded_graph(), script=greedy)
    content = parquet_file([*rows, *({**row, "dose": 1} for row in rows)], group=64)
    run = scored(content, BatchFormat.PARQUET, Limits(rows=64), graph=graph, batch_limit=64)
    assert [fault[::2] for fault in told(run)] == [(6, "out_of_memory")]
    assert graph.batch_sizes[-1] == 64
