"""NDJSON: a JSON object a line, either the input itself beside carried keys, or `{custom_id, input}`. Each line is read by
its own shape; where one of the first lines is of the second, `custom_id` is the id.

Arrow parses runs of lines that begin and end like an object (its parser does not survive all others). Where it refuses
a run, halves are tried, down to a few lines, which are read one by one (see json_objects): so a faulty line fails
alone.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pjson

from models.pipelines.columns import FaultFinder, Mask
from service.batches.files import numbers, problems
from service.batches.files.blocks import BLOCK_ROWS, RowBlock, joined
from service.batches.files.columns import Columns
from service.batches.files.duplicates import DuplicateFinder
from service.batches.files.formats.carrying import id_faults, id_texts, record_batch, unread_row
from service.batches.files.formats.json_kinds import Kinds
from service.batches.files.formats.json_objects import (
    CUSTOM_ID,
    INPUT,
    ObjectBlock,
    UnknownFields,
    loosely_parsed,
    nests_input,
    parsed_line,
)
from service.batches.files.formats.records import ChunkCutter, Grammar, Records, all_records, scan, text_start
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import ByteRange, Chunk, Inspected, Limits, with_duplicates
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Seen, not_looked_at

FEW_LINES: Final = 64
BLOCK_BYTES: Final = 8 * 1024 * 1024  # lists of numbers take ten times as much as Python objects
LOOKED_AT: Final = 100  # first lines that may be wrong before the file counts as something else


def inspect(file: io.RawIOBase, wanted: Wanted, limits: Limits, seen: Seen = not_looked_at) -> Inspected:
    """See Inspected; `seen` gets every byte once. Raises FileRefused.

    Values are inspected only where something is carried: their kinds must be the same for the whole output.
    """
    if wanted.holds_lists:
        limits = replace(limits, row_bytes=limits.value_bytes)
    start = text_start(file)
    file.seek(start)
    nested = _is_nested(file.read(limits.row_bytes) or b"", wanted)
    if nested and wanted.id_column is None:
        wanted = replace(wanted, id_column=CUSTOM_ID)
    file.seek(0)
    seen(file.read(start) or b"")
    cutter, finder, keys = ChunkCutter(limits, start), DuplicateFinder(), Keys(wanted)
    kinds = Kinds(wanted.carried, wanted.id_column)
    for records in scan(file, Grammar(), limits, start=start, seen=seen):
        keys.look_at(records.content)
        if wanted.carried and len(records):
            carried = kinds.take(records, _carried_table)
            if wanted.id_column is not None:
                rows = np.arange(cutter.next_row, cutter.next_row + len(records))
                finder.add(id_texts(carried[wanted.id_column]), rows)
        cutter.add(records)
    schema = kinds.schema(frozenset() if nested else frozenset(wanted.field_names))
    layout = Layout(BatchFormat.NDJSON, wanted, schema, nested=nested, mixed=kinds.mixed())
    chunks = with_duplicates(cutter.finish(), finder.duplicate_rows())
    return Inspected(layout, cutter.next_row - 1, chunks, keys.columns())


class Keys:
    """Which fields, and which keys to be ignored, any line names."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._unseen = {name: json.dumps(name).encode() for name in (*wanted.field_names, *wanted.ignore)}

    def look_at(self, content: bytes) -> None:
        """Record some lines. A text that reads like the key counts as the key."""
        self._unseen = {name: key for name, key in self._unseen.items() if key not in content}

    def columns(self) -> Columns:
        """What was found; a key that is neither a field, nor carried nor ignored is an error of its line."""
        names = (*self._wanted.field_names, *self._wanted.ignore)
        return Columns.of(tuple(name for name in names if name not in self._unseen), self._wanted)


class NdjsonReader:
    """See blocks.Reader. `unknown_fields` makes the faults for keys that the model does not take; None: they are ignored."""

    def __init__(self, file: io.RawIOBase, layout: Layout, unknown_fields: UnknownFields | None) -> None:
        self._file = file
        self._layout = layout
        self._lines = _Lines(layout, unknown_fields)

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        place, layout = chunk.place, self._layout
        assert isinstance(place, ByteRange)
        if place.oversized:
            yield unread_row(chunk.first_row, layout.carried, layout.wanted)
            return
        self._file.seek(place.start)
        records = all_records(self._file.read(place.end - place.start) or b"", Grammar())
        if len(records) != chunk.rows:
            raise FileRefused(FileProblem.MISCOUNTED, "A chunk does not hold as many rows as were counted.")
        for start, end in _blocks(records):
            if layout.wanted.by_value:
                block = self._lines.one_by_one(records, start, end)
                yield replace(block, first_row=chunk.first_row + start)
                continue
            blocks = self._lines.blocks(records, start, end, looks_like_objects(records))
            yield replace(joined(list(blocks)), first_row=chunk.first_row + start)


def _blocks(records: Records) -> Iterator[tuple[int, int]]:
    """The records first to end of each block: BLOCK_ROWS at most, and BLOCK_BYTES unless it is one record."""
    start = 0
    while start < len(records):
        fitting = int(np.searchsorted(records.ends, records.starts[start] + BLOCK_BYTES, side="right"))
        end = min(max(fitting, start + 1), start + BLOCK_ROWS, len(records))
        yield start, end
        start = end


def looks_like_objects(records: Records) -> Mask:
    """Which records begin with `{` and end with `}`: bool [n]. No two of these make one object together."""
    values = np.frombuffer(records.content, np.uint8)
    last = records.ends - 1
    for line_end in (0x0A, 0x0D):
        last = last - (values[last] == line_end)
    sound: Mask = (values[records.starts] == ord("{")) & (values[last] == ord("}"))
    return sound


