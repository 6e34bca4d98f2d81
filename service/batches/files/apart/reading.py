"""This side: what a file holds, as a child that parses it tells. Has the same functions as service.batches.files.formats.

The file stays here, and with it keys and connections; the child asks for bytes. A child that dies, or that goes beyond
what a file may cost, is one refused file.
"""

import io
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import structlog

from models.pipelines import Pipeline
from models.pipelines.rows import FieldPipeline
from service.batches.files import formats
from service.batches.files.apart import wire
from service.batches.files.blocks import BLOCK_ROWS, RowBlock
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import Chunk, Inspected, Limits, Plan
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import READ_BYTES, Seen, Source, not_looked_at, read_blocks
from service.parsing.channel import Buffer, ChannelClosed, Header, Message, MessageInvalid, MessageLate
from service.parsing.children import ChannelChild, ChildEnded, WarmParsers

# Of a child that parses and asks for nothing. A lease's step is longer.
SILENT_S: Final = 60.0
# Of all that a child takes for one request, beside what its parent takes to read.
REQUEST_S: Final = 120.0
REQUEST_S_PER_BYTE: Final = 2 / 2**20
# A file is read once or twice; of Parquet, a part may be read for every chunk.
READ_AGAIN: Final = 16
LEAST_READ_BYTES: Final = 4096
MOST_READ_BYTES: Final = 4 * 1024 * 1024
PLAN_BYTES: Final = 256 * 1024 * 1024
CARRIED_BYTES: Final = 128 * 1024 * 1024  # of the carried columns or inputs of a chunk, twice its own bytes
CELL_BYTES: Final = 12  # of a number, and its masks
ROW_BYTES: Final = 256
DETAIL_CHARS: Final = 8000

CRASHED: Final = "The file is damaged: it crashes what decodes it."
UNUSABLE: Final = "The file is damaged and cannot be decoded."
TOO_COSTLY: Final = (
    "The file takes more time or memory to decode than a file may. Write it with less compression, "
    "or in smaller files."
)

log = structlog.get_logger()
warm = WarmParsers("service.batches.files.apart.child")


