"""Parquet: the footer plans, row groups are read as a stream of pages.

A chunk may begin within a row group: then the rows before it are decoded and dropped, unless the reader just came
from there. So a reader keeps its place from chunk to chunk.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.pipelines.columns import FaultFinder, NumberColumn
from models.pipelines.schema_columns import ColumnKind
from service.batches.files import cells, numbers
from service.batches.files.blocks import BLOCK_ROWS, RowBlock
from service.batches.files.columns import Columns, check_columns
from service.batches.files.duplicates import DuplicateFinder
from service.batches.files.formats.carrying import (
    id_faults,
    id_texts,
    is_carriable,
    plain_type,
    record_batch,
    sound,
)
from service.batches.files.formats.parquet_footer import check_packing
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import Chunk, Inspected, Limits, RowGroups, with_duplicates
from service.batches.files.problems import FileProblem, FileRefused

STORED: Final = {
    ColumnKind.NUMBER: "numbers",
    ColumnKind.INTEGER: "integers",
    ColumnKind.TEXT: "text",
    ColumnKind.BOOLEAN: "true and false",
    ColumnKind.CODE: "text, whole numbers, or true and false",
}
# Each column reads ahead this far. A column chunk of a whole row group would not be bounded.
BUFFER_BYTES: Final = 128 * 1024
# The footer is read whole and takes some ten times its size in memory.
FOOTER_BYTES: Final = 32 * 1024 * 1024
# A block of rows is cut shorter where rows are wide.
BLOCK_VALUES: Final = 4_000_000
SCANNED_BYTES: Final = 1024 * 1024
# Values that were measured do not repeat so often; a night's rows, made of 600 that were copied, reach 120.
MOST_RATIO: Final = 1000
RATIO_MATTERS_BYTES: Final = 128 * 1024 * 1024
CELL_BYTES: Final = 8
# The most that can be planned; a footer of a few bytes may claim more.
MOST_ROWS: Final = 10_000_000_000


def inspect(file: io.RawIOBase, wanted: Wanted, limits: Limits) -> Inspected:
    """See Inspected. Raises FileRefused; reads the footer, and the column of ids."""
    _check_ends(file)
    with _translated_faults():
        parquet = _opened(file)
        schema, footer = parquet.schema_arrow, parquet.metadata
        names = tuple(schema.names)
    _check_joined(file, footer)
    check_columns(names, wanted)
    _check_types(schema, wanted)
    taken = {*wanted.field_names, *wanted.carried}
    layout = Layout(
        BatchFormat.PARQUET,
        wanted,
        pa.schema([(name, plain_type(schema.field(name).type)) for name in wanted.carried]),
        columns=tuple(name for name in wanted.field_names if name in schema.names),
        unused=sum(name not in taken for name in schema.names),
    )
    groups = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    if footer.num_rows > MOST_ROWS:
        raise FileRefused(FileProblem.TOO_LARGE, f"The file may have at most {MOST_ROWS:,} rows: cut it.")
    if min(groups, default=0) < 0 or sum(groups) != footer.num_rows:
        raise FileRefused(FileProblem.MISCOUNTED, "The footer and its row groups count different rows.")
    _check_ratio(file, footer.num_rows, len(wanted.fields) + len(wanted.carried))
    chunks = _planned(groups, min(limits.rows, _rows_within(limits.size_bytes, footer)))
    _check_first_row(file, parquet, layout)
    if wanted.id_column is not None:
        chunks = with_duplicates(chunks, _duplicates(parquet, wanted.id_column))
    return Inspected(layout, footer.num_rows, chunks, Columns.of(names, wanted))


class ParquetReader:
    """See blocks.Reader."""

    def __init__(self, file: io.RawIOBase, layout: Layout) -> None:
        with _translated_faults():
            self._parquet = _opened(file)
        self._layout = layout
        self._fields = layout.wanted.field_names
        self._columns = list(dict.fromkeys((*layout.columns, *layout.carried.names)))
        self._rows = max(1, min(BLOCK_ROWS, BLOCK_VALUES // max(1, len(self._columns))))
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None
        self._next_row = -1

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        assert isinstance(chunk.place, RowGroups)
        row, end = chunk.first_row, chunk.first_row + chunk.rows
        if row != self._next_row:
            self._go_to(chunk.place)
        while row < end:
            batch = self._take(end - row)
            yield self._block(batch, row)
            row += batch.num_rows
            self._next_row = row

    def _go_to(self, place: RowGroups) -> None:
        groups = list(range(place.first, self._parquet.metadata.num_row_groups))
        with _translated_faults():
            self._batches = self._parquet.iter_batches(
                self._rows, row_groups=groups, columns=self._columns, use_threads=False
            )
        self._rest = None
        skipped = 0
        while skipped < place.skip:
            skipped += self._take(place.skip - skipped).num_rows

    def _take(self, most: int) -> pa.RecordBatch:
        """The next rows, up to `most` of them."""
        with _translated_faults():
            batch = self._rest if self._rest is not None else next(self._batches, None)
        if batch is None:
            raise FileRefused(FileProblem.MISCOUNTED, "The file holds fewer rows than its footer counts.")
        self._rest = batch.slice(most) if batch.num_rows > most else None
        return batch.slice(0, most)

    def _block(self, batch: pa.RecordBatch, row: int) -> RowBlock:
        finder, columns, without_id = FaultFinder(), {}, None
        for name in self._layout.carried.names:
            columns[name], wrong, fault = sound(batch.column(name), name)
            if wrong is not None and fault is not None:
                finder.add(np.flatnonzero(wrong), fault)
                without_id = wrong if name == self._layout.wanted.id_column else without_id
        inputs = self._inputs(batch, finder) if self._layout.wanted.by_value else None
        carried = record_batch(self._layout.carried, columns, batch.num_rows)
        finder.add_all(id_faults(carried, self._layout.wanted, without_id))
        return RowBlock(
            row,
            batch.num_rows,
            carried,
            () if inputs is not None else self._numbers(batch),
            values=inputs or (),
            faults=finder.found(),
        )

    def _numbers(self, batch: pa.RecordBatch) -> tuple[NumberColumn, ...]:
        return tuple(
            numbers.from_numeric(batch.column(name))
            if name in self._layout.columns
            else numbers.absent(batch.num_rows)
            for name in self._fields
        )

    def _inputs(self, batch: pa.RecordBatch, finder: FaultFinder) -> list[dict[str, Any]]:
        """An input a row. A text that is not UTF-8 goes to `finder`, and has no property."""
        columns = {}
        for name in self._layout.columns:
            columns[name], wrong, fault = sound(batch.column(name), name)
            if wrong is not None and fault is not None and name not in self._layout.carried.names:
                finder.add(np.flatnonzero(wrong), fault)
        return cells.inputs_of(columns, self._layout.wanted, batch.num_rows)


def _opened(file: io.RawIOBase) -> Any:
    return pq.ParquetFile(
        file,
        pre_buffer=False,
        buffer_size=BUFFER_BYTES,
        thrift_string_size_limit=FOOTER_BYTES,
        thrift_container_size_limit=FOOTER_BYTES,
        coerce_int96_timestamp_unit="us",  # in ns, distant years would silently wrap around
    )


def _check_ends(file: io.RawIOBase) -> None:
    """Refuse what is no Parquet file or is cut short, before a parser sees it."""
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise FileRefused(FileProblem.EMPTY, "The file is empty.")
    file.seek(0)
    magic = file.read(4)
    file.seek(max(0, size - 8))
    tail = file.read(8) or b""
    if magic not in (b"PAR1", b"PARE"):
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is not Parquet.")
    if b"PARE" in (magic, tail[4:]):
        raise FileRefused(FileProblem.UNREADABLE, "The Parquet file is encrypted: send it in the clear.")
    if size < 12 or tail[4:] != b"PAR1":
        raise FileRefused(FileProblem.UNREADABLE, "The Parquet file is cut short: it has no footer.")
    if int.from_bytes(tail[:4], "little") > min(FOOTER_BYTES, size - 12):
        raise FileRefused(FileProblem.UNREADABLE, "The Parquet file's footer is damaged or too large.")


def _check_ratio(file: io.RawIOBase, rows: int, columns: int) -> None:
    """Refuse a file of a few bytes whose rows are endless repetitions: scoring them would take hours."""
    decoded, size = CELL_BYTES * rows * columns, file.seek(0, io.SEEK_END)
    if decoded > max(MOST_RATIO * size, RATIO_MATTERS_BYTES):
        raise FileRefused(
            FileProblem.TOO_COSTLY,
            "The rows take up more than a thousand times the size of the file: send each once.",
        )


def _check_joined(file: io.RawIOBase, footer: Any) -> None:
    """Refuse several files that were joined: the last one's footer would be read over the bytes of the first.

    Between the last column and the footer stand indexes and Bloom filters, and no end of another file.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(size - 8)
    footer_start = size - 8 - int.from_bytes((file.read(4) or b""), "little")
    end = _end_of_columns(footer)
    file.seek(end)
    seen = b""
    while end < footer_start and (block := file.read(min(SCANNED_BYTES, footer_start - end))):
        end += len(block)
        if b"PAR1PAR1" in (seen := seen[-7:] + block):
            raise FileRefused(
                FileProblem.UNREADABLE, "Several Parquet files were joined: write their rows into one file."
            )