class _Lines:
    """Parses runs of lines of one layout."""

    def __init__(self, layout: Layout, unknown_fields: UnknownFields | None) -> None:
        self._layout = layout
        self._unknown_fields = unknown_fields
        self._fields = layout.wanted.field_names
        carried = list(layout.carried)
        apart = self._fields if layout.nested else set(self._fields) - set(layout.carried.names)
        fields = [pa.field(name, pa.float64()) for name in self._fields if name in apart]
        self._schema = pa.schema(
            [*carried, pa.field(INPUT, pa.struct(fields))] if layout.nested else carried + fields
        )
        self._ignored = frozenset(layout.wanted.ignore)
        self._unexpected = "ignore" if unknown_fields is None else "infer" if self._ignored else "error"

    def blocks(self, records: Records, first: int, end: int, sound: Any) -> Iterator[RowBlock]:
        """Lines `first` to `end`, in order; `sound`: those that Arrow may see."""
        wrong = first + np.flatnonzero(~sound[first:end])
        for stop in (*wrong.tolist(), end):
            if first < stop:
                yield from self._run(records, first, stop)
            if stop < end:
                yield self.one_by_one(records, stop, stop + 1)
            first = stop + 1

    def _run(self, records: Records, first: int, end: int) -> Iterator[RowBlock]:
        table = self._table(records, first, end)
        if table is not None:
            yield self._block(table)
        elif end - first <= FEW_LINES:
            yield self.one_by_one(records, first, end)
        else:
            middle = (first + end) // 2
            yield from self._run(records, first, middle)
            yield from self._run(records, middle, end)

    def _table(self, records: Records, first: int, end: int) -> pa.Table | None:
        table = arrow_table(records.bytes_of(first, end), self._schema, self._unexpected, end - first)
        return table if table is not None and self._are_known(table.schema) else None

    def _are_known(self, found: pa.Schema) -> bool:
        """Whether all keys that Arrow found are expected or to be ignored."""
        inner = found.field(INPUT).type if self._layout.nested else pa.struct([])
        names = {
            *(set(found.names) - set(self._schema.names)),
            *({f.name for f in inner} - set(self._fields)),
        }
        return names <= self._ignored

    def _block(self, table: pa.Table) -> RowBlock:
        columns = {name: whole(table.column(name)) for name in table.column_names}
        inputs, finder, unreadable = columns, FaultFinder(), None
        if self._layout.nested:
            struct = columns[INPUT]
            inputs = dict(zip((field.name for field in struct.type), struct.flatten(), strict=True))
            if struct.null_count:
                unreadable = struct.is_null().to_numpy(zero_copy_only=False)
                finder.add(np.flatnonzero(unreadable), problems.NOT_AN_OBJECT)
        carried = record_batch(self._layout.carried, columns, table.num_rows)
        finder.add_all(id_faults(carried, self._layout.wanted))
        return RowBlock(
            0,
            table.num_rows,
            carried,
            tuple(numbers.from_json(inputs[name]) for name in self._fields),
            faults=finder.found(),
            unreadable=unreadable,
        )

    def one_by_one(self, records: Records, first: int, end: int) -> RowBlock:
        """The same lines as Python objects."""
        return ObjectBlock(self._layout, self._unknown_fields).read(
            [records.bytes_of(index, index + 1) for index in range(first, end)]
        )


def arrow_table(content: bytes, schema: pa.Schema, unexpected: str, rows: int) -> pa.Table | None:
    """The lines by Arrow; None when it refuses one of them. Every line must look like an object."""
    if not len(schema) and unexpected == "ignore":
        return None
    try:
        table = pjson.read_json(
            pa.BufferReader(content),
            pjson.ReadOptions(use_threads=False, block_size=len(content) + 1),
            pjson.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
        )
        table.validate(full=True)  # texts may not be UTF-8
        if not _are_finite(table):  # Arrow reads NaN and Infinity, and so many digits as Infinity
            return None
    except (pa.ArrowException, ValueError):  # its message may quote a value
        return None
    return table if table.num_rows == rows else None


def _are_finite(table: pa.Table) -> bool:
    """Whether every number of a table is finite, those of its structs too."""
    flat = table.flatten()
    floats = [column for column in flat.columns if pa.types.is_floating(column.type)]
    return all(pc.all(pc.is_finite(column)).as_py() is not False for column in floats)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _carried_table(records: Records, schema: pa.Schema) -> dict[str, pa.Array] | None:
    """The carried columns of some records by Arrow, all other keys left aside; None when it refuses one of them."""
    if not looks_like_objects(records).all():
        return None
    table = arrow_table(records.bytes_of(0, len(records)), schema, "ignore", len(records))
    return table and {name: whole(table.column(name)) for name in table.column_names}


def _is_nested(top: bytes, wanted: Wanted) -> bool:
    """Whether one of the first lines is `{custom_id, input}`. Raises FileRefused where none of them is JSON at all.

    A line that is refused for a repeated key or NaN still shows what the file is.
    """
    lines = [line for line in top.split(b"\n")[:LOOKED_AT] if line.strip()]
    if lines and _begins_array(lines[0]):
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is one JSON array: write one object a line.")
    found = [value for line in lines if isinstance(value := loosely_parsed(line), dict)]
    if not found and len(lines) > 1:
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is not NDJSON: write one JSON object a line.")
    return any(CUSTOM_ID in line and nests_input(line, wanted) for line in found)


def _begins_array(line: bytes) -> bool:
    """Whether a first line opens the array that holds the whole file."""
    if not line.lstrip().startswith(b"["):
        return False
    value = parsed_line(line)
    return value is None or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