class _Request:
    """What one child may take for one request."""

    def __init__(self, size_bytes: int, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s
        self._left_s = REQUEST_S + REQUEST_S_PER_BYTE * size_bytes
        self._left_bytes = READ_AGAIN * size_bytes + 2**28

    def message(self, child: ChannelChild, most_bytes: int) -> Message:
        """The child's next message. Raises FileRefused."""
        began = time.monotonic()
        try:
            return child.channel.receive(most_bytes=most_bytes, within_s=min(self._silent_s, self._left_s))
        except MessageLate:
            raise _refused(child.lost(late=True)) from None
        except MessageInvalid:
            raise _refused(child.lost(late=True)) from None
        except ChannelClosed:
            raise _refused(child.lost()) from None
        finally:
            self._left_s -= time.monotonic() - began

    def read(self, child: ChannelChild, file: io.RawIOBase, asked: Header) -> None:
        """Send the child bytes of the file. Raises FileRefused, and what reading raises."""
        start, size = asked.get("start"), asked.get("size")
        if (
            not isinstance(start, int)
            or not isinstance(size, int)
            or not 0 < size <= MOST_READ_BYTES
            or start < 0
        ):
            raise _refused(child.lost(late=True))
        self._left_bytes -= max(size, LEAST_READ_BYTES)
        if self._left_bytes < 0:
            raise _refused(child.lost(late=True))
        file.seek(start)
        sent(child, {}, [_full(file, size)])


def sent(child: ChannelChild, header: Header, buffers: Sequence[Buffer] = ()) -> None:
    """Send a child a message. Raises FileRefused if it does not take it."""
    try:
        child.channel.send(header, buffers, within_s=SILENT_S)
    except MessageLate:
        raise _refused(child.lost(late=True)) from None
    except ChannelClosed:
        raise _refused(child.lost()) from None


def inspect(source: Source, form: BatchFormat, wanted: Wanted, limits: Limits | None = None) -> Plan:
    """See formats.inspect."""
    return formats.inspect(source, form, wanted, limits, by=_inspected)


def reader_of(
    file: io.RawIOBase, layout: Layout, pipeline: Pipeline, limits: Limits | None = None
) -> "ApartReader":
    """See formats.reader_of."""
    return ApartReader(file, layout, pipeline, limits or Limits())


class ApartReader:
    """See blocks.Reader. One child for a file, until it is closed or a chunk is given up.

    `silent_s`: how long the child may parse without a word.
    """

    def __init__(
        self,
        file: io.RawIOBase,
        layout: Layout,
        pipeline: Pipeline,
        limits: Limits,
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self._silent_s = silent_s
        self._file = file
        self._layout = layout
        self._limits = limits
        self._pipeline = pipeline if isinstance(pipeline, FieldPipeline) else None
        self._size = file.seek(0, io.SEEK_END)
        self._child: ChannelChild | None = None
        self._owner = object()  # of the files in it: no other file's child reads them

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        child = self._child = self._child or self._started()
        try:
            sent(child, {}, [chunk.as_bytes()])
            yield from self._blocks(child, chunk)
        except MessageInvalid:
            raise _refused(child.lost(late=True)) from None
        except BaseException:
            self.close()  # it is in the middle of a chunk
            raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
        self._child = None

    def _started(self) -> ChannelChild:
        child = warm.fork(file=_descriptor(self._file))
        header = {
            "layout": self._layout.as_json(),
            "names_unknown": self._pipeline is not None,
            "limits": asdict(self._limits),
            "size": self._size,
        }
        sent(child, header)
        return child

    def _blocks(self, child: ChannelChild, chunk: Chunk) -> Iterator[RowBlock]:
        request, fields = _Request(self._size, self._silent_s), len(self._layout.wanted.fields)
        left_rows, left_bytes = chunk.rows, CARRIED_BYTES
        while True:
            most = BLOCK_ROWS * (CELL_BYTES * fields + ROW_BYTES) + left_bytes
            message = request.message(child, most)
            if message.header.get(wire.KIND) == wire.BLOCK:
                block = wire.received_block(message, self._layout, left_rows, self._owner)
                left_rows -= block.count
                if not block.files:
                    left_bytes -= _carried_bytes(block, message)
                if left_bytes < 0:
                    raise _refused(child.lost(late=True))
                yield block
            elif message.header.get(wire.KIND) == wire.UNKNOWN and self._pipeline is not None:
                faults = self._pipeline.unknown_fields(_keys(message.header))
                sent(child, {"faults": wire.sent_faults(faults)})
            elif message.header.get(wire.KIND) == wire.END:
                return
            else:
                _seen_to(request, child, self._file, message.header)


def _inspected(
    file: io.RawIOBase, form: BatchFormat, wanted: Wanted, limits: Limits, seen: Seen
) -> Inspected:
    """See formats.inspected; `seen` gets the bytes in their order, each once."""
    size = file.seek(0, io.SEEK_END)
    followed = _Followed(file, seen)
    child, request = warm.fork(file=_descriptor(file)), _Request(size)
    try:
        asked = {"wanted": wanted.as_json(), "format": form, "limits": asdict(limits), "size": size}
        sent(child, asked)
        while True:
            message = request.message(child, PLAN_BYTES)
            if message.header.get(wire.KIND) == wire.PLAN:
                break
            _seen_to(request, child, followed, message.header)
    finally:
        child.end()
    if seen is not not_looked_at:
        followed.finish()
    try:
        chunks = tuple(Chunk.from_bytes(bytes(each)) for each in message.buffers)
        found = Inspected.from_json(message.header["head"], chunks)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise FileRefused(FileProblem.UNREADABLE, UNUSABLE) from None
    if found.layout.format is not form or _asked(found.layout.wanted) != _asked(wanted):
        raise FileRefused(FileProblem.UNREADABLE, UNUSABLE)
    return found


def _asked(wanted: Wanted) -> Wanted:
    """What an inspection never changes."""
    return replace(wanted, id_column=None, carry=())


class _Followed(io.RawIOBase):
    """A file that shows `seen` its bytes in order, whatever is read when."""

    def __init__(self, file: io.RawIOBase, seen: Seen) -> None:
        super().__init__()
        self._file = file
        self._seen = seen
        self._shown = 0
        self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See RawIOBase."""
        self._place = self._file.seek(offset, whence)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """See RawIOBase."""
        content = self._file.read(-1 if size is None else size) or b""
        new = self._place + len(content) - self._shown
        if self._place <= self._shown and new > 0:
            self._seen(content[len(content) - new :])
            self._shown += new
        self._place += len(content)
        return content

    def finish(self) -> None:
        """Show what nobody has read."""
        self._file.seek(self._shown)
        for _ in read_blocks(self._file, self._seen):
            pass


def _descriptor(file: io.RawIOBase) -> int | None:
    """That of a plain file of this machine, which a child may read by itself."""
    try:
        descriptor = file.fileno()
    except OSError:
        return None
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _seen_to(request: _Request, child: ChannelChild, file: io.RawIOBase, header: Header) -> None:
    """Answer what every child may ask. Raises FileRefused for what it cannot do, or should not ask."""
    match header.get(wire.KIND):
        case wire.READ:
            request.read(child, file, header)
        case wire.BUSY:
            file.read(0)  # whoever watches the file knows that it is being read
        case wire.REFUSED:
            raise _as_refused(header)
        case wire.FAILED:
            log.error("parsing_failed", error=str(header.get("error"))[:200])
            raise FileRefused(FileProblem.UNREADABLE, UNUSABLE)
        case _:
            raise _refused(child.lost(late=True))


def _as_refused(header: Header) -> FileRefused:
    problem, detail, row = (header.get(name) for name in ("problem", "detail", "row"))
    if problem not in set(FileProblem) or not isinstance(detail, str) or not isinstance(row, int | None):
        return FileRefused(FileProblem.UNREADABLE, UNUSABLE)
    refused = FileRefused(FileProblem(problem), detail[:DETAIL_CHARS])
    refused.row = row  # the detail has it already
    return refused


def _refused(ended: ChildEnded) -> FileRefused:
    if ended.too_costly:
        return FileRefused(FileProblem.TOO_COSTLY, TOO_COSTLY)
    return FileRefused(FileProblem.UNREADABLE, CRASHED)


def _full(file: io.RawIOBase, size: int) -> bytes:
    """So many bytes, though a store may give a few at a time; fewer at the end."""
    content = file.read(min(size, MOST_READ_BYTES)) or b""
    while len(content) < size and (more := file.read(min(READ_BYTES, size - len(content)))):
        content += more
    return content


def _carried_bytes(block: RowBlock, message: Message) -> int:
    numbers = sum(column.values.nbytes for column in block.numbers)
    return max(0, sum(len(each) for each in message.buffers) - numbers)


def _keys(header: Header) -> dict[object, object]:
    keys: Any = header.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise MessageInvalid
    return dict.fromkeys(keys)
