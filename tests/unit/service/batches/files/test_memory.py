"""Memory is bounded by the chunk, whatever the size of the file."""

import io
import tracemalloc

import pyarrow as pa
import pytest

from service.batches.files.formats import inspect, reader_of, wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.sources import Identity
from tests.unit.service.batches.files.example_batches import pipeline

MB = 1024 * 1024


class Endless(io.RawIOBase):
    """A file of a head and a record repeated to `size` bytes; nothing of it is kept."""

    def __init__(self, head: bytes, record: bytes, size: int) -> None:
        super().__init__()
        self.head, self.record, self.size = head, record * (MB // len(record) + 1), size
        self.period = len(record)
        self.place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io."""
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def tell(self) -> int:
        """See io."""
        return self.place

    def read(self, size: int | None = -1) -> bytes:
        """See io."""
        size = min(self.size - self.place if size is None or size < 0 else size, self.size - self.place)
        parts = []
        while size > 0:
            if self.place < len(self.head):
                part = self.head[self.place : self.place + size]
            else:
                start = (self.place - len(self.head)) % self.period
                part = self.record[start : start + size]
            parts.append(part)
            self.place += len(part)
            size -= len(part)
        return b"".join(parts)


class EndlessSource:
    """The file as a source."""

    def __init__(self, head: bytes, record: bytes, size: int) -> None:
        self.arguments = head, record, size

    def identity(self) -> Identity:
        """See Source."""
        return Identity(self.arguments[2], "", "0" * 64)

    def open(self) -> io.RawIOBase:
        """See Source."""
        return Endless(*self.arguments)


FILES = {
    BatchFormat.CSV: (b"id,dose,age\n", b'"case",12.5,61\n'),
    BatchFormat.NDJSON: (b"", b'{"dose":12.5,"age":61}\n'),
}


@pytest.mark.parametrize("form", FILES)
def test_a_large_file_is_planned_and_read_in_little_memory(form: BatchFormat) -> None:
    head, record = FILES[form]
    size = len(head) + len(record) * (120 * MB // len(record))
    source = EndlessSource(head, record, size)
    limits = Limits(rows=50_000, size_bytes=4 * MB)
    arrow_before = pa.default_memory_pool().bytes_allocated()
    tracemalloc.start()
    try:
        plan = inspect(source, form, wanted_of(pipeline()), limits)
        assert plan.rows == (size - len(head)) // len(record)
        reader, rows = reader_of(source.open(), plan.layout, pipeline()), 0
        for chunk in plan.chunks[:3] + plan.chunks[-2:]:
            for block in reader.read(chunk):
                rows += block.count
                assert pa.default_memory_pool().bytes_allocated() - arrow_before < 40 * MB
            del block
        assert rows == sum(chunk.rows for chunk in plan.chunks[:3] + plan.chunks[-2:])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * MB


@pytest.mark.parametrize("form", FILES)
def test_a_line_of_two_gigabytes_is_never_held(form: BatchFormat) -> None:
    head = FILES[form][0] + FILES[form][1]
    source = EndlessSource(head, b"x" * 1000, 2 * 1024 * MB)
    tracemalloc.start()
    try:
        plan = inspect(source, form, wanted_of(pipeline()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [chunk.rows for chunk in plan.chunks] == [1, 1]
    [block] = reader_of(source.open(), plan.layout, pipeline()).read(plan.chunks[1])
    assert [kind.code for kind in block.faults.kinds] == ["row_too_large"]
    assert peak < 20 * MB