def _end_of_columns(footer: Any) -> int:
    if not footer.num_row_groups:
        return 4
    last = footer.row_group(footer.num_row_groups - 1)
    columns = [last.column(index) for index in range(last.num_columns)]
    ends = [
        (
            min(column.dictionary_page_offset, column.data_page_offset)
            if column.has_dictionary_page
            else column.data_page_offset
        )
        + column.total_compressed_size
        for column in columns
    ]
    return int(max(4, *ends)) if ends else 4


def _check_types(schema: pa.Schema, wanted: Wanted) -> None:
    kinds = wanted.kinds or [ColumnKind.NUMBER.value] * len(wanted.fields)
    for name, cell in zip(wanted.field_names, kinds, strict=True):
        if name in schema.names and not cells.is_readable(schema.field(name).type, cell):
            kind = re.split(r"[<\[(]", str(schema.field(name).type))[0]  # what follows may be anything
            raise FileRefused(
                FileProblem.COLUMN_UNSUPPORTED,
                f"The column {name} holds {kind}: store {STORED[ColumnKind(cell)]}.",
            )
    for name in wanted.carried:
        if not is_carriable(schema.field(name).type):
            raise FileRefused(
                FileProblem.COLUMN_UNSUPPORTED,
                f"The column {name} is nested, binary or a duration, or of an unknown time zone: it cannot "
                "be carried. Store it as text or as numbers.",
            )


