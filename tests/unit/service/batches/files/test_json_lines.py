"""Lines of JSON made column by column read back as the rows they were made of."""

import json
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.json_lines import json_lines

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.one_of(st.none(), st.text(max_size=8)),
            'qu"o\\te\n': st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            "number": st.one_of(st.none(), st.floats()),
            "flag": st.one_of(st.none(), st.booleans()),
            "word": st.one_of(st.none(), st.sampled_from(["a", 'b"', ""])),
            "other": st.one_of(st.none(), st.sampled_from(["c", "d"])),
        }
    ),
    min_size=1,
    max_size=12,
)
TYPES = {
    "text": pa.string(),
    'qu"o\\te\n': pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "word": pa.dictionary(pa.int8(), pa.string()),
    "other": pa.dictionary(pa.int32(), pa.string()),
}


def as_json(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@given(rows=ROWS, same=st.booleans())
def test_lines_read_back_as_their_rows(rows: list[dict[str, Any]], same: bool) -> None:
    rows = rows[:1] * 5 if same else rows
    columns = [pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()]
    lines = json_lines(pa.RecordBatch.from_arrays(columns, list(TYPES))).split(b"\n")
    assert lines.pop() == b""
    found = [json.loads(line) for line in lines]
    assert found == [{name: as_json(value) for name, value in row.items()} for row in rows]
    assert all(list(line) == list(TYPES) for line in found)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (Decimal("1.50"), pa.decimal128(5, 2), "1.50"),
        (date(2026, 11, 25), pa.date32(), "2026-11-25"),
        (datetime(2026, 11, 25, 1, 2, 3), pa.timestamp("s"), "2026-11-25 01:02:03"),  # noqa: DTZ001 - a file may hold one
        (0.1, pa.float32(), 0.1),
        (2**64 - 1, pa.uint64(), 2**64 - 1),
    ],
)
def test_other_types_are_written_without_loss(value: Any, kind: pa.DataType, expected: Any) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([value, None], kind)], ["x"])
    assert [json.loads(line) for line in json_lines(batch).splitlines()] == [{"x": expected}, {"x": None}]


def test_a_column_of_many_words_is_written() -> None:
    words = [f"w{number}" for number in range(9000)]
    batch = pa.RecordBatch.from_arrays([pa.array(words).dictionary_encode(), pa.array(words)], ["a", "b"])
    assert [json.loads(line)["a"] for line in json_lines(batch).splitlines()] == words
