"""Byte ranges of HTTP (RFC 9110, 14): one range of a file whose strong entity tag is known. Knows no files."""

import re
from dataclasses import dataclass

from service.errors import RangeUnsatisfiable

# One range of bytes. Numbers past any file's length are good; the bound keeps their parsing cheap.
ONE_RANGE = re.compile(r"bytes=[ \t]*(\d{0,30})-(\d{0,30})[ \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """Bytes [`start`, `end`) of a file of `size_bytes`."""

    start: int
    end: int
    size_bytes: int

    @property
    def content_range(self) -> str:
        """The header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.size_bytes}"


def range_of(header: str | None, size_bytes: int) -> ByteRange | None:
    """The range that the header Range asks for; None for the whole file.

    Malformed ranges, several ranges and units other than bytes are ignored, as RFC 9110 allows. Raises
    RangeUnsatisfiable when no byte of the file lies in the range.
    """
    shape = ONE_RANGE.fullmatch(header or "")
    if shape is None or not (shape[1] or shape[2]):
        return None
    if not shape[1]:
        start, end = max(0, size_bytes - int(shape[2])), size_bytes
    else:
        start, end = int(shape[1]), min(int(shape[2]) + 1, size_bytes) if shape[2] else size_bytes
        if shape[2] and int(shape[2]) < start:
            return None
    if start >= size_bytes:
        raise RangeUnsatisfiable(size_bytes)
    return ByteRange(start, end, size_bytes)


def wanted_range(header: str | None, if_range: str | None, *, etag: str, size_bytes: int) -> ByteRange | None:
    """The same, but the whole file when If-Range does not match: a tag other than `etag`, or a date.

    `etag` is strong and quoted. Raises RangeUnsatisfiable.
    """
    if if_range is not None and if_range.strip() != etag:
        return None
    return range_of(header, size_bytes)
