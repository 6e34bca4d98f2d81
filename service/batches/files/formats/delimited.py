"""CSV (RFC 4180): a header, a delimiter given or detected, quoted line ends; a faulty line is a fault of its own.

Arrow parses a chunk. Where a cell of a number holds none, it fails without detail: then numbers are read as texts and
checked cell by cell. It reports the lines that do not split like the header.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from models.pipelines.columns import NO_FAULTS, CellFaults, FaultFinder, NumberColumn
from service.batches.files import cells, numbers, problems
from service.batches.files.blocks import BLOCK_ROWS, RowBlock
from service.batches.files.columns import Columns, check_columns
from service.batches.files.duplicates import DuplicateFinder
from service.batches.files.formats.carrying import id_faults, record_batch, unread_row
from service.batches.files.formats.headers import check_first_line, header_of
from service.batches.files.formats.records import (
    UTF8_MARK,
    ChunkCutter,
    Grammar,
    Records,
    scan,
    text_start,
)
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import ByteRange, Chunk, Inspected, Limits, with_duplicates
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Seen, not_looked_at

DELIMITERS: Final = (",", ";", "\t", "|")

Table = dict[str, pa.Array]


def inspect(file: io.RawIOBase, wanted: Wanted, limits: Limits, seen: Seen = not_looked_at) -> Inspected:
    """See Inspected; `seen` gets every byte once. Raises FileRefused."""
    start = text_start(file)
    layout = _layout(file, start, wanted, limits)
    file.seek(0)
    seen(file.read(start) or b"")
    found = scan(file, Grammar(layout.delimiter), limits, start=start, row=0, seen=seen)  # the header
    first = next(found)
    cutter = ChunkCutter(limits, first.offset + int(first.ends[0]))
    finder = DuplicateFinder()
    _plan(cutter, finder, layout, first.without_first())
    for records in found:
        _plan(cutter, finder, layout, records)
    chunks = with_duplicates(cutter.finish(), finder.duplicate_rows())
    return Inspected(layout, cutter.next_row - 1, chunks, Columns.of(layout.columns, wanted))


class DelimitedReader:
    """See blocks.Reader."""

    def __init__(self, file: io.RawIOBase, layout: Layout) -> None:
        self._file = file
        self._layout = layout

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        place, layout = chunk.place, self._layout
        assert isinstance(place, ByteRange)
        if place.oversized:
            yield unread_row(chunk.first_row, layout.carried, layout.wanted)
            return
        self._file.seek(place.start)
        content = self._file.read(place.end - place.start) or b""
        table, wrong = _parsed(content, layout, chunk.rows)
        for start in range(0, chunk.rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, chunk.rows - start)
            part = {name: column.slice(start, count) for name, column in table.items()}
            yield _block(part, wrong.part(start, count), layout, chunk.first_row + start, count)


def _plan(cutter: ChunkCutter, finder: DuplicateFinder, layout: Layout, records: Records) -> None:
    row, id_column = cutter.next_row, layout.wanted.id_column
    if id_column is not None and len(records):
        wanted = Wanted(id_column=id_column)
        narrow = replace(layout, wanted=wanted, carried=pa.schema([layout.carried.field(id_column)]))
        table, _ = _parsed(records.bytes_of(0, len(records)), narrow, len(records))
        finder.add(table[id_column], np.arange(row, row + len(records)))
    cutter.add(records)


def _layout(file: io.RawIOBase, start: int, wanted: Wanted, limits: Limits) -> Layout:
    """The header's columns and the delimiter. Raises FileRefused."""
    file.seek(start)
    top = io.BytesIO(file.read(limits.row_bytes + 1) or b"")
    candidates = DELIMITERS if wanted.delimiter is None else (wanted.delimiter,)
    headers = {delimiter: header_of(top, delimiter, limits) for delimiter in (*candidates, *DELIMITERS)}
    taken = {*wanted.field_names, *wanted.carried}

    def fit(delimiter: str) -> int:
        return len(taken.intersection(headers[delimiter]))

    best = max(candidates, key=fit)
    other = max(DELIMITERS, key=fit)
    if fit(other) > fit(best):
        raise FileRefused(
            FileProblem.WRONG_DELIMITER, f"The header is not split by the delimiter given: it fits {other!r}."
        )
    columns = headers[best]
    check_first_line(top, columns, candidates, taken, limits)
    check_columns(columns, wanted)
    carried = pa.schema([pa.field(name, pa.string()) for name in wanted.carried])
    unused = sum(name not in taken for name in columns)
    return Layout(BatchFormat.CSV, wanted, carried, columns, delimiter=best, unused=unused)


