"""A block of rows as a message: numbers and masks as plain buffers, carried columns as the buffers of Arrow, inputs as JSON.

What comes from a child is checked before it is believed: counts, types, and the offsets of texts.
"""

import json
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.field_codes import FieldCode, OtherCode
from models.pipelines import FieldFault
from models.pipelines.columns import CellFaults, Mask, NumberColumn
from service.batches.files.blocks import RowBlock
from service.batches.files.formats.carrying import record_batch
from service.batches.files.layouts import Layout
from service.batches.files.problems import FileProblem, FileRefused
from service.images.owned import OwnedFile
from service.parsing.channel import Buffer, Message, MessageInvalid

CODES: Final = frozenset(FieldCode)
NO_FILE: Final = -1
KIND: Final = "kind"
BLOCK, END, READ, BUSY, UNKNOWN, PLAN, REFUSED, FAILED = (
    "block",
    "end",
    "read",
    "busy",
    "unknown",
    "plan",
    "refused",
    "failed",
)


class JsonRows(Sequence[object]):
    """An input a row, each parsed when it is asked for: a list may take sixty times as much memory as its JSON."""

    def __init__(self, content: memoryview, ends: NDArray[np.int64]) -> None:
        self._content = content
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> object: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[object]: ...
    def __getitem__(self, row: int | slice) -> object:
        if isinstance(row, slice):
            return [self[each] for each in range(len(self))[row]]
        row = range(len(self))[row]
        start = self._ends[row - 1] if row else 0
        try:
            return json.loads(bytes(self._content[start : self._ends[row]]))
        except (ValueError, RecursionError):
            raise FileRefused(FileProblem.UNREADABLE, "A row of the file is nested too deep.") from None


class _Buffers:
    """Takes the buffers of a message, one after another."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._buffers: Iterator[Buffer] = iter(buffers)

    def next(self) -> Buffer:
        found = next(self._buffers, None)
        if found is None:
            raise MessageInvalid
        return found

    def array(self, kind: Any, count: int | None = None) -> NDArray[Any]:
        content = self.next()
        if len(content) % np.dtype(kind).itemsize:
            raise MessageInvalid
        found = np.frombuffer(content, kind)
        if count is not None and len(found) != count:
            raise MessageInvalid
        return found

    def mask(self, present: object, count: int) -> Mask | None:
        return self.array(np.uint8, count) != 0 if present is True else None


def sent_block(block: RowBlock) -> Message:
    """A block as a message."""
    carried = _whole_buffers(block.carried)
    buffers: list[Buffer] = [memoryview(each) for parts in carried for each in parts if each is not None]
    numbers = []
    for column in block.numbers:
        numbers.append(
            [
                column.missing is not None,
                column.wrong_type is not None,
                [text for _, text in column.hints],
            ]
        )
        masks = [column.missing, column.wrong_type, *(mask for mask, _ in column.hints)]
        buffers.append(_plain(column.values))
        buffers += [_plain(mask) for mask in masks if mask is not None]
    buffers += [_plain(block.faults.rows), _plain(block.faults.faults)]
    if block.unreadable is not None:
        buffers.append(_plain(block.unreadable))
    buffers += [each for each in block.files if each is not None]
    if block.values:
        texts = [json.dumps(each).encode() for each in block.values]
        buffers += [_plain(np.cumsum([len(text) for text in texts], dtype=np.int64)), b"".join(texts)]
    header = {
        KIND: BLOCK,
        "first_row": block.first_row,
        "count": block.count,
        "carried": [[each is not None for each in parts] for parts in carried],
        "numbers": numbers,
        "kinds": sent_faults(block.faults.kinds),
        "unreadable": block.unreadable is not None,
        "files": [each is not None for each in block.files],
        "values": bool(block.values),
        "decimal_mark": block.decimal_mark,
    }
    return Message(header, buffers)


def received_block(message: Message, layout: Layout, most_rows: int, owner: Hashable = None) -> RowBlock:
    """The block in a message, of at most `most_rows` rows; its files are `owner`'s. Raises MessageInvalid where it is none."""
    try:
        return _block(message, layout, most_rows, owner)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, pa.ArrowException):
        raise MessageInvalid from None


