"""The first answer to a submit tells the columns of a CSV by its first line, as the validation finds them afterwards."""

import io

import pytest

from service.batches.files.columns import Columns
from service.batches.files.formats import wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.preview import LOOKED_AT_BYTES, previewed
from tests.unit.service.batches.files.example_batches import pipeline, plan_of

WANTED = wanted_of(pipeline(), id_column="case")
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


@pytest.mark.parametrize("content", HEADERS[:4])
def test_the_columns_are_those_that_the_validation_finds(content: bytes) -> None:
    found = previewed(Raw(content), WANTED)
    assert found is not None
    assert found == plan_of(content, BatchFormat.CSV, id_column="case").columns


def test_a_quoted_header_may_hold_a_line_end() -> None:
    assert previewed(Raw(HEADERS[4]), WANTED) == Columns(("dose", "age"), ("ward\nor bed",), ("marker",))


def test_a_header_without_rows_is_read() -> None:
    assert previewed(Raw(HEADERS[5]), WANTED) == Columns(("dose", "age"), ("ward",), ("marker",))


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
    assert previewed(Raw(content), WANTED) is None


def test_a_header_that_goes_on_behind_what_is_looked_at_is_left_to_the_validation() -> None:
    content = b"dose,age," + b"x" * LOOKED_AT_BYTES + b",case\n1,2,3,a\n"
    assert previewed(Raw(content), WANTED) is None
