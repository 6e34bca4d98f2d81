"""Rows of a batch are accepted, refused and scored exactly like single jobs."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines import Array, Case, InputRejected, Pipeline, load_pipeline
from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.numbers import DECLARE_COMMA, DECLARE_MARKER
from service.batches.files.outputs import OutputFormat
from service.batches.files.plans import Limits
from tests.unit.models.example_bundles import flat, manifest
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    PixelGraph,
    file_of,
    image,
    loaded_graph,
    ndjson_file,
    parquet_file,
    pipeline,
    plan_of,
    scored,
    told,
    zip_file,
)
from workers.batches.chunk_scoring import ChunkScorer
from workers.runtime import Graph

NUMBERS = st.one_of(
    st.floats(-10, 130),
    st.integers(-10, 130),
    st.sampled_from([1e300, 10**400, 0]),
)
ANYTHING = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=3), st.just([]), st.just({"a": 1}))
GOOD = st.fixed_dictionaries(
    {"dose": st.floats(0, 50), "age": st.integers(0, 120)}, optional={"marker": st.floats(-1, 1)}
)
CASES = st.one_of(
    GOOD,
    st.fixed_dictionaries(
        {}, optional={"dose": ANYTHING, "age": ANYTHING, "marker": ANYTHING, "doses": ANYTHING}
    ),
    st.sampled_from([None, [], "x", 3]),
)


def expected(cases: list[Any]) -> tuple[list[dict[str, Any]], list[tuple[int, str | None, str, str]]]:
    """What single jobs make of the cases: results, and row, column, code and message of errors."""
    payloads, rows, wrong = [], [], []
    for row, case in enumerate(cases, 1):
        try:
            payloads.append(pipeline().encode(case))
            rows.append(row)
        except InputRejected as rejected:
            wrong += [
                (row, fault.pointer[1:] or None, str(fault.code), fault.detail) for fault in rejected.faults
            ]
    if not payloads:
        return [], wrong
    results = []
    for start in range(0, len(payloads), 64):
        some = payloads[start : start + 64]
        results += job_results(pipeline(), loaded_graph(), some)
    return [{"row": row, **flat(result)} for row, result in zip(rows, results, strict=True)], wrong


def job_results(model: Pipeline, loaded: Graph, payloads: Sequence[bytes]) -> list[dict[str, object]]:
    """The results of jobs with these stored inputs."""

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return loaded.run(feeds)

    return [answer.result for answer in model.open(Path()).score(run, [Case(each) for each in payloads])]


@given(cases=st.lists(CASES, min_size=2, max_size=40), nested=st.booleans())
def test_lines_are_accepted_refused_and_scored_like_single_jobs(cases: list[Any], nested: bool) -> None:
    # A first line that shows what kind of lines these are.
    cases = [{"dose": 1, "age": 2}, *cases]
    lines = [{"custom_id": f"c{row}", "input": case} for row, case in enumerate(cases)] if nested else cases
    cases = [None if case is None else case for case in cases]
    run = scored(ndjson_file(lines), BatchFormat.NDJSON)
    results, wrong = expected(cases)
    found = [{key: value for key, value in line.items() if key != "custom_id"} for line in run.lines()]
    assert found == results
    # What is no JSON object at all is worded for lines where it is null.
    assert [fault for fault in told(run) if fault[2] != "invalid_json"] == [
        fault for fault in wrong if nested or cases[fault[0] - 1] is not None
    ]
    assert {row for row, *_ in told(run)} == {row for row, *_ in wrong}


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"dose": st.one_of(st.none(), st.floats(-5, 60), st.sampled_from([math.nan, math.inf]))}
            | {
                "age": st.one_of(st.none(), st.integers(-5, 130)),
                "marker": st.one_of(st.none(), st.floats(-2, 2)),
            }
        ),
        min_size=1,
        max_size=40,
    ),
    size=st.integers(1, 50),
)
def test_parquet_rows_are_accepted_refused_and_scored_like_single_jobs(
    rows: list[dict[str, Any]], size: int
) -> None:
    schema = pa.schema([("dose", pa.float64()), ("age", pa.int32()), ("marker", pa.float32())])
    single = [
        {**row, "marker": None if row["marker"] is None else float(np.float32(row["marker"]))} for row in rows
    ]
    run = scored(parquet_file(rows, schema=schema), BatchFormat.PARQUET, Limits(rows=size))
    results, wrong = expected(single)
    assert told(run) == wrong
    assert [line["row"] for line in run.lines()] == [line["row"] for line in results]
    if size >= len(rows):
        assert run.lines() == results


@given(
    cells=st.lists(
        st.one_of(
            st.floats(-5, 60).map(repr),
            st.sampled_from(
                [
                    "",
                    "  ",
                    " 7 ",
                    "+3",
                    "5.",
                    ".5",
                    "1e1",
                    "nan",
                    "-inf",
                    "x",
                    "1,5",
                    "0x1",
                    "1_0",
                    "٣",
                    "--1",
                    "1e999",
                    "True",
                ]
            ),
        ),
        min_size=1,
        max_size=30,
    ),
    size=st.integers(1, 40),
)
def test_texts_of_csv_are_judged_cell_by_cell(cells: list[str], size: int) -> None:
    """Whatever else is wrong in a chunk: each cell is read as Python reads a number, or refused."""
    content = file_of(BatchFormat.CSV, [{"dose": cell, "age": 3} for cell in cells])
    run = scored(content, BatchFormat.CSV, Limits(rows=size))
    results, wrong = expected([{"dose": number(cell), "age": 3} for cell in cells])
    # Of a file alone: a job's number has no mark and no marker to declare.
    hints = [f" {hint}." for hint in (DECLARE_COMMA, DECLARE_MARKER)]
    assert [(*fault[:-1], reduce(str.removesuffix, hints, fault[-1])) for fault in told(run)] == wrong
    assert [line["row"] for line in run.lines()] == [line["row"] for line in results]


def number(cell: str) -> object:
    """A cell of CSV as JSON would have it."""
    text = cell.strip()
    try:
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text or None


def test_images_are_scored_like_single_jobs() -> None:
    model = load_pipeline(manifest("image-classification"))
    files = [image(number) for number in range(10)]
    files[4] = b"no image"
    files[6] = files[6][:40]
    content = zip_file([(f"{number}.png", file) for number, file in enumerate(files)])
    plan = plan_of(content, BatchFormat.ZIP, model=model)
    scorer = ChunkScorer(model, PixelGraph(), batch_limit=4)
    reader = reader_of(MemorySource(content).open(), plan.layout, model)
    found = scorer.score(plan.chunks[0], reader.read(plan.chunks[0]), plan.layout, OutputFormat.NDJSON)
    lines = [json.loads(line) for line in bytes(found.results).splitlines()]
    good = [file for number, file in enumerate(files) if number not in (4, 6)]
    results = job_results(model, PixelGraph(), good)
    assert [{k: v for k, v in line.items() if k not in ("row", "file")} for line in lines] == [
        flat(r) for r in results
    ]
    faults = []
    for number in (4, 6):
        with pytest.raises(InputRejected) as caught:
            model.encode(files[number])
        faults += [(number + 1, fault.code, fault.detail) for fault in caught.value.faults]
    lines_of_errors = [json.loads(line) for line in bytes(found.errors).splitlines()]
    assert [(line["row"], line["code"], line["message"]) for line in lines_of_errors] == faults
