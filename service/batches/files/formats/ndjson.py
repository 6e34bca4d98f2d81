"""NDJSON: a JSON object a line, either the input itself beside carried keys, or `{custom_id, input}`.

Arrow parses runs of lines that begin and end like an object (its parser does not survive all others). Where it
refuses a run, halves are tried, down to a few lines, which are read one by one: so a wrong line costs itself.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pjson

from models.pipelines import FieldFault, pointer_to
from models.pipelines.columns import FaultFinder, Mask, NumberColumn
from models.strict_json import JsonInvalid, read_json
from service.batches.files import numbers, problems
from service.batches.files.blocks import BLOCK_ROWS, RowBlock, joined
from service.batches.files.duplicates import DuplicateFinder
from service.batches.files.formats.carrying import id_faults, id_texts, record_batch, unread_row
from service.batches.files.formats.json_kinds import Kinds, carried_array
from service.batches.files.formats.records import ChunkCutter, Grammar, Records, all_records, scan, text_start
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import ByteRange, Chunk, Limits, with_duplicates
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Seen, not_looked_at

CUSTOM_ID, INPUT = "custom_id", "input"
FEW_LINES: Final = 64
KINDS_NAMED: Final = 1000
LOOKED_AT: Final = 100  # first lines that may be wrong before the file counts as something else

UnknownFields = Callable[[dict[object, object]], list[FieldFault]]
FLOAT_MAX: Final = float(np.finfo(np.float64).max)


def inspect(
    file: io.RawIOBase, wanted: Wanted, limits: Limits, seen: Seen = not_looked_at
) -> tuple[Layout, int, tuple[Chunk, ...]]:
    """Layout, number of rows and chunks; `seen` gets every byte once. Raises FileRefused.

    Values are looked at only where something is carried: their kinds must be the same for the whole output.
    """
    start = text_start(file)
    file.seek(start)
    nested = _is_nested(file.read(limits.row_bytes) or b"", wanted)
    if nested and wanted.id_column is None:
        wanted = replace(wanted, id_column=CUSTOM_ID)
    file.seek(0)
    seen(file.read(start) or b"")
    cutter, finder, kinds = ChunkCutter(limits, start), DuplicateFinder(), Kinds(wanted.carried)
    for records in scan(file, Grammar(), limits, start=start, seen=seen):
        if wanted.carried and len(records):
            carried = kinds.take(records, _carried_table)
            if wanted.id_column is not None:
                rows = np.arange(cutter.next_row, cutter.next_row + len(records))
                finder.add(id_texts(carried[wanted.id_column]), rows)
        cutter.add(records)
    layout = Layout(
        BatchFormat.NDJSON, wanted, kinds.schema(set(wanted.field_names)), nested=nested, mixed=kinds.mixed()
    )
    return layout, cutter.next_row - 1, with_duplicates(cutter.finish(), finder.duplicate_rows())


class NdjsonReader:
    """See blocks.Reader. `unknown_fields` words the keys that the model does not take; None: they do not matter."""

    def __init__(self, file: io.RawIOBase, layout: Layout, unknown_fields: UnknownFields | None) -> None:
        self._file = file
        self._layout = layout
        self._lines = _Lines(layout, unknown_fields)

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        place, layout = chunk.place, self._layout
        assert isinstance(place, ByteRange)
        if place.oversized:
            yield unread_row(chunk.first_row, layout.carried, len(layout.wanted.fields))
            return
        self._file.seek(place.start)
        records = all_records(self._file.read(place.end - place.start) or b"", Grammar())
        if len(records) != chunk.rows:
            raise FileRefused(FileProblem.MISCOUNTED, "A chunk does not hold the rows that were counted.")
        for start in range(0, chunk.rows, BLOCK_ROWS):
            end = min(start + BLOCK_ROWS, chunk.rows)
            blocks = self._lines.blocks(records, start, end, looks_like_objects(records))
            yield replace(joined(list(blocks)), first_row=chunk.first_row + start)


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
        fields = [pa.field(name, pa.float64()) for name in self._fields]
        carried = [field for field in layout.carried if layout.nested or field.name not in self._fields]
        self._schema = pa.schema(
            [*carried, pa.field(INPUT, pa.struct(fields))] if layout.nested else carried + fields
        )

    def blocks(self, records: Records, first: int, end: int, sound: Any) -> Iterator[RowBlock]:
        """Lines `first` to `end`, in order; `sound`: those that Arrow may see."""
        wrong = first + np.flatnonzero(~sound[first:end])
        for stop in (*wrong.tolist(), end):
            if first < stop:
                yield from self._run(records, first, stop)
            if stop < end:
                yield self._one_by_one(records, stop, stop + 1)
            first = stop + 1

    def _run(self, records: Records, first: int, end: int) -> Iterator[RowBlock]:
        table = self._table(records, first, end)
        if table is not None:
            yield self._block(table)
        elif end - first <= FEW_LINES:
            yield self._one_by_one(records, first, end)
        else:
            middle = (first + end) // 2
            yield from self._run(records, first, middle)
            yield from self._run(records, middle, end)

    def _table(self, records: Records, first: int, end: int) -> pa.Table | None:
        unexpected = "ignore" if self._unknown_fields is None else "error"
        return arrow_table(records.bytes_of(first, end), self._schema, unexpected, end - first)

    def _block(self, table: pa.Table) -> RowBlock:
        columns = {name: whole(table.column(name)) for name in table.column_names}
        inputs, finder, unreadable = columns, FaultFinder(), None
        if self._layout.nested:
            struct = columns[INPUT]
            inputs = dict(zip(self._fields, struct.flatten(), strict=True))
            if struct.null_count:
                unreadable = struct.is_null().to_numpy(zero_copy_only=False)
                finder.add(np.flatnonzero(unreadable), problems.NOT_AN_OBJECT)
        carried = record_batch(self._layout.carried, columns, table.num_rows)
        finder.add_all(id_faults(carried, self._layout.wanted))
        return RowBlock(
            0,
            table.num_rows,
            carried,
            tuple(numbers.from_numeric(inputs[name]) for name in self._fields),
            faults=finder.found(),
            unreadable=unreadable,
        )

    def _one_by_one(self, records: Records, first: int, end: int) -> RowBlock:
        return _SlowBlock(self._layout, self._unknown_fields).read(
            [records.bytes_of(index, index + 1) for index in range(first, end)]
        )


@dataclass
class _SlowBlock:
    """A few lines, read as Python objects: the whole truth, slowly."""

    layout: Layout
    unknown_fields: UnknownFields | None

    def read(self, lines: Sequence[bytes]) -> RowBlock:
        """The block of these lines."""
        count, finder = len(lines), FaultFinder()
        unreadable = np.zeros(count, dtype=np.bool_)
        inputs: list[Mapping[str, object]] = []
        carried: list[Mapping[str, object]] = []
        broken = np.zeros(count, dtype=np.bool_)
        for row, line in enumerate(lines):
            whole_line = parsed_line(line)
            broken[row] = not isinstance(whole_line, dict)
            taken, fault = self._input(whole_line)
            carried.append(whole_line if isinstance(whole_line, dict) else {})
            inputs.append(taken)
            if fault is not None:
                unreadable[row] = True
                self._add(finder, row, fault)
            for unknown in self._unknown(carried[-1], taken, readable=fault is None):
                self._add(finder, row, unknown)
        batch = record_batch(self.layout.carried, self._carried(carried), count)
        finder.add_all(id_faults(batch, self.layout.wanted, broken))
        return RowBlock(
            0,
            count,
            batch,
            tuple(_number_column(name, inputs) for name in self.layout.wanted.field_names),
            faults=finder.found(),
            unreadable=unreadable,
        )

    def _input(self, line: object) -> tuple[Mapping[str, object], FieldFault | None]:
        """The object that holds the fields, or why there is none."""
        if line is None:
            return {}, problems.INVALID_JSON
        found = line.get(INPUT) if self.layout.nested and isinstance(line, dict) else line
        return (found, None) if isinstance(found, dict) else ({}, problems.NOT_AN_OBJECT)

    def _unknown(
        self, line: Mapping[str, object], taken: Mapping[str, object], *, readable: bool
    ) -> list[FieldFault]:
        """Keys that are neither fields nor carried."""
        if self.unknown_fields is None:
            return []
        carried = self.layout.carried.names
        fields = self.layout.wanted.field_names
        if not self.layout.nested:
            own: dict[object, object] = {
                key: value for key, value in taken.items() if key in fields or key not in carried
            }
            return self.unknown_fields(own) if readable else []
        beside = {key: None for key in line if key not in (*carried, INPUT)}
        advice = "This key belongs neither to the line nor to what is carried: remove it."
        outer = [FieldFault(pointer_to(key), "unknown_field", advice) for key in list(beside)[:20]]
        inner: dict[object, object] = dict(taken.items())
        return [*(self.unknown_fields(inner) if readable else []), *outer]

    def _carried(self, lines: Sequence[Mapping[str, object]]) -> dict[str, pa.Array]:
        mixed = self.layout.mixed
        return {
            field.name: carried_array(
                [line.get(field.name) for line in lines], field.type, mixed=field.name in mixed
            )
            for field in self.layout.carried
        }

    @staticmethod
    def _add(finder: FaultFinder, row: int, fault: FieldFault) -> None:
        """One fault more; where clients invent keys without end, they are no longer named."""
        named = fault if finder.kinds < KINDS_NAMED else problems.TOO_MANY_FAULTS
        finder.add(np.array([row]), named)


def parsed_line(line: bytes) -> object:
    """The value of a line; None when it is no JSON by the rule of strict_json, and for null."""
    try:
        return read_json(line)
    except JsonInvalid:
        return None


def arrow_table(content: bytes, schema: pa.Schema, unexpected: str, rows: int) -> pa.Table | None:
    """The lines by Arrow; None when it refuses one of them. Give it no line that does not look like an object."""
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
    """Whether lines are `{custom_id, input}`. Raises FileRefused where the first lines are no JSON at all."""
    lines = [line for line in top.split(b"\n")[:LOOKED_AT] if line.strip()]
    if lines and _begins_array(lines[0]):
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is one JSON array: write one object a line.")
    found = next((value for line in lines if isinstance(value := parsed_line(line), dict)), None)
    if found is None and len(lines) > 1:
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is not NDJSON: write one JSON object a line.")
    if found is None:
        return False
    return bool(wanted.fields) and {CUSTOM_ID, INPUT} <= set(found) and INPUT not in wanted.field_names


def _begins_array(line: bytes) -> bool:
    """Whether a first line opens the array that holds the whole file."""
    if not line.lstrip().startswith(b"["):
        return False
    value = parsed_line(line)
    return value is None or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _number_column(name: str, inputs: Sequence[Mapping[str, object]]) -> NumberColumn:
    """One field of some inputs, by the rules of single inputs."""
    cells = [found.get(name) for found in inputs]
    missing = np.array([cell is None for cell in cells])
    wrong = np.array([isinstance(cell, bool) or not isinstance(cell, int | float | None) for cell in cells])
    values = [
        0.0 if lacks or bad else _as_float(cell)
        for cell, lacks, bad in zip(cells, missing, wrong, strict=True)
    ]
    return NumberColumn(np.array(values), missing if missing.any() else None, wrong if wrong.any() else None)


def _as_float(number: Any) -> float:
    """A number as float64. An integer too large for one is out of every range, not infinite."""
    try:
        return float(number)
    except OverflowError:
        return FLOAT_MAX if number > 0 else -FLOAT_MAX
