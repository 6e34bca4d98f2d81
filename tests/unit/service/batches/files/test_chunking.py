"""Chunks of any size hold every row once, in order, in every format; the plan of a file is always the same."""

import csv
import io
import tarfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pipelines import load_pipeline
from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat, Layout
from service.batches.files.plans import Chunk, Limits, RowGroups, head_of, read_head
from service.batches.files.problems import FileRefused
from tests.unit.models.example_bundles import manifest
from tests.unit.service.batches.files.example_batches import (
    TABLES,
    MemorySource,
    blocks_of,
    csv_file,
    file_of,
    good_rows,
    image,
    parquet_file,
    pipeline,
    plan_of,
    zip_file,
)


def ids_of(content: bytes, form: BatchFormat, limits: Limits, **options: Any) -> list[tuple[int, str]]:
    """Row number and id of every row that chunks of these limits read."""
    plan = plan_of(content, form, limits, **options)
    found = [
        (block.first_row + index, str(value))
        for block in blocks_of(content, plan)
        for index, value in enumerate(block.carried.column(0).to_pylist())
    ]
    assert sum(chunk.rows for chunk in plan.chunks) == plan.rows
    return found


@given(
    form=st.sampled_from(TABLES),
    count=st.integers(1, 60),
    rows=st.integers(1, 70),
    size_bytes=st.integers(1, 4000),
)
def test_every_row_is_read_once_and_in_order(
    form: BatchFormat, count: int, rows: int, size_bytes: int
) -> None:
    expected = good_rows(count)
    limits = Limits(rows=rows, size_bytes=size_bytes)
    found = ids_of(file_of(form, expected), form, limits, id_column="id")
    assert found == [(number, row["id"]) for number, row in enumerate(expected, 1)]


@given(groups=st.lists(st.integers(0, 9), min_size=1, max_size=8), rows=st.integers(1, 12))
def test_row_groups_of_any_size_are_read_once(groups: list[int], rows: int) -> None:
    sink, expected = io.BytesIO(), good_rows(sum(groups))
    schema = pa.Table.from_pylist(good_rows(2)).schema
    with pq.ParquetWriter(sink, schema) as writer:
        start = 0
        for size in groups:
            writer.write_table(pa.Table.from_pylist(expected[start : start + size], schema))
            start += size
    if expected:
        found = ids_of(sink.getvalue(), BatchFormat.PARQUET, Limits(rows=rows), id_column="id")
        assert [name for _, name in found] == [row["id"] for row in expected]