def sent_faults(faults: Sequence[FieldFault]) -> list[list[str]]:
    """Faults as JSON."""
    return [[fault.pointer, fault.code, fault.detail] for fault in faults]


def received_faults(told: Any) -> list[FieldFault]:
    """What `sent_faults` gave. Raises MessageInvalid, TypeError or ValueError."""
    return [FieldFault(_text(pointer), _code(code), _text(detail)) for pointer, code, detail in told]


def _block(message: Message, layout: Layout, most_rows: int, owner: Hashable) -> RowBlock:
    header, buffers = message.header, _Buffers(message.buffers)
    first_row, count = _whole(header["first_row"]), _whole(header["count"])
    if not 0 < count <= most_rows:
        raise MessageInvalid
    carried = _carried(header["carried"], buffers, layout.carried, count)
    numbers = tuple(_numbers(told, buffers, count) for told in header["numbers"])
    if len(numbers) not in (0, len(layout.wanted.fields)):
        raise MessageInvalid
    faults = _faults(header["kinds"], buffers, count)
    unreadable = buffers.mask(header["unreadable"], count)
    files = [OwnedFile(buffers.next(), owner) if present is True else None for present in header["files"]]
    values: Sequence[object] = _values(buffers, count) if header["values"] is True else ()
    if len(files) not in (0, count) or not (numbers or files or values or layout.wanted.by_value):
        raise MessageInvalid
    mark = header["decimal_mark"]
    return RowBlock(
        first_row,
        count,
        carried,
        numbers,
        files,
        values,
        faults,
        unreadable,
        None if mark is None else _text(mark),
    )


def _carried(told: Any, buffers: _Buffers, schema: pa.Schema, count: int) -> pa.RecordBatch:
    """The columns of a known schema. Arrow's own messages would do, but theirs may unpack to any size."""
    if len(told) != len(schema):
        raise MessageInvalid
    arrays = [
        pa.Array.from_buffers(
            field.type,
            count,
            [pa.py_buffer(buffers.next()) if present is True else None for present in parts],
        )
        for field, parts in zip(schema, told, strict=True)
    ]
    batch = record_batch(schema, dict(zip(schema.names, arrays, strict=True)), count)
    batch.validate(full=True)
    return batch


def _numbers(told: Any, buffers: _Buffers, count: int) -> NumberColumn:
    missing, wrong_type, hints = told
    values = buffers.array(np.float64, count)
    masks = buffers.mask(missing, count), buffers.mask(wrong_type, count)
    return NumberColumn(
        values, *masks, hints=tuple((buffers.array(np.uint8, count) != 0, _text(text)) for text in hints)
    )


def _faults(kinds: Any, buffers: _Buffers, count: int) -> CellFaults:
    known = tuple(received_faults(kinds))
    rows = buffers.array(np.int64)
    faults = buffers.array(np.int32, len(rows))
    if len(rows) and not (
        0 <= rows[0] <= rows[-1] < count
        and (np.diff(rows) >= 0).all()
        and 0 <= faults.min() <= faults.max() < len(known)
    ):
        raise MessageInvalid
    return CellFaults(rows, faults, known)


def _values(buffers: _Buffers, count: int) -> JsonRows:
    ends, content = buffers.array(np.int64, count), memoryview(buffers.next())
    if ends[0] < 0 or ends[-1] != len(content) or not (np.diff(ends) >= 0).all():
        raise MessageInvalid
    return JsonRows(content, ends)


def _whole_buffers(batch: pa.RecordBatch) -> list[list[pa.Buffer | None]]:
    """The buffers of each column, without what lies before and behind its rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    with pa.ipc.open_stream(sink.getvalue()) as stream:
        return [column.buffers() for column in stream.read_next_batch().columns]


def _plain(array: NDArray[Any]) -> memoryview:
    plain: Any = np.ascontiguousarray(array).view(np.uint8)
    return memoryview(plain) if len(array) else memoryview(b"")


def _code(code: object) -> FieldCode | OtherCode:
    text = _text(code)
    return FieldCode(text) if text in CODES else OtherCode(text)


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise MessageInvalid
    return number


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise MessageInvalid
    return text
