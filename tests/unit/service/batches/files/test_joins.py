"""Joined files: any range is a slice of the whole, and Parquet's is what Arrow would have written."""

import io
import json
import tracemalloc
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files import joins, thrift
from service.batches.files.accounting import Unaccounted
from service.batches.files.joins import JoinedFile, joined_footer
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat, encoded
from service.batches.files.parts import Part, PartKind, PartStore
from service.batches.files.plans import Limits
from service.crypto import FRAME_BYTES, Cipher
from service.errors import PayloadUnreadable
from tests.fakes import MemoryBlobStore
from tests.unit.service.batches.files.example_batches import file_of, good_rows, scored

TENANT, BATCH = UUID(int=1), UUID(int=2)


def store_over(blobs: MemoryBlobStore) -> PartStore:
    return PartStore(blobs, Cipher(bytes(32)), TENANT, BATCH)


def stored(contents: list[bytes]) -> tuple[PartStore, list[Part]]:
    store = store_over(MemoryBlobStore())
    parts = [
        store.write(PartKind.RESULTS, number, 1, memoryview(content), rows=1)
        for number, content in enumerate(contents)
    ]
    return store, [part for part in parts if part is not None]


@given(
    sizes=st.lists(st.sampled_from([0, 1, 10, FRAME_BYTES, FRAME_BYTES + 3]), max_size=5),
    start=st.integers(0, 3 * FRAME_BYTES),
    length=st.integers(0, 3 * FRAME_BYTES),
)
def test_any_range_of_lines_is_a_slice_of_the_whole(sizes: list[int], start: int, length: int) -> None:
    contents = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    store, parts = stored(contents)
    joined, whole = JoinedFile(store, parts), b"".join(contents)
    assert joined.size_bytes == len(whole)
    assert b"".join(joined.read(start, start + length)) == whole[start : start + length]


def test_what_was_sent_of_a_large_part_is_not_kept() -> None:
    store, parts = stored([bytes(60 * FRAME_BYTES)])
    sent = JoinedFile(store, parts).read()
    tracemalloc.start()
    for _ in range(50):
        next(sent)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * FRAME_BYTES


@pytest.mark.parametrize("form", OutputFormat)
def test_any_range_of_a_batch_is_a_slice_of_the_whole(form: OutputFormat) -> None:
    run = scored(
        file_of(BatchFormat.CSV, good_rows(200)),
        BatchFormat.CSV,
        Limits(rows=30),
        output=form,
        id_column="id",
    )
    joined = run.joined()
    whole = b"".join(joined.read())
    assert joined.size_bytes == len(whole)
    for start in range(0, len(whole) + 50, 97):
        for length in (0, 1, 3, 500, 10**6):
            assert b"".join(joined.read(start, start + length)) == whole[start : start + length]


@pytest.mark.parametrize("form", [OutputFormat.CSV, OutputFormat.PARQUET])
def test_a_part_with_other_columns_than_the_file_is_refused(form: OutputFormat) -> None:
    full = pa.record_batch(
        {"row": [1, 2], "note": ['a "quoted", one\n' * 20_000, None], "missing": ["[]", "[]"]}
    )
    short = pa.record_batch({"row": [3], "note": ["b"]})
    store, parts = stored([bytes(encoded([each], form)) for each in (full, short)])
    joins.check_columns(store, parts[0], form, full.schema)
    with pytest.raises(Unaccounted, match="2 columns and the file 3: run the batch again"):
        joins.check_columns(store, parts[1], form, full.schema)


def test_a_range_reads_its_own_parts_alone() -> None:
    store, parts = stored([b"a" * 1000, b"b" * 1000, b"c" * 1000])
    joined = JoinedFile(store, parts)
    for part in (parts[0], parts[2]):
        store.delete(part.location)
    assert b"".join(joined.read(1000, 2000)) == b"b" * 1000


def test_a_joined_parquet_file_holds_the_rows_of_all_chunks() -> None:
    content = file_of(BatchFormat.PARQUET, good_rows(500))
    limits = Limits(rows=37)
    lines = scored(content, BatchFormat.PARQUET, limits, id_column="id")
    parquet = scored(content, BatchFormat.PARQUET, limits, id_column="id", output=OutputFormat.PARQUET)
    assert [{**line, "missing": json.loads(line["missing"])} for line in parquet.lines()] == lines.lines()
    file = pq.ParquetFile(io.BytesIO(b"".join(parquet.joined().read())))
    assert file.metadata.num_rows == 500
    assert file.metadata.num_row_groups == len(parquet.plan.chunks)
    for group in (0, 5, file.metadata.num_row_groups - 1):
        assert file.read_row_group(group).num_rows == parquet.plan.chunks[group].rows
    for name in file.schema_arrow.names:
        assert file.read(columns=[name]).num_rows == 500


def test_a_joined_parquet_file_may_be_empty() -> None:
    store = store_over(MemoryBlobStore())
    schema = pa.schema([("row", pa.int64()), ("label", pa.string())])
    footer = store.write(PartKind.FOOTER, 0, 1, joined_footer(store, [], schema), rows=0)
    table = pq.read_table(io.BytesIO(b"".join(JoinedFile(store, [], footer).read())))
    assert table.num_rows == 0
    assert table.schema.names == ["row", "label"]