def _rows_within(size_bytes: int, footer: Any) -> int:
    """How many rows of average width make up `size_bytes`, at least one."""
    total = sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    return int(max(1, size_bytes * footer.num_rows // max(1, total)))


def _planned(groups: list[int], rows: int) -> tuple[Chunk, ...]:
    """Chunks of up to `rows` rows. A row group that is not too large for one is not cut."""
    chunks: list[Chunk] = []
    first_row, held = 1, 0
    place = RowGroups(0, 0)

    def end_chunk(count: int) -> None:
        nonlocal first_row
        if count:
            chunks.append(Chunk(len(chunks), first_row, count, place))
            first_row += count

    for group, size in enumerate(groups):
        if held + size > rows:
            end_chunk(held)
            held, place = 0, RowGroups(group, 0)
        pieces = -(-size // rows)
        for piece in range(pieces if size > rows else 0):
            start, end = piece * size // pieces, (piece + 1) * size // pieces
            place = RowGroups(group, start)
            end_chunk(end - start)
        if size > rows:
            place = RowGroups(group + 1, 0)
        else:
            held += size
    end_chunk(held)
    return tuple(chunks)


def _duplicates(parquet: Any, id_column: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    finder, row = DuplicateFinder(), 1
    with _translated_faults():
        for batch in parquet.iter_batches(BLOCK_ROWS, columns=[id_column], use_threads=False):
            ids, _, _ = sound(batch.column(0), id_column)
            finder.add(id_texts(ids), np.arange(row, row + batch.num_rows))
            row += batch.num_rows
    return finder.duplicate_rows()


def _check_first_row(file: io.RawIOBase, parquet: Any, layout: Layout) -> None:
    """Raises FileRefused where it cannot be decoded: damaged, encrypted, or with an unsupported compression."""
    columns = list(dict.fromkeys((*layout.columns, *layout.carried.names)))
    try:
        with _translated_faults():
            next(parquet.iter_batches(1, columns=columns, use_threads=False), None)
    except FileRefused as refused:
        if refused.problem is FileProblem.UNREADABLE:
            check_packing(file, columns)
        raise


@contextmanager
def _translated_faults() -> Iterator[None]:
    """Translates Arrow's errors; its own messages may quote values. Faults of the source pass through."""
    try:
        yield
    except MemoryError:  # of Arrow, too
        raise
    except (pa.ArrowException, OSError, ValueError):
        raise FileRefused(
            FileProblem.UNREADABLE, "The Parquet file is damaged and cannot be decoded."
        ) from None