@given(
    cells=st.lists(st.text(st.sampled_from('a"\n\r,;é '), max_size=6), min_size=1, max_size=12),
    rows=st.integers(1, 5),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_quoted_line_ends_delimiters_and_quotes_stay_within_their_row(
    cells: list[str], rows: int, line_end: str
) -> None:
    expected = [{"note": cell, "dose": 1, "age": 2} for cell in cells]
    content = csv_file(expected, line_end=line_end, quoting=csv.QUOTE_ALL)
    plan = plan_of(content, BatchFormat.CSV, Limits(rows=rows), carry=("note",), delimiter=",")
    found = [note for block in blocks_of(content, plan) for note in block.carried.column("note").to_pylist()]
    assert found == cells


PIECES = ['"', '"', ",", ",", "\n", "\r", "\r\n", "x", "1", " ", "1.5", "\ufeff"]


@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=14), rows=st.integers(1, 4))
@settings(max_examples=1000)
def test_any_text_is_split_the_same_by_chunk_and_line_by_line(pieces: list[str], rows: int) -> None:
    """Arrow's parser and ours agree on what a record and a cell is, however odd the quotes."""
    content = "dose,age,note\n" + "".join(pieces)
    wanted: dict[str, Any] = {"carry": ("note",), "delimiter": ","}
    try:
        plan = plan_of(content.encode(), BatchFormat.CSV, Limits(rows=rows), **wanted)
    except FileRefused:  # a quote that stays open, or no row at all
        return
    single = plan_of(content.encode(), BatchFormat.CSV, Limits(rows=1), **wanted)
    by_line = blocks_of(content.encode(), single)
    assert single.rows == plan.rows
    blocks = blocks_of(content.encode(), plan)
    assert [note for block in blocks for note in block.carried.column(0).to_pylist()] == [
        block.carried.column(0)[0].as_py() for block in by_line
    ]
    assert [bool(wrong) for block in blocks for wrong in block.faults.any_of(block.count)] == [
        len(block.faults) > 0 for block in by_line
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_byte_order_mark_within_a_file_belongs_to_its_cell_wherever_a_chunk_begins(rows: int) -> None:
    """As where files that begin with one were joined."""
    content = "id,dose,age\na,1,2\n\ufeffb,1,2\n\ufeff\n\ufeffa,1,2\n".encode()
    limits = Limits(rows=rows)
    found = ids_of(content, BatchFormat.CSV, limits, id_column="id")
    assert found == [(1, "a"), (2, "\ufeffb"), (3, "None"), (4, "\ufeffa")]
    plan = plan_of(content, BatchFormat.CSV, limits, id_column="id")
    assert [row for chunk in plan.chunks for row in chunk.duplicates] == []
    wrong = [
        block.first_row + int(row)
        for block in blocks_of(content, plan)
        for row in np.flatnonzero(block.faults.any_of(block.count))
    ]
    assert wrong == [3]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("form", [BatchFormat.ZIP, BatchFormat.TAR])
def test_every_image_is_read_once_and_in_order(form: BatchFormat, size: int) -> None:
    names = [f"{number:02d}.png" for number in range(20)]
    members = [(name, image(number)) for number, name in enumerate(names)]
    content = zip_file(members) if form is BatchFormat.ZIP else tar_file(members)
    model = load_pipeline(manifest("image-classification"))
    plan = plan_of(content, form, Limits(rows=size), model=model)
    blocks = blocks_of(content, plan, model=model)
    assert [name for block in blocks for name in block.carried.column(0).to_pylist()] == names
    assert [file for block in blocks for file in block.files] == [file for _, file in members]


def tar_file(members: list[tuple[str, bytes]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def test_row_groups_that_fit_are_not_cut() -> None:
    plan = plan_of(parquet_file(good_rows(100), group=10), BatchFormat.PARQUET, Limits(rows=25))
    assert [chunk.rows for chunk in plan.chunks] == [20, 20, 20, 20, 20]
    assert all(isinstance(chunk.place, RowGroups) and chunk.place.skip == 0 for chunk in plan.chunks)


def test_chunks_in_order_read_the_file_once() -> None:
    content = parquet_file(good_rows(50_000), group=50_000)
    plan = plan_of(content, BatchFormat.PARQUET, Limits(rows=2000))

    class Counting(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.total += len(found)
            return found

    file = Counting(content)
    reader = reader_of(file, plan.layout, pipeline())  # type: ignore[arg-type]  # it reads and seeks alike
    assert sum(block.count for chunk in plan.chunks for block in reader.read(chunk)) == 50_000
    assert file.total < 1.5 * len(content)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_each_chunk_has_its_own_duplicates(size: int) -> None:
    rows = good_rows(12)
    for row in (3, 4, 8, 11):
        rows[row]["id"] = "r0"
    plan = plan_of(parquet_file(rows), BatchFormat.PARQUET, Limits(rows=size), id_column="id")
    assert [row for chunk in plan.chunks for row in chunk.duplicates.tolist()] == [4, 5, 9, 12]
    assert all(
        chunk.first_row <= row < chunk.first_row + chunk.rows
        for chunk in plan.chunks
        for row in chunk.duplicates
    )


def test_chunks_may_be_read_in_any_order() -> None:
    content = parquet_file(good_rows(50), group=20)
    plan = plan_of(content, BatchFormat.PARQUET, Limits(rows=7), id_column="id")
    reader = reader_of(MemorySource(content).open(), plan.layout, pipeline())
    for number in (3, 0, 1, 6, 3, 2):
        chunk = plan.chunks[number]
        found = [name for block in reader.read(chunk) for name in block.carried.column(0).to_pylist()]
        assert found == [f"r{row - 1}" for row in range(chunk.first_row, chunk.first_row + chunk.rows)]


@pytest.mark.parametrize("form", TABLES)
def test_a_plan_comes_back_from_its_bytes(form: BatchFormat) -> None:
    content = file_of(form, [*good_rows(30), *good_rows(5)])
    plan = plan_of(content, form, Limits(rows=8), id_column="id")
    assert read_head(head_of(plan)) == (plan.layout, plan.identity)
    for chunk in plan.chunks:
        again = Chunk.from_bytes(chunk.as_bytes())
        assert again.as_bytes() == chunk.as_bytes()
        assert again.place == chunk.place
        assert again.duplicates.tolist() == chunk.duplicates.tolist()


@pytest.mark.parametrize("form", TABLES)
def test_a_plan_is_the_same_each_time(form: BatchFormat) -> None:
    content = file_of(form, [*good_rows(30), *good_rows(5)])
    plans = [plan_of(content, form, Limits(rows=8), id_column="id") for _ in range(2)]
    assert [chunk.as_bytes() for chunk in plans[0].chunks] == [chunk.as_bytes() for chunk in plans[1].chunks]
    assert isinstance(plans[0].layout, Layout)
