"""Cells as people write them: codes and markers that the manifest or the batch declares are read as what they mean."""

import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.pipelines import InputRejected, Pipeline, load_pipeline
from service.batches.files import checking
from service.batches.files.layouts import BatchFormat
from tests.unit.models.example_bundles import FEATURES, manifest
from tests.unit.models.test_written_values import SEX, SMOKER
from tests.unit.service.batches.files.example_batches import blocks_of, csv_file, ndjson_file, plan_of

DOSE, AGE = ({**feature, "required": False} for feature in FEATURES)
STAGE = {
    "name": "stage", "title": "Stage", "type": "category", "values": ["I", "II"], "required": False, "missing": "",
}  # fmt: skip
MODEL = load_pipeline(manifest(features=[DOSE, SEX, SMOKER, STAGE], missing=["?"]))
ROW = {"dose": 1.5, "sex": "female", "smoker": True, "stage": "II"}


def read(content: bytes, form: BatchFormat, model: Pipeline = MODEL, **options: Any) -> list[Any]:
    """What a batch would store of each row, or the codes of its faults."""
    found: list[Any] = []
    for block in blocks_of(content, plan_of(content, form, model=model, **options), model=model):
        for value in block.values:
            try:
                found.append(model.decode(model.encode(value)))
            except InputRejected as rejected:
                found.append([str(fault.code) for fault in rejected.faults])
    return found


@pytest.mark.parametrize(("sex", "smoker"), [("0", "1"), (" 0 ", "yes"), ("0.0", "1.0"), ("W", "true")])
def test_declared_codes_are_read_in_csv(sex: str, smoker: str) -> None:
    content = csv_file([{**ROW, "sex": sex, "smoker": smoker}])
    assert read(content, BatchFormat.CSV) == [ROW]


@pytest.mark.parametrize(("sex", "smoker"), [("2", "1"), ("f", "1"), ("0", "ja"), ("00", "1"), ("0.5", "1")])
def test_other_cells_are_refused_and_never_guessed(sex: str, smoker: str) -> None:
    [faults] = read(csv_file([{**ROW, "sex": sex, "smoker": smoker}]), BatchFormat.CSV)
    assert isinstance(faults, list)


def test_a_marker_of_the_manifest_is_a_missing_value_in_every_column() -> None:
    rows = [{**ROW, "dose": "?", "stage": "?"}, {**ROW, "sex": "?"}, {**ROW, "smoker": "?"}]
    assert read(csv_file(rows), BatchFormat.CSV) == [
        {**ROW, "dose": None, "stage": None}, ["missing_field"], ["missing_field"],
    ]  # fmt: skip


def test_a_marker_of_the_batch_is_one_beside_those_of_the_manifest() -> None:
    rows = [{**ROW, "dose": "NA", "stage": "NA"}, {**ROW, "dose": "?", "stage": "?"}, {**ROW, "stage": ""}]
    nothing = {**ROW, "dose": None, "stage": None}
    assert read(csv_file(rows), BatchFormat.CSV, missing=("NA",)) == [
        nothing,
        nothing,
        {**ROW, "stage": None},
    ]
    assert read(csv_file(rows), BatchFormat.CSV)[0] == ["wrong_type", "not_allowed"]


def test_a_marker_of_a_table_of_numbers_is_a_missing_number() -> None:
    numbers = load_pipeline(manifest(features=[DOSE, AGE], missing=["?"]))
    content = csv_file([{"dose": "?", "age": 3}])
    [block] = blocks_of(content, plan_of(content, BatchFormat.CSV, model=numbers), model=numbers)
    assert [column.missing is not None and bool(column.missing[0]) for column in block.numbers] == [
        True,
        False,
    ]


def test_a_padded_file_with_a_decimal_comma_is_read() -> None:
    content = b"dose  ; sex ; smoker ; stage\r\n1,5   ;   0 ;      1 ;II\r\n"
    assert read(content, BatchFormat.CSV, decimal=",") == [ROW]


