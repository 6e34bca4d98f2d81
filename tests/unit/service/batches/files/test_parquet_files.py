"""What a Parquet file is refused for, by its ends and its footer, and how its row groups become chunks."""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.batches.files.formats.parquet import MOST_ROWS, SCANNED_BYTES
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem
from service.batches.files.thrift import I32, Struct, read_struct, written_struct
from tests.unit.service.batches.files.example_batches import (
    good_rows,
    parquet_file,
    plan_of,
    refusal,
    scored,
)

PARQUET = BatchFormat.PARQUET
LZO, GZIP = 3, 2
NUM_ROWS, ROW_GROUPS, COLUMNS, META_DATA, CODEC = 3, 4, 1, 3, 4


def footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def with_footer(content: bytes, change: Callable[[Struct], None]) -> bytes:
    """The file with another footer."""
    start = footer_start(content)
    footer = read_struct(content[start:-8])
    change(footer)
    written = written_struct(footer)
    return content[:start] + written + len(written).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("content", "problem", "detail"),
    [
        (b"PA", FileProblem.WRONG_FORMAT, "not Parquet"),
        (b"PAR2" + bytes(20) + b"PAR1", FileProblem.WRONG_FORMAT, "not Parquet"),
        (b"PAR1", FileProblem.UNREADABLE, "cut short"),
        (b"PAR1PAR1", FileProblem.UNREADABLE, "cut short"),
        (b"PAR1" + bytes(3) + b"PAR1", FileProblem.UNREADABLE, "cut short"),
        (b"PAR1" + bytes(20), FileProblem.UNREADABLE, "cut short"),
        (b"PAR1" + bytes(4) + b"PAR1", FileProblem.UNREADABLE, "cannot be decoded"),
        (b"PAR1" + b"\1\0\0\0" + b"PAR1", FileProblem.UNREADABLE, "footer is damaged or too large"),
        (b"PAR1\0" + b"\1\0\0\0" + b"PAR1", FileProblem.UNREADABLE, "cannot be decoded"),
        (b"PAR1" + bytes(20) + b"PARE", FileProblem.UNREADABLE, "encrypted"),
        (b"PARE" + bytes(20) + b"PARE", FileProblem.UNREADABLE, "encrypted"),
        (b"PARE" + bytes(20) + b"PAR1", FileProblem.UNREADABLE, "encrypted"),
    ],
)
def test_what_is_no_whole_parquet_file_is_refused_by_what_it_is(
    content: bytes, problem: FileProblem, detail: str
) -> None:
    refused = refusal(content, PARQUET)
    assert refused.problem is problem
    assert detail in refused.detail


@pytest.mark.parametrize(
    "before", [0, 1, 4, SCANNED_BYTES - 8, SCANNED_BYTES - 7, SCANNED_BYTES - 1, SCANNED_BYTES]
)
def test_the_end_of_another_file_is_found_wherever_it_stands_before_the_footer(before: int) -> None:
    content = parquet_file(good_rows(3))
    start = footer_start(content)

    def with_gap(gap: bytes) -> bytes:
        return content[:start] + gap + content[start:]

    refused = refusal(with_gap(b"x" * before + b"PAR1PAR1" + b"x" * 10), PARQUET)
    assert "Several Parquet files were joined" in refused.detail
    assert plan_of(with_gap(b"x" * before + b"PAR1" + b"x" * 10 + b"PAR1"), PARQUET).rows == 3


def test_a_joined_file_whose_last_part_has_no_rows_is_found() -> None:
    empty = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(good_rows(2)).slice(0, 0), empty)
    refused = refusal(parquet_file(good_rows(3)) + empty.getvalue(), PARQUET)
    assert "Several Parquet files were joined" in refused.detail


@pytest.mark.parametrize(
    ("rows", "problem", "detail"),
    [
        (19, FileProblem.MISCOUNTED, "count different rows"),
        (21, FileProblem.MISCOUNTED, "count different rows"),
        (MOST_ROWS, FileProblem.MISCOUNTED, "count different rows"),
        (MOST_ROWS + 1, FileProblem.TOO_LARGE, "10,000,000,000 rows"),
    ],
)
def test_a_footer_that_miscounts_its_rows_is_refused(rows: int, problem: FileProblem, detail: str) -> None:
    def miscount(footer: Struct) -> None:
        footer[NUM_ROWS] = (footer[NUM_ROWS][0], rows)

    content = parquet_file(good_rows(20), group=10)
    assert plan_of(with_footer(content, lambda _: None), PARQUET).rows == 20
    refused = refusal(with_footer(content, miscount), PARQUET)
    assert refused.problem is problem
    assert detail in refused.detail


def test_row_groups_of_less_than_no_rows_are_refused() -> None:
    def shift(footer: Struct) -> None:
        for group, rows in zip(footer[ROW_GROUPS][1][1], (-10, 30), strict=True):
            group[3] = (group[3][0], rows)

    refused = refusal(with_footer(parquet_file(good_rows(20), group=10), shift), PARQUET)
    assert refused.problem is FileProblem.MISCOUNTED


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (9, [5] * 20),
        (10, [10] * 10),
        (19, [10] * 10),
        (20, [20] * 5),
        (30, [30, 30, 30, 10]),
        (100, [100]),
        (4, [3, 3, 4] * 10),
    ],
)
def test_a_chunk_holds_whole_row_groups_where_one_fits(rows: int, expected: list[int]) -> None:
    plan = plan_of(parquet_file(good_rows(100), group=10), PARQUET, Limits(rows=rows))
    assert [chunk.rows for chunk in plan.chunks] == expected


@pytest.mark.parametrize(("share", "rows"), [(1.0, 100), (0.999, 50), (0.5, 50), (0.105, 10), (0.0, 1)])
def test_a_chunk_holds_as_many_rows_of_average_width_as_fit(share: float, rows: int) -> None:
    content = parquet_file(good_rows(100), group=100)
    width = pq.read_metadata(io.BytesIO(content)).row_group(0).total_byte_size
    plan = plan_of(content, PARQUET, Limits(size_bytes=max(1, int(share * width))))
    assert max(chunk.rows for chunk in plan.chunks) == rows


def packed(codecs: dict[str, int]) -> bytes:
    """A file that says of its columns that they are compressed so."""

    def change(footer: Struct) -> None:
        for column in footer[ROW_GROUPS][1][1][0][COLUMNS][1][1]:
            table = column[META_DATA][1]
            [name] = table[3][1][1]
            if name.decode() in codecs:
                table[CODEC] = (I32, codecs[name.decode()])

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(good_rows(5)), sink, compression="gzip", use_dictionary=False)
    return with_footer(sink.getvalue(), change)


def test_a_column_that_is_not_read_may_be_compressed_in_any_way() -> None:
    assert plan_of(packed({"marker": GZIP, "id": LZO}), PARQUET).rows == 5
    refused = refusal(packed({"id": LZO}), PARQUET, carry=("id",))
    assert refused.problem is FileProblem.COLUMN_UNSUPPORTED
    assert "The column id is encrypted or compressed" in refused.detail


def test_a_field_and_a_carried_column_may_be_the_same() -> None:
    run = scored(parquet_file(good_rows(4)), PARQUET, carry=("age", "marker"))
    assert [(line["age"], line["marker"]) for line in run.lines()] == [
        (row["age"], row["marker"]) for row in good_rows(4)
    ]