@pytest.mark.parametrize("bad", [True, False])
def test_a_file_without_rows_has_the_columns_of_one_with_rows(bad: bool) -> None:
    rows = [{**row, "dose": 99 if bad else 1} for row in good_rows(5)]
    content = file_of(BatchFormat.PARQUET, rows)
    run = scored(content, BatchFormat.PARQUET, output=OutputFormat.PARQUET, id_column="id")
    other = scored(
        file_of(BatchFormat.PARQUET, [*good_rows(5), *rows[:1], {**rows[1], "dose": 99}]),
        BatchFormat.PARQUET,
        output=OutputFormat.PARQUET,
        id_column="id",
    )
    kind = PartKind.RESULTS if bad else PartKind.ERRORS
    empty, full = (pq.read_table(io.BytesIO(b"".join(found.joined(kind).read()))) for found in (run, other))
    assert empty.num_rows == 0
    assert full.num_rows > 0
    assert empty.schema == full.schema


def test_row_groups_of_encrypted_writers_are_counted_anew() -> None:
    batch = pa.record_batch({"row": pa.array([1]), "label": pa.array(["x"]).dictionary_encode()})
    content = bytes(encoded([batch], OutputFormat.PARQUET))
    length = int.from_bytes(content[-8:-4], "little")
    footer = thrift.read_struct(content[-8 - length : -8])
    footer[4][1][1][0][7] = (thrift.I16, 0)
    with_ordinal = thrift.written_struct(footer)
    content = content[: -8 - length] + with_ordinal + len(with_ordinal).to_bytes(4, "little") + b"PAR1"
    store, [part] = stored([content])
    groups = thrift.read_struct(bytes(joined_footer(store, [part] * 3, pa.schema([]))))[4][1][1]
    assert [group[7][1] for group in groups] == [0, 1, 2]


def test_row_groups_past_the_greatest_number_have_none() -> None:
    group: thrift.Struct = {1: (thrift.LIST, (thrift.STRUCT, [])), 7: (thrift.I16, 0)}
    assert joins._moved_group(group, 0, 2**15 - 1)[7] == (thrift.I16, 2**15 - 1)
    assert 7 not in joins._moved_group(group, 0, 2**15)


def test_every_place_in_a_joined_footer_is_that_of_the_same_bytes() -> None:
    """Indexes and dictionaries included: readers that skip pages go there."""
    contents = []
    for first in (0, 50):
        sink = io.BytesIO()
        table = pa.Table.from_pylist(good_rows(80)[first:])
        pq.write_table(table, sink, write_page_index=True, data_page_size=200)
        contents.append(sink.getvalue())
    store, parts = stored(contents)
    schema = pq.read_schema(io.BytesIO(contents[0]))
    footer = joined_footer(store, parts, schema)
    whole = b"".join(JoinedFile(store, parts, footer).read())

    def places(content: bytes) -> list[tuple[int, int]]:
        """Where each page or index begins, and how long what follows there is compared."""
        found = thrift.read_struct(content[-8 - int.from_bytes(content[-8:-4], "little") : -8])
        columns = [column for group in found[4][1][1] for column in group[1][1][1]]
        data = [column[3][1][number][1] for column in columns for number in (9, 11) if number in column[3][1]]
        indexes = [(column[at][1], column[at + 1][1]) for column in columns for at in (4, 6)]
        return [*((place, 20) for place in data), *indexes]

    expected = [content[place : place + length] for content in contents for place, length in places(content)]
    assert sorted(whole[place : place + length] for place, length in places(whole)) == sorted(expected)
    assert pq.read_table(io.BytesIO(whole)).column("id").to_pylist() == [
        *(f"r{number}" for number in range(80)),
        *(f"r{number}" for number in range(50, 80)),
    ]


def test_a_footer_comes_back_from_its_struct_byte_for_byte() -> None:
    sink = io.BytesIO()
    table = pa.table({"a": [1, None, -3], "b": ["x", "y", None], "c": [[1], [], None], "d": [1.5, 2.5, None]})
    pq.write_table(table, sink, write_page_index=True, row_group_size=1)
    content = sink.getvalue()
    footer = content[-8 - int.from_bytes(content[-8:-4], "little") : -8]
    assert thrift.written_struct(thrift.read_struct(footer)) == footer


@pytest.mark.parametrize("content", [b"", b"\x15", b"\x18\xff\xff\xff\x7f", b"\x1c" * 200, b"\x1e\x00"])
def test_what_is_no_struct_is_refused(content: bytes) -> None:
    with pytest.raises(thrift.ThriftInvalid):
        thrift.read_struct(content)


def test_a_part_belongs_to_its_place() -> None:
    blobs = MemoryBlobStore()
    store = store_over(blobs)
    one = store.write(PartKind.RESULTS, 0, 1, memoryview(b"first"), rows=1)
    two = store.write(PartKind.RESULTS, 1, 1, memoryview(b"other"), rows=1)
    assert one is not None
    assert two is not None
    blobs.blobs[one.location], blobs.blobs[two.location] = (
        blobs.blobs[two.location],
        blobs.blobs[one.location],
    )
    with pytest.raises(PayloadUnreadable):
        store.open(one).read()
    with pytest.raises(PayloadUnreadable):
        PartStore(blobs, Cipher(bytes(32)), TENANT, UUID(int=3)).open(two).read()


def test_another_claim_writes_to_another_place() -> None:
    blobs = MemoryBlobStore()
    store = store_over(blobs)
    late = store.write(PartKind.RESULTS, 0, 1, memoryview(b"late"), rows=1)
    now = store.write(PartKind.RESULTS, 0, 2, memoryview(b"now"), rows=1)
    assert late is not None
    assert now is not None
    assert store.open(now).read() == b"now"
    assert len(blobs.blobs) == 2


def test_nothing_is_stored_for_an_empty_part() -> None:
    blobs = MemoryBlobStore()
    assert store_over(blobs).write(PartKind.ERRORS, 0, 1, memoryview(b""), rows=0) is None
    assert not blobs.blobs