def test_lines_of_json_hold_codes_as_a_jobs_input_does() -> None:
    content = ndjson_file([{**ROW, "sex": 0, "smoker": "1"}, {**ROW, "stage": "?"}])
    assert read(content, BatchFormat.NDJSON) == [ROW, ["not_allowed"]]


@pytest.mark.parametrize(
    ("sex", "smoker"),
    [
        (pa.array([0, 2]), pa.array([1, 1])),
        (pa.array([0.0, 2.0]), pa.array([True, True])),
        (pa.array(["W", "x"]), pa.array(["yes", "yes"], pa.large_string())),
        (pa.array([Decimal(0), Decimal(2)]), pa.array([1, 1], pa.int8())),
        (pa.array(["W", "x"]).dictionary_encode(), pa.array([True, True])),
    ],
)
def test_declared_codes_are_read_in_parquet_of_any_type(sex: pa.Array, smoker: pa.Array) -> None:
    sink = io.BytesIO()
    table = {"dose": [1.5, 1.5], "sex": sex, "smoker": smoker, "stage": ["II", "II"]}
    pq.write_table(pa.table(table), sink)
    first, second = read(sink.getvalue(), BatchFormat.PARQUET)
    assert first == ROW
    assert second in (["wrong_type"], ["not_allowed"])


def refusals(content: bytes, form: BatchFormat, **options: Any) -> list[str]:
    """What is said of the refused rows of a batch."""
    plan = plan_of(content, form, model=MODEL, **options)
    [block] = blocks_of(content, plan, model=MODEL)
    found = checking.checked(MODEL, block, plan.chunks[0], None, lambda: None)
    return [found.faults.kinds[kind].detail for kind in found.faults.faults]


@pytest.mark.parametrize("cell", ["n/a", "NaN", "<NA>"])
@pytest.mark.parametrize("field", ["dose", "smoker", "stage"])
def test_an_undeclared_marker_is_refused_with_a_hint(field: str, cell: str) -> None:
    [words] = refusals(csv_file([{**ROW, field: cell}]), BatchFormat.CSV)
    assert words.endswith("declare it: `missing` in the request, `--missing` in the command.")


def test_another_decimal_mark_is_refused_with_a_hint() -> None:
    [words] = refusals(csv_file([{**ROW, "dose": "1,5"}], delimiter=";"), BatchFormat.CSV)
    assert words.endswith("declare it: `decimal` in the request, `--decimal ,` in the command.")
    [words] = refusals(csv_file([{**ROW, "dose": "1.5"}], delimiter=";"), BatchFormat.CSV, decimal=",")
    assert words.endswith("leave `decimal` out if it is a point.")


@pytest.mark.parametrize("cell", ["7.861", "-1.000.000", "7.861,5"])
def test_points_that_may_separate_thousands_are_not_taken_for_the_decimal_mark(cell: str) -> None:
    [words] = refusals(csv_file([{**ROW, "dose": cell}], delimiter=";"), BatchFormat.CSV, decimal=",")
    assert (
        "If its point separates thousands, take it out of the file: 7.861 would be read as less than 8"
        in words
    )


@pytest.mark.parametrize("cell", ["7,861", "1,000,000", "7,861.5"])
def test_commas_that_may_separate_thousands_are_not_taken_for_the_decimal_mark(cell: str) -> None:
    [words] = refusals(csv_file([{**ROW, "dose": cell}], delimiter=";"), BatchFormat.CSV)
    assert "If its comma separates thousands, take it out of the file" in words


def test_values_that_are_no_cells_and_other_words_have_no_hint() -> None:
    [words] = refusals(ndjson_file([{**ROW, "dose": "1.5"}]), BatchFormat.NDJSON)
    assert "declare" not in words
    [words] = refusals(csv_file([{**ROW, "dose": "much"}]), BatchFormat.CSV)
    assert "declare" not in words
