"""The first answer to a submit tells the columns of a table, as the validation finds them afterwards."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.batches.files.columns import Columns
from service.batches.files.formats import wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.preview import LOOKED_AT_BYTES, previewed
from tests.unit.service.batches.files.example_batches import pipeline, plan_of

WANTED = wanted_of(pipeline(), id_column="case")
CSV = BatchFormat.CSV
HEADERS = [
    b"dose,age,case,ward\n1,2,a,x\n",
    b"\xef\xbb\xbfcase;ward;age;dose\r\na;x;2;1\r\n",
    b"\n\nward\tcase\tdose\tage\tdose units\nx\ta\t1\t2\tmg\n",
    b'case| "ward" |age|dose\na|x|2|1\n',
    b'"dose ",  age ,case,"ward\nor bed"\n1,2,a,x\n',
    b"dose,age,case,ward",
]


class Raw(io.RawIOBase):
    """A file that gives a few bytes at a time, as stores do."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(min(7, size) if size > 0 else 7)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._content.seek(offset, whence)


@pytest.mark.parametrize("content", HEADERS[:4])
def test_the_columns_are_those_that_the_validation_finds(content: bytes) -> None:
    found = previewed(Raw(content), WANTED, CSV)
    assert found is not None
    assert found == plan_of(content, BatchFormat.CSV, id_column="case").columns


def test_a_quoted_header_may_hold_a_line_end() -> None:
    assert previewed(Raw(HEADERS[4]), WANTED, CSV) == Columns(("dose", "age"), ("ward\nor bed",), ("marker",))


def test_a_header_without_rows_is_read() -> None:
    assert previewed(Raw(HEADERS[5]), WANTED, CSV) == Columns(("dose", "age"), ("ward",), ("marker",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"a,b,c\n1,2,3\n",
        "dose,age,Größe\n".encode("latin-1"),
        b"PK\x03\x04dose,age\x00\n",
        b'"dose,age\n1,2\n',
    ],
)
def test_what_does_not_tell_its_columns_is_left_to_the_validation(content: bytes) -> None:
    assert previewed(Raw(content), WANTED, CSV) is None


def test_a_header_that_goes_on_behind_what_is_looked_at_is_left_to_the_validation() -> None:
    content = b"dose,age," + b"x" * LOOKED_AT_BYTES + b",case\n1,2,3,a\n"
    assert previewed(Raw(content), WANTED, CSV) is None


LINES = [
    b'{"case": "a", "dose": 1}\n{"case": "b", "dose": 1, "age": 3}\n',
    b'\xef\xbb\xbf{"custom_id": "a", "input": {"dose": 1, "marker": 2}}\n',
    b'{"case": "a", "dose": 1, "age": 2, "ward": "x"}',
]


@pytest.mark.parametrize("content", LINES)
def test_the_keys_of_lines_are_those_that_the_validation_finds(content: bytes) -> None:
    options: dict[str, Any] = {"ignore": ("ward",)} | ({} if b"custom" in content else {"id_column": "case"})
    found = previewed(Raw(content), wanted_of(pipeline(), **options), BatchFormat.NDJSON)
    assert found is not None
    assert found == plan_of(content, BatchFormat.NDJSON, **options).columns


def test_a_line_that_goes_on_behind_what_is_looked_at_tells_nothing() -> None:
    padded = b'{"dose": 1, "remark": "' + b"x" * LOOKED_AT_BYTES + b'"}\n'
    assert previewed(Raw(padded), WANTED, BatchFormat.NDJSON) is None
    found = previewed(Raw(b'{"age": 1}\n' + padded), WANTED, BatchFormat.NDJSON)
    assert found == Columns(("age",), (), ("dose", "marker"))


@pytest.mark.parametrize("content", [b"", b"dose,age\n1,2\n", b"[1]\n", b"PAR1"])
def test_what_is_no_object_is_left_to_the_validation(content: bytes) -> None:
    assert previewed(Raw(content), WANTED, BatchFormat.NDJSON) is None


def parquet(**columns: list[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


PARQUET = parquet(
    case=["a"], stay=[{"ward": "x", "bed": {"marker": 1}}], dose=[1.0], notes=[["x"]], age=[2.0]
)


def test_the_columns_of_a_footer_are_those_that_the_validation_finds() -> None:
    found = previewed(Raw(PARQUET), WANTED, BatchFormat.PARQUET)
    assert found == Columns(("dose", "age"), ("stay", "notes"), ("marker",))
    assert found == plan_of(PARQUET, BatchFormat.PARQUET, id_column="case").columns


@pytest.mark.parametrize("content", [b"", b"PAR1", PARQUET[:-9], b"PAR1" + bytes(40) + b"PAR1"])
def test_a_footer_that_cannot_be_read_is_left_to_the_validation(content: bytes) -> None:
    assert previewed(Raw(content), WANTED, BatchFormat.PARQUET) is None


def test_a_footer_that_is_long_to_read_is_left_to_the_validation() -> None:
    wide = parquet(**{f"column_{number}": [1.0] for number in range(2000)})
    assert previewed(Raw(wide), WANTED, BatchFormat.PARQUET) is None