def _parsed(content: bytes, layout: Layout, rows: int) -> tuple[Table, CellFaults]:
    """The wanted columns of `rows` rows, and the lines that do not split like the header: those are null.

    Columns of fields are float64, or texts where one of them is no number. Raises FileRefused where there are not as
    many rows.
    """
    if content.startswith(UTF8_MARK):
        content = b"\n" + content  # at the very beginning Arrow would drop the mark
    for as_text in (True,) if layout.wanted.by_value else (False, True):
        skipped: list[int] = []
        try:
            table = _arrow_table(content, layout, skipped, as_text=as_text)
        except (pa.ArrowException, ValueError):  # its message quotes the value
            continue
        if not as_text and layout.wanted.missing and _has_nan(table):
            continue  # the cell may be a marker with spaces around it
        if table.num_rows + len(skipped) != rows:  # Arrow splits lines as we do
            break
        columns = {name: _whole(table.column(name)) for name in table.column_names}
        if not skipped:
            return columns, NO_FAULTS
        places = [number - 1 for number in skipped]  # Arrow counts from 1, without blank lines
        return _spread(columns, places, rows), _wrong_lines(places)
    raise FileRefused(FileProblem.MISCOUNTED, "A chunk does not hold the rows that were counted.")


def _arrow_table(content: bytes, layout: Layout, skipped: list[int], *, as_text: bool) -> pa.Table:
    fields, carried = layout.wanted.field_names, layout.carried.names

    def note(line: pcsv.InvalidRow) -> str:
        skipped.append(line.number)
        return "skip"

    text = {name for name in layout.columns if as_text or name in carried or name not in fields}
    names = _unique(layout)
    wanted = [name for name in names if name in fields or name in carried]
    return pcsv.read_csv(
        pa.BufferReader(content),
        pcsv.ReadOptions(use_threads=False, column_names=names, block_size=len(content) + 1),
        pcsv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=note),
        pcsv.ConvertOptions(
            check_utf8=False,
            column_types={name: pa.string() if name in text else pa.float64() for name in wanted},
            include_columns=wanted,
            null_values=["", *layout.wanted.missing],
            decimal_point=layout.wanted.decimal or ".",
            strings_can_be_null=False,
        ),
    )


def _has_nan(table: pa.Table) -> bool:
    floats = (column for column in table.columns if pa.types.is_floating(column.type))
    return any(pc.any(pc.is_nan(column)).as_py() for column in floats)


def _unique(layout: Layout) -> list[str]:
    """The header's names; an unwanted column gets a unique name."""
    taken = {*layout.wanted.field_names, *layout.carried.names}
    return [name if name in taken else f"\0{index}" for index, name in enumerate(layout.columns)]


def _spread(columns: Table, missing: Sequence[int], rows: int) -> Table:
    """The columns with a null at each of the rows that are missing."""
    present = np.ones(rows, dtype=np.bool_)
    present[list(missing)] = False
    order = pa.array(np.cumsum(present) - 1, mask=~present)
    return {name: column.take(order) for name, column in columns.items()}


def _wrong_lines(places: Sequence[int]) -> CellFaults:
    finder = FaultFinder()
    finder.add(np.array(places), problems.WRONG_COLUMN_COUNT)
    return finder.found()


def _block(table: Table, wrong: CellFaults, layout: Layout, row: int, count: int) -> RowBlock:
    unreadable = wrong.any_of(count) if len(wrong) else None
    carried = record_batch(layout.carried, table, count)
    finder = FaultFinder()
    finder.add_all(wrong)
    finder.add_all(id_faults(carried, layout.wanted, unreadable))
    wanted, by_value = layout.wanted, layout.wanted.by_value
    return RowBlock(
        row,
        count,
        carried,
        numbers=()
        if by_value
        else tuple(_numbers(table.get(name), count, wanted) for name in wanted.field_names),
        values=cells.inputs_of(table, wanted, count) if by_value else (),
        faults=finder.found(),
        unreadable=unreadable,
        decimal_mark=(wanted.decimal or ".") if by_value else None,
    )


def _numbers(column: pa.Array | None, count: int, wanted: Wanted) -> NumberColumn:
    if column is None:
        return numbers.absent(count)
    if pa.types.is_string(column.type):
        return numbers.from_text(column, wanted.missing, wanted.decimal or ".")
    return numbers.from_csv(column)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
