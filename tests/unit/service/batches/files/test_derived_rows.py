"""Batches of any pipeline: rows become inputs one by one, results become columns, in every format alike."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines import Pipeline, load_pipeline
from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat, Layout
from service.batches.files.outputs import OutputFormat, results_schema
from service.batches.files.problems import FileProblem
from tests.unit.models.example_bundles import manifest
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    PixelGraph,
    chunk_scorer,
    csv_file,
    file_of,
    image,
    loaded_graph,
    ndjson_file,
    parquet_file,
    pipeline,
    plan_of,
    problem,
    scored,
    told,
    zip_file,
)
from tests.unit.service.batches.files.example_triage import AT_CHECK, ENDS, SumGraph, Triage

ROWS = [
    {"id": "a", "note": "chest pain", "age": 60, "weight": 70.5, "urgent": True},
    {"id": "b", "note": "cough", "age": 3, "weight": None, "urgent": False},
    {"id": "c", "note": 'Größe "1", 中文', "age": 41, "weight": 80, "urgent": None},
]
RESULTS = [
    {"row": 1, "id": "a", "words": ["chest", "pain"], "length": 10, "score_value": 70.0, "score_high": True, "advice": "come"},
    {"row": 2, "id": "b", "words": ["cough"], "length": 5, "score_value": 8.0, "score_high": False, "advice": "wait"},
    {"row": 3, "id": "c", "words": ["Größe", '"1",', "中文"], "length": 13, "score_value": 54.0, "score_high": True,
     "advice": None},
]  # fmt: skip
TABLES = (BatchFormat.CSV, BatchFormat.NDJSON, BatchFormat.PARQUET)


class Plain:
    """A pipeline without the columns of its own: what is derived must say the same."""

    def __init__(self, inner: Any) -> None:
        self.binary, self.parts, self.graphs = inner.binary, inner.parts, inner.graphs
        self.input_schema, self.result_schema = inner.input_schema, inner.result_schema
        self.options_schema, self.labels = inner.options_schema, inner.labels
        self.encode, self.decode, self.check_options = inner.encode, inner.decode, inner.check_options
        self.open, self.score = inner.open, inner.score


def triaged(content: bytes, form: BatchFormat, **options: Any) -> Any:
    return scored(content, form, model=Triage(), graph=options.pop("graph", SumGraph()), **options)


@pytest.mark.parametrize("form", TABLES)
def test_the_same_rows_give_the_same_results_in_every_format(form: BatchFormat) -> None:
    assert triaged(file_of(form, ROWS), form, id_column="id").lines() == RESULTS


def test_a_line_may_nest_its_input_beside_its_id() -> None:
    lines = [{"custom_id": row["id"], "input": {k: v for k, v in row.items() if k != "id"}} for row in ROWS]
    found = triaged(ndjson_file(lines), BatchFormat.NDJSON).lines()
    assert found == [{("custom_id" if k == "id" else k): v for k, v in line.items()} for line in RESULTS]


@pytest.mark.parametrize("output", OutputFormat)
def test_lists_are_json_in_every_form_of_output(output: OutputFormat) -> None:
    found = triaged(ndjson_file(ROWS), BatchFormat.NDJSON, id_column="id", output=output).lines()
    words = [line["words"] for line in found]
    assert [each if isinstance(each, list) else json.loads(each) for each in words] == [
        r["words"] for r in RESULTS
    ]
    assert [str(line["length"]) for line in found] == ["10", "5", "13"]


def test_a_file_of_parquet_tells_that_a_column_is_json() -> None:
    run = triaged(ndjson_file(ROWS), BatchFormat.NDJSON, output=OutputFormat.PARQUET)
    content = b"".join(run.joined().read())
    assert pq.read_schema(io.BytesIO(content)).field("words").type == pa.json_()


@pytest.mark.parametrize("form", TABLES)
def test_each_row_is_refused_as_a_job_would_be(form: BatchFormat) -> None:
    rows = [{**ROWS[0], "age": None}, ROWS[1], {**ROWS[2], "note": None}]
    run = triaged(file_of(form, rows), form, id_column="id")
    assert told(run) == [
        (1, "age", "missing_field", "age is missing."),
        (3, "note", "missing_field", "note is missing."),
    ]
    assert [line["row"] for line in run.lines()] == [2]


def test_cells_of_csv_that_are_no_value_of_their_kind_are_refused_and_never_guessed() -> None:
    rows = [
        {"note": "x", "age": cell, "weight": weight, "urgent": urgent}
        for cell, weight, urgent in [
            ("12", "1", "TRUE"), ("12.0", "1e1", "0"), ("12.5", "", ""), ("NA", "x", "yes"), ("9" * 400, "", ""),
        ]
    ]  # fmt: skip
    run = triaged(csv_file(rows), BatchFormat.CSV)
    assert [(row, column, code) for row, column, code, _ in told(run)] == [
        (3, "age", "wrong_type"), (4, "age", "wrong_type"), (4, "weight", "wrong_type"), (4, "urgent", "wrong_type"),
        (5, None, "model_failed"),
    ]  # fmt: skip
    assert [(line["row"], line["advice"]) for line in run.lines()] == [(1, "come"), (2, "wait")]


def test_missing_numbers_and_decimal_commas_are_as_declared() -> None:
    content = csv_file(
        [{"note": "x", "age": "NA", "weight": "1,5"}, {"note": "x", "age": "7", "weight": "NA"}],
        delimiter=";",
    )
    run = triaged(content, BatchFormat.CSV, missing=("NA",), decimal=",")
    assert told(run) == [(1, "age", "missing_field", "age is missing.")]
    assert [line["score_value"] for line in run.lines()] == [8.0]


def test_a_line_without_any_field_lacks_its_fields_and_no_input() -> None:
    run = triaged(ndjson_file([ROWS[0], {"id": "b"}]), BatchFormat.NDJSON, id_column="id")
    assert [(row, column, code) for row, column, code, _ in told(run)] == [
        (2, "note", "missing_field"),
        (2, "age", "missing_field"),
    ]


def test_what_is_wrong_with_lines_is_told_line_by_line() -> None:
    good = {"custom_id": "1", "input": {"note": "x", "age": 1}}
    lines = [
        good,
        {"custom_id": "2"},
        {"custom_id": "3", "input": [1]},
        {**good, "custom_id": "4", "stray": 1},
    ]
    content = (
        ndjson_file(lines) + b'{"custom_id": "5", "input": {"note": "a", "note": "b", "age": 1}}\n[]\nnull\n'
    )
    assert [(row, column, code) for row, column, code, _ in told(triaged(content, BatchFormat.NDJSON))] == [
        (2, None, "missing_field"), (3, None, "not_an_object"), (4, "stray", "unknown_field"), (5, None, "invalid_json"),
        (6, None, "not_an_object"), (7, None, "invalid_json"),
    ]  # fmt: skip


def test_a_row_that_fails_costs_itself_alone() -> None:
    notes = ["x", "nan", "x", "bug", "picture", "endless", "x"]
    rows = [{"note": note, "age": 99 if row == 2 else 5} for row, note in enumerate(notes)]
    run = triaged(ndjson_file(rows), BatchFormat.NDJSON)
    assert [(row, code) for row, _, code, _ in told(run)] == [
        (2, "prediction_invalid"), (3, "model_failed"), (4, "model_failed"), (5, "artifacts_not_kept"),
        (6, "prediction_invalid"),
    ]  # fmt: skip
    assert [line["row"] for line in run.lines()] == [1, 7]


@pytest.mark.parametrize("note", [*ENDS, *(f"{AT_CHECK}{note}" for note in ENDS)])
def test_a_row_that_would_end_the_process_costs_itself_alone(note: str) -> None:
    rows = [{"note": each, "age": 5} for each in ("x", note, "x", "x")]
    run = triaged(ndjson_file(rows), BatchFormat.NDJSON)
    assert [(row, code) for row, _, code, _ in told(run)] == [(2, "model_failed")]
    assert [line["row"] for line in run.lines()] == [1, 3, 4]


def test_a_micro_batch_is_halved_when_memory_runs_out_and_stays_so() -> None:
    graph = SumGraph(most=5)
    rows = [{"note": "x", "age": 1}] * 40
    assert len(triaged(ndjson_file(rows), BatchFormat.NDJSON, graph=graph, batch_limit=16).lines()) == 40
    assert graph.sizes == [16, 8, 4, 4, 8, 4, 4, *[4] * 6]


def test_every_row_gets_the_options_of_the_batch() -> None:
    rows = ndjson_file([{"note": "x", "age": 1}] * 3)
    found = triaged(rows, BatchFormat.NDJSON, model_options={"add": 7}).lines()
    assert [line["score_value"] for line in found] == [9.0, 9.0, 9.0]


def test_a_misspelt_column_is_refused_as_for_numbers() -> None:
    content = csv_file([{"note": "x", "age": 1, "Wheight": 3}])
    assert problem(content, BatchFormat.CSV, model=Triage()) is FileProblem.COLUMN_UNKNOWN
    assert problem(csv_file([{"note": "x"}]), BatchFormat.CSV, model=Triage()) is FileProblem.COLUMN_MISSING


def test_a_carried_column_may_not_be_named_as_one_of_the_results() -> None:
    content = csv_file([{"note": "x", "age": 1, "score_high": 3}])
    assert (
        problem(content, BatchFormat.CSV, model=Triage(), carry=("score_high",)) is FileProblem.COLUMN_TAKEN
    )
    assert plan_of(content, BatchFormat.CSV, model=Triage(), carry=()).rows == 1


def test_a_column_of_parquet_that_holds_another_kind_is_refused() -> None:
    content = parquet_file([{"note": 1, "age": 1}])
    assert problem(content, BatchFormat.PARQUET, model=Triage()) is FileProblem.COLUMN_UNSUPPORTED
    words = pa.array([b"\xff", b"ok"], pa.binary()).cast(pa.binary())
    sink = io.BytesIO()
    text = pa.StringArray.from_buffers(2, words.buffers()[1], words.buffers()[2])
    pq.write_table(pa.table({"note": text, "age": pa.array([1, 2])}), sink)
    assert [(row, column) for row, column, *_ in told(triaged(sink.getvalue(), BatchFormat.PARQUET))] == [
        (1, "note"), (1, "note"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", [BatchFormat.ZIP, BatchFormat.TAR])
def test_a_model_of_rows_takes_no_archive(form: BatchFormat) -> None:
    assert problem(b"", form, model=Triage()) is FileProblem.WRONG_FORMAT


class Nested(Triage):
    """Its input fits into no cell."""

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        return {"type": "object", "properties": {"visits": {"type": "array"}}}


class Free(Triage):
    """Its input is a text alone."""

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        return {"type": "string"}

    def encode(self, value: object) -> bytes:
        return super().encode({"note": value, "age": 1})


@pytest.mark.parametrize("model", [Nested(), Free()])
@pytest.mark.parametrize("form", [BatchFormat.CSV, BatchFormat.PARQUET])
def test_an_input_that_fits_into_no_cells_needs_ndjson(model: Pipeline, form: BatchFormat) -> None:
    assert problem(b"visits\n1\n", form, model=model) is FileProblem.WRONG_FORMAT


def test_an_input_that_is_no_object_stands_beside_its_id() -> None:
    lines = [
        {"custom_id": "1", "input": "a b"},
        {"custom_id": "2", "input": 5},
        {"custom_id": "3", "text": "a"},
    ]
    run = scored(ndjson_file(lines), BatchFormat.NDJSON, model=Free(), graph=SumGraph())
    assert [line["words"] for line in run.lines()] == [["a", "b"]]
    assert [(row, code) for row, _, code, _ in told(run)] == [(2, "wrong_type"), (3, "missing_field")]


def test_a_line_too_large_is_an_error_of_its_row() -> None:
    content = ndjson_file(
        [{"note": "x", "age": 1}, {"note": "x" * 3_000_000, "age": 1}, {"note": "x", "age": 1}]
    )
    run = triaged(content, BatchFormat.NDJSON)
    assert [(row, code) for row, _, code, _ in told(run)] == [(2, "row_too_large")]
    assert [line["row"] for line in run.lines()] == [1, 3]


def test_the_layout_of_such_a_batch_comes_back_as_it_was() -> None:
    for model in (Triage(), Free(), pipeline()):
        layout = plan_of(ndjson_file([{"custom_id": 1, "input": 1}]), BatchFormat.NDJSON, model=model).layout
        assert Layout.from_json(json.loads(json.dumps(layout.as_json()))) == layout


NUMBERS = st.one_of(st.floats(-5, 60), st.integers(-5, 130), st.sampled_from([1e300, 0]))
CELLS = st.one_of(st.none(), NUMBERS)


@pytest.mark.parametrize("form", TABLES)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"dose": CELLS, "age": CELLS, "marker": CELLS | st.floats(-1, 1)}),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_derived_says_what_the_columns_of_numbers_say(
    form: BatchFormat, rows: list[dict[str, Any]]
) -> None:
    if form is BatchFormat.PARQUET:
        rows = [{name: None if cell is None else float(cell) for name, cell in row.items()} for row in rows]
        content = parquet_file(rows, schema=pa.schema([(name, pa.float64()) for name in rows[0]]))
    else:
        content = file_of(form, rows)
    fast, derived = (columns_and_rows(model, content, form) for model in (pipeline(), Plain(pipeline())))
    assert derived == fast


@pytest.mark.parametrize("output", OutputFormat)
def test_columns_of_classes_are_named_alike_however_they_are_made(output: OutputFormat) -> None:
    content = csv_file([{"dose": 10, "age": 40, "marker": 0.5}, {"dose": 50, "age": 90, "marker": -1}])
    fast, derived = (
        columns_and_rows(model, content, BatchFormat.CSV, output=output)
        for model in (pipeline(), Plain(pipeline()))
    )
    assert derived == fast
    assert fast[0] == [
        *("row", "label", "display", "code_system", "code", "probability_well", "probability_ill"),
        *("threshold", "abstained", "abstain_reason", "missing"),
    ]


@pytest.mark.parametrize("columns", [True, False])
def test_a_batch_that_an_earlier_release_planned_keeps_its_columns(columns: bool) -> None:
    model: Any = pipeline() if columns else Plain(pipeline())
    content = csv_file([{"dose": 10, "age": 40, "marker": ""}])
    plan = plan_of(content, BatchFormat.CSV, model=model)
    earlier = tuple(name for name in plan.layout.wanted.taken if name != "missing")
    wanted = replace(plan.layout.wanted, taken=() if columns else earlier)
    layout = replace(plan.layout, wanted=wanted)
    assert "missing" in results_schema(plan.layout, model).names
    assert "missing" not in results_schema(layout, model).names
    [chunk] = plan.chunks
    scorer = chunk_scorer(model, loaded_graph(), 64, {})
    blocks = reader_of(MemorySource(content).open(), layout, model).read(chunk)
    found = scorer.score(chunk, blocks, layout, OutputFormat.CSV)
    assert len(next(csv.reader([bytes(found.results).decode()]))) == len(results_schema(layout, model).names)


def test_what_is_derived_says_what_the_columns_of_files_say() -> None:
    model = load_pipeline(manifest("image-classification"))
    files = [image(number) for number in range(10)]
    files[4], files[6] = b"no image", files[6][:40]
    content = zip_file([(f"{number}.png", file) for number, file in enumerate(files)])
    fast, derived = (
        columns_and_rows(each, content, BatchFormat.ZIP, graph=PixelGraph(), batch_limit=4)
        for each in (model, Plain(model))
    )
    assert derived == fast


def columns_and_rows(
    model: Any, content: bytes, form: BatchFormat, graph: Any = None, **options: Any
) -> tuple[list[str], list[dict[str, Any]], list[Any]]:
    """The columns of results in order, the results, and the errors."""
    run = scored(content, form, model=model, graph=graph or loaded_graph(), **options)
    results = run.lines()
    return list(results[0]) if results else [], results, told(run)


def line_of(megabytes: float) -> bytes:
    """A recording of 1000 samples a second in a line of that size."""
    samples = b"0, 50, 9, " * int(megabytes * 100_000)
    return b'{"lead": "II", "sampling_rate": 1000, "gain": 200, "samples": [' + samples + b"0]}\n"


def test_a_line_that_may_hold_a_list_may_have_eight_mebibytes() -> None:
    model = load_pipeline(manifest("beat-classification"))
    content = line_of(3) + line_of(9) + line_of(1)
    plan = plan_of(content, BatchFormat.NDJSON, model=model)
    assert [chunk.place.oversized for chunk in plan.chunks] == [False, True, False]  # type: ignore[union-attr]  # of NDJSON


def test_long_lines_are_read_in_blocks_of_bounded_size() -> None:
    model = load_pipeline(manifest("beat-classification"))
    content = line_of(0.5) + line_of(0.5) + line_of(8) + line_of(0.5)
    plan = plan_of(content, BatchFormat.NDJSON, model=model)
    [chunk] = plan.chunks
    blocks = reader_of(MemorySource(content).open(), plan.layout, model).read(chunk)
    assert [(block.first_row, block.count) for block in blocks] == [(1, 2), (3, 1), (4, 1)]
