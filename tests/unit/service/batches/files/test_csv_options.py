"""What stands for a missing number and the decimal mark are declared, never guessed; what is no text is told by its kind."""

import bz2
import gzip
import lzma
from typing import Any

import pyarrow as pa
import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    csv_file,
    file_of,
    good_rows,
    parquet_file,
    refusal,
    scored,
    told,
    zip_file,
)

CSV, NDJSON = BatchFormat.CSV, BatchFormat.NDJSON


def markers(*cells: str, **options: Any) -> list[tuple[int, str | None, str, str]]:
    """Errors of rows with these cells in the optional column."""
    rows = [{"dose": 1, "age": 2, "marker": cell} for cell in cells]
    return told(scored(csv_file(rows), CSV, **options))


@pytest.mark.parametrize("bad", [[], ["x"]])  # with a cell that is no number, texts are judged one by one
def test_declared_markers_are_missing_numbers(bad: list[str]) -> None:
    errors = markers("0.5", "NA", "n/a", " NA ", "", *bad, missing=("NA", "n/a"))
    assert [(row, code) for row, _, code, _ in errors] == [(6, "wrong_type")] * len(bad)


def test_a_declared_marker_scores_as_an_empty_cell_does() -> None:
    def results(cell: str) -> list[Any]:
        content = csv_file([{"dose": 1, "age": 2, "marker": each} for each in (cell, "0.25")])
        return scored(content, CSV, missing=("NA",)).lines()

    assert results("NA") == results("")
    assert results("NA")[0] != results("0.9")[0]


def test_a_marker_of_a_required_number_is_missing_too() -> None:
    content = csv_file([{"dose": "NA", "age": 2}, {"dose": 1, "age": 2}])
    assert [error[:3] for error in told(scored(content, CSV, missing=("NA",)))] == [
        (1, "dose", "missing_field")
    ]


@pytest.mark.parametrize(
    "cell", ["NA", "n/a", "N.A.", "#N/A", "null", "None", "-", "?", ".", "\\N", "missing", "k.A.", "<NA>"]
)
def test_an_undeclared_marker_is_an_error_with_a_hint(cell: str) -> None:
    ((row, column, code, message),) = markers("0.5", cell)
    assert (row, column, code) == (2, "marker", "wrong_type")
    assert "declare it: `missing` in the request" in message


@pytest.mark.parametrize("bad", [[], ["x"]])  # with a cell that is no number, texts are judged one by one
@pytest.mark.parametrize("cell", ["NaN", "nan", "NAN", " NaN "])
def test_nan_that_is_not_declared_is_an_error_with_a_hint(cell: str, bad: list[str]) -> None:
    (row, column, code, message), *_ = markers("0.5", cell, *bad)
    assert (row, column, code) == (2, "marker", "not_finite")
    assert "declare it: `missing` in the request" in message
    assert markers("0.5", cell, missing=(cell.strip(),)) == []


def test_an_infinity_is_no_marker() -> None:
    ((_, _, code, message),) = markers("0.5", "inf")
    assert code == "not_finite"
    assert "declare" not in message


def test_markers_are_none_of_texts_to_carry() -> None:
    content = csv_file([{"dose": 1, "age": 2, "k": "NA"}])
    assert scored(content, CSV, id_column="k", missing=("NA",)).lines()[0]["k"] == "NA"


@pytest.mark.parametrize("bad", [[], ["x"]])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_declared_comma_is_the_decimal_mark(delimiter: str, bad: list[str]) -> None:
    cells = ["0,5", "-0,25", ",5", "1", "0,5e0", *bad]
    rows = [{"dose": "1,5", "age": 2, "marker": cell} for cell in cells]
    run = scored(csv_file(rows, delimiter=delimiter), CSV, decimal=",")
    assert [error[:3] for error in told(run)] == [(6, "marker", "wrong_type")] * len(bad)
    points = [{**row, "dose": "1.5", "marker": str(row["marker"]).replace(",", ".")} for row in rows]
    assert run.lines() == scored(csv_file(points), CSV).lines()


def test_a_point_among_declared_commas_is_an_error_with_a_hint() -> None:
    ((_, _, code, message),) = markers("0.5", decimal=",")
    assert code == "wrong_type"
    assert "`decimal`" in message


@pytest.mark.parametrize("cell", ["0,5", "-0,25", ",5", "+3,", "1,5e-3"])
def test_a_comma_that_is_not_declared_is_an_error_with_a_hint(cell: str) -> None:
    ((row, _, code, message),) = markers("0.5", cell)
    assert (row, code) == (2, "wrong_type")
    assert "`decimal`" in message


@pytest.mark.parametrize("cell", ["abc", "1,2,3", "a,5", "1,b", ",", "1.5,2"])
def test_a_cell_that_looks_like_nothing_has_no_hint(cell: str) -> None:
    ((_, _, _, message),) = markers(cell)
    assert "declare" not in message


CONTENT = csv_file(good_rows(50))
PACKED = {
    "gzip": gzip.compress(CONTENT),
    "bzip2": bz2.compress(CONTENT),
    "empty bzip2": bz2.compress(b""),
    "xz": lzma.compress(CONTENT),
    "Zstandard": pa.compress(CONTENT, codec="zstd", asbytes=True),
    "Zstandard behind a skippable frame": b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    + pa.compress(CONTENT, codec="zstd", asbytes=True),
    "LZ4": pa.compress(CONTENT, codec="lz4", asbytes=True),
}


@pytest.mark.parametrize("form", [CSV, NDJSON])
@pytest.mark.parametrize("name", PACKED)
def test_a_compressed_text_is_told_to_be_unpacked(name: str, form: BatchFormat) -> None:
    refused = refusal(PACKED[name], form)
    assert refused.problem is FileProblem.WRONG_FORMAT
    assert "unpack" in refused.detail


@pytest.mark.parametrize("form", [CSV, NDJSON])
@pytest.mark.parametrize(
    "content",
    [
        zip_file([("a.csv", CONTENT)]),
        parquet_file(good_rows(3)),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    ],
    ids=["zip", "parquet", "workbook"],
)
def test_what_is_binary_is_told_by_its_kind(content: bytes, form: BatchFormat) -> None:
    assert refusal(content, form).problem is FileProblem.WRONG_FORMAT


@pytest.mark.parametrize("form", [CSV, NDJSON])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be", "utf-32"])
def test_wide_texts_are_not_utf8_with_a_mark_or_without(encoding: str, form: BatchFormat) -> None:
    content = file_of(form, good_rows(5)).decode().encode(encoding)
    refused = refusal(content, form)
    assert refused.problem is FileProblem.NOT_UTF8
    assert "UTF-8" in refused.detail


@pytest.mark.parametrize("begin", ["BZh9 is a name", "PARIS", "Rar", "ORCHARD", "ARROW", "7z"])
def test_a_text_that_begins_like_something_else_is_a_text(begin: str) -> None:
    assert scored(csv_file([{begin: "x", "dose": 1, "age": 2}]), CSV, carry=(begin,)).lines()[0][begin] == "x"


def test_zero_bytes_within_cells_make_no_wide_text() -> None:
    rows = [{"note": "x" + "\0" * 9, "dose": 1, "age": 2}] * 50
    assert len(scored(csv_file(rows), CSV).lines()) == 50
