"""CSV of results: what was written is what any reader of RFC 4180 reads, and no spreadsheet runs it."""

import csv
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.csv_lines import csv_header, csv_records, csv_rows
from service.batches.files.joins import LineCount
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.files.parts import PartKind
from service.batches.files.plans import Limits
from tests.unit.service.batches.files.example_batches import csv_file, good_rows, scored

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def cells(*texts: str) -> list[str]:
    batch = pa.record_batch({"row": pa.array(range(len(texts))), "k": pa.array(texts, pa.string())})
    return [line[1] for line in read(csv_records(batch))]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20))
def test_every_text_comes_back_but_for_formulas(rows: list[tuple[str, str]]) -> None:
    batch = pa.record_batch(
        {
            "row": pa.array(range(len(rows))),
            "a": pa.array([one for one, _ in rows], pa.string()),
            "b": pa.array([other for _, other in rows]).dictionary_encode(),
        }
    )
    content = csv_records(batch)
    found = [(one.removeprefix("'"), other.removeprefix("'")) for _, one, other in read(content)]
    assert found == [(one.removeprefix("'"), other.removeprefix("'")) for one, other in rows]
    assert csv_rows(pa.BufferReader(content)).column(0).to_pylist() == list(range(len(rows)))


@given(st.lists(TEXTS, min_size=1, max_size=8), st.integers(1, 9))
def test_records_are_counted_however_they_are_cut(texts: list[str], size: int) -> None:
    content = csv_records(pa.record_batch({"row": pa.array(range(len(texts))), "k": pa.array(texts)}))
    lines = LineCount(quoted=True)
    for start in range(0, len(content), size):
        lines.add(content[start : start + size])
    assert lines.count == len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "=cmd|' /C calc'!A0", "@SUM(1)", "+cmd", "-cmd|x", "\t=1", "\r=1", "  =1", "\uff1d1", "-1+cmd()",
        '=HYPERLINK("x")',
    ],
)  # fmt: skip
def test_a_formula_is_made_a_text(text: str) -> None:
    assert cells(text) == [f"'{text}"]


@pytest.mark.parametrize(
    "text", ["-5", "+49 30 1234-5", "-1.5e-7", "a=b", "", "x\r\ny", 'a "b", c', "007", "1,5", "é"]
)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert cells(text, text) == [text, text]


def test_numbers_nulls_and_names_are_written_plainly() -> None:
    batch = pa.record_batch(
        {
            "row": pa.array([1, 2]),
            "p": pa.array([-0.5, float("nan")]),
            "ok": pa.array([True, None]),
            "=a,b": pa.array([None, "x"]),
        }
    )
    assert csv_header(batch.schema) + csv_records(batch) == (
        b'row,p,ok,"\'=a,b"\r\n1,-0.5,true,\r\n2,NaN,,x\r\n'
    )


def test_a_batch_in_csv_has_the_rows_of_one_in_ndjson() -> None:
    rows = good_rows(60)
    rows[7]["dose"], rows[42]["age"], rows[50]["id"] = 1e9, None, "r3"
    rows[9]["id"] = 'two\nlines, and "more"'
    content = csv_file(rows)
    runs = {
        form: scored(content, BatchFormat.CSV, Limits(rows=9), output=form, id_column="id")
        for form in (OutputFormat.CSV, OutputFormat.NDJSON)
    }
    for kind in (PartKind.RESULTS, PartKind.ERRORS):
        lines = runs[OutputFormat.NDJSON].lines(kind)
        written = [
            {
                name: "" if cell is None else cell if isinstance(cell, str) else json.dumps(cell)
                for name, cell in line.items()
            }
            for line in lines
        ]
        found = [{**line, "row": str(line["row"])} for line in runs[OutputFormat.CSV].lines(kind)]
        assert found == written
        assert list(found[0]) == list(written[0])  # in the same order
        assert runs[OutputFormat.CSV].joined(kind).digest()[1] == len(lines)
