"""The child's side: inspects a file, or reads its chunks, and gets the file's bytes from the parent."""

import io
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from models.pipelines import FieldFault
from service.batches.files.apart import wire
from service.batches.files.formats import inspected, opened_reader
from service.batches.files.formats.archives import FAULTS  # noqa: F401 - every format is imported before the fork
from service.batches.files.formats.parquet import ParquetReader  # noqa: F401
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import Chunk, Limits
from service.batches.files.problems import FileProblem, FileRefused
from service.parsing.channel import Channel, ChannelClosed
from service.parsing.limits import confine
from service.seekable import SeekableFile

PIECE_BYTES: Final = 4 * 1024 * 1024
ASKED_BYTES: Final = 512 * 1024 * 1024  # what the parent sends is limited by the parent
SAID_BYTES: Final = 16 * 1024 * 1024
KEPT_KEYS: Final = 1000

COSTLY: Final = "The file takes more memory to decode than a file may. Write it with less compression, or in smaller files."


class LocalFile(io.FileIO):
    """A file of this machine that the parent has opened. It hears now and then that the child is busy with it."""

    def __init__(self, channel: Channel, descriptor: int) -> None:
        super().__init__(descriptor)
        self._channel = channel
        self._unsaid = 0

    def read(self, size: int | None = -1) -> bytes:
        """See RawIOBase."""
        content = super().read(-1 if size is None else size) or b""
        self._unsaid += len(content)
        if self._unsaid > SAID_BYTES:
            self._channel.send({wire.KIND: wire.BUSY})
            self._unsaid = 0
        return content


class AskedFile(SeekableFile):
    """A file whose bytes the parent reads."""

    def __init__(self, channel: Channel, size: int) -> None:
        super().__init__()
        self._channel = channel
        self._size = size
        self._place = 0

    def tell(self) -> int:
        """See RawIOBase."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See RawIOBase."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError("a place before the file")
        self._place = place
        return place

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes from here on, fewer at the end."""
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted <= PIECE_BYTES:
            return self._piece(wanted)
        content = bytearray()
        while len(content) < wanted and (piece := self._piece(min(PIECE_BYTES, wanted - len(content)))):
            content += piece
        return bytes(content)

    def _piece(self, size: int) -> bytes:
        if not size:
            return b""
        self._channel.send({wire.KIND: wire.READ, "start": self._place, "size": size})
        answer = self._channel.receive(most_bytes=ASKED_BYTES)
        self._place += len(answer.buffers[0])
        return bytes(answer.buffers[0])


class _UnknownFields:
    """Asks the parent, which has the model, for the faults of keys that the model does not take."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._known: dict[tuple[object, ...], list[FieldFault]] = {}

    def __call__(self, value: Mapping[object, object]) -> list[FieldFault]:
        keys = tuple(value)
        if keys not in self._known:
            if len(self._known) >= KEPT_KEYS:
                self._known.clear()
            self._channel.send({wire.KIND: wire.UNKNOWN, "keys": list(keys)})
            answer = self._channel.receive(most_bytes=0)
            self._known[keys] = wire.received_faults(answer.header["faults"])
        return self._known[keys]


def serve(warm: int, descriptors: Sequence[int]) -> None:
    """Do what the parent asks, within limits, until it closes the connection. The second descriptor is a file's."""
    confine(warm)
    channel = Channel(socket.socket(fileno=descriptors[0]))
    descriptor = descriptors[1] if len(descriptors) > 1 else None
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        asked = channel.receive(most_bytes=ASKED_BYTES)
        size = asked.header["size"]
        file = AskedFile(channel, size) if descriptor is None else LocalFile(channel, descriptor)
        if "wanted" in asked.header:
            _answered(channel, lambda: _inspect(channel, file, asked.header))
        else:
            _read(channel, file, asked.header)
    except ChannelClosed:
        return


def _inspect(channel: Channel, file: io.RawIOBase, asked: Mapping[str, Any]) -> None:
    wanted = Wanted.from_json(asked["wanted"])
    found = inspected(file, BatchFormat(asked["format"]), wanted, Limits(**asked["limits"]))
    header = {wire.KIND: wire.PLAN, "head": found.as_json()}
    channel.send(header, [chunk.as_bytes() for chunk in found.chunks])


def _read(channel: Channel, file: io.RawIOBase, asked: Mapping[str, Any]) -> None:
    """Read one chunk after another: a reader keeps its place."""
    layout = Layout.from_json(asked["layout"])
    unknown = _UnknownFields(channel) if asked["names_unknown"] else None
    limits, reader = Limits(**asked["limits"]), None
    while True:
        chunk = Chunk.from_bytes(bytes(channel.receive(most_bytes=ASKED_BYTES).buffers[0]))

        def blocks(chunk: Chunk = chunk) -> None:
            nonlocal reader
            if reader is None:
                reader = opened_reader(file, layout, unknown, limits)
            for block in reader.read(chunk):
                channel.send(*wire.sent_block(block))
            channel.send({wire.KIND: wire.END})

        _answered(channel, blocks)


def _answered(channel: Channel, work: Callable[[], None]) -> None:
    """Do the work, or say why it cannot be done."""
    try:
        work()
    except FileRefused as refused:
        channel.send(
            {
                wire.KIND: wire.REFUSED,
                "problem": refused.problem,
                "detail": refused.detail,
                "row": refused.row,
            }
        )
    except MemoryError:
        channel.send(
            {wire.KIND: wire.REFUSED, "problem": FileProblem.TOO_COSTLY, "detail": COSTLY, "row": None}
        )
    except ChannelClosed:
        raise
    except Exception as error:  # noqa: BLE001 - the edge of the process: a parser raises what it likes
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        channel.send({wire.KIND: wire.FAILED, "error": words})
