"""Plans: chunks that can be gone to in any order, cut short for a trial, and stored."""

import hashlib

import numpy as np
import pytest

from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import ByteRange, Chunk, Limits, RowGroups, cut_after, narrowed
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    file_of,
    good_rows,
    parquet_file,
    pipeline,
    plan_of,
    refusal,
)


def chunks(*rows: int) -> list[Chunk]:
    """Chunks of so many rows each."""
    starts = np.cumsum([1, *rows])
    return [
        Chunk(number, int(starts[number]), count, ByteRange(100 * number, 100 * number + 100))
        for number, count in enumerate(rows)
    ]


def told(found: tuple[Chunk, ...]) -> list[tuple[int, int, list[int] | None]]:
    """Number, rows and the rows accounted for of each chunk."""
    return [
        (chunk.number, chunk.wanted, None if chunk.only is None else chunk.only.tolist()) for chunk in found
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1, [(0, 1, [1])]),
        (3, [(0, 3, [1, 2, 3])]),
        (4, [(0, 4, None)]),
        (5, [(0, 4, None), (1, 1, [5])]),
        (7, [(0, 4, None), (1, 3, None)]),
        (8, [(0, 4, None), (1, 3, None), (2, 1, [8])]),
        (100, [(0, 4, None), (1, 3, None), (2, 5, None)]),
    ],
)
def test_a_trial_accounts_for_the_first_rows_and_no_more(
    rows: int, expected: list[tuple[int, int, list[int] | None]]
) -> None:
    assert told(cut_after(chunks(4, 3, 5), rows)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([1, 4, 5, 12], [(0, 2, [1, 4]), (1, 1, [5]), (2, 1, [12])]),
        ([8, 9], [(0, 2, [8, 9])]),
        ([4, 8], [(0, 1, [4]), (1, 1, [8])]),
        ([], []),
    ],
)
def test_of_a_plan_the_chunks_with_rows_that_are_wanted_stay_and_are_numbered_anew(
    rows: list[int], expected: list[tuple[int, int, list[int] | None]]
) -> None:
    found = narrowed(chunks(4, 3, 5), np.array(rows, np.int64))
    assert told(found) == expected


def test_a_chunk_is_stored_with_all_that_is_known_of_it() -> None:
    [_, cut] = cut_after(chunks(4, 3), 5)
    for chunk in (*chunks(4, 3), cut):
        stored = Chunk.from_bytes(chunk.as_bytes())
        assert told((stored,)) == told((chunk,))
        assert (stored.first_row, stored.rows, stored.place) == (chunk.first_row, chunk.rows, chunk.place)


def test_the_rows_of_any_chunk_of_parquet_are_found_without_those_before() -> None:
    rows = good_rows(12)
    content = parquet_file(rows, group=10)
    plan = plan_of(content, BatchFormat.PARQUET, Limits(rows=4), id_column="id")
    assert [chunk.place for chunk in plan.chunks] == [
        *(RowGroups(0, 0), RowGroups(0, 3), RowGroups(0, 6)),
        RowGroups(1, 0),
    ]
    for chunk in plan.chunks:
        reader = reader_of(MemorySource(content).open(), plan.layout, pipeline())
        found = [name for block in reader.read(chunk) for name in block.carried.column("id").to_pylist()]
        assert found == [row["id"] for row in rows[chunk.first_row - 1 : chunk.first_row - 1 + chunk.rows]]


@pytest.mark.parametrize("form", [BatchFormat.CSV, BatchFormat.NDJSON, BatchFormat.PARQUET])
@pytest.mark.parametrize("count", [1, 5000])
def test_a_file_is_known_by_the_digest_of_all_its_bytes(form: BatchFormat, count: int) -> None:
    content = file_of(form, good_rows(count))
    assert plan_of(content, form).identity.sha256 == hashlib.sha256(content).hexdigest()


def test_a_header_past_the_length_of_a_row_is_refused_as_one() -> None:
    content = file_of(BatchFormat.CSV, good_rows(3))
    header = content.index(b"\n")
    assert plan_of(content, BatchFormat.CSV, Limits(row_bytes=header)).rows == 3
    refused = refusal(content, BatchFormat.CSV, limits=Limits(row_bytes=header - 1))
    assert refused.problem is FileProblem.HEADER_INVALID
    assert "too long to be a header" in refused.detail
