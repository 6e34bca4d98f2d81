"""The footer of Parquet without Arrow: the names of columns, and why Arrow does not decode one: it may be encrypted, or
compressed in an unknown way.

The footer is read by our own reader: Arrow aborts the process where the metadata of a column is damaged.
Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import io
from collections.abc import Collection, Iterator
from typing import Any, Final

from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.thrift import ThriftInvalid, read_struct

LOOKED_AT_BYTES: Final = 4 * 1024 * 1024
SCHEMA, ROW_GROUPS, COLUMNS = 2, 4, 1
NAME, CHILDREN = 4, 5  # of a SchemaElement
META_DATA, CRYPTO, ENCRYPTED = 3, 8, 9  # of a ColumnChunk
PATH, CODEC = 3, 4  # of ColumnMetaData
KNOWN_CODECS: Final = frozenset((0, 1, 2, 4, 5, 6, 7))  # none, Snappy, Gzip, Brotli, LZ4, Zstandard, LZ4_RAW

ADVICE: Final = "in a way that is not read here: use Snappy, Zstandard or Gzip, without encryption."


def check_packing(file: io.RawIOBase, names: Collection[str]) -> None:
    """Raises FileRefused (column_unsupported) where one of the columns `names` is encrypted or compressed in an unknown way."""
    try:
        for name, column in _columns(file):
            encrypted = CRYPTO in column or ENCRYPTED in column
            if name in names and (encrypted or _codec(column) not in KNOWN_CODECS):
                raise FileRefused(
                    FileProblem.COLUMN_UNSUPPORTED, f"The column {name} is encrypted or compressed {ADVICE}"
                )
    except (ThriftInvalid, KeyError, TypeError, ValueError, IndexError):
        return  # damaged: how columns are compressed is unknown


def column_names(file: io.RawIOBase, most_bytes: int) -> tuple[str, ...] | None:
    """The columns of a file, nested ones as one; None if its footer is damaged or has more than `most_bytes`."""
    try:
        footer = _footer(file, most_bytes)
        return None if footer is None else tuple(_names(footer[SCHEMA][1][1]))
    except (ThriftInvalid, KeyError, TypeError, ValueError, IndexError):
        return None


def _names(elements: Any) -> Iterator[str]:
    """The names of the root's children: elements are listed depth first, the root before all."""
    below = 0  # elements of a nested column that are still to come
    for element in elements[1:]:
        if not below:
            yield element[NAME][1].decode()
        below = max(below - 1, 0) + (int(element[CHILDREN][1]) if CHILDREN in element else 0)


def _footer(file: io.RawIOBase, most_bytes: int) -> Any:
    """The FileMetaData of a file; None if it has more bytes."""
    end = file.seek(0, io.SEEK_END) - 8
    length = int.from_bytes(_read(file, end, 4), "little")
    return read_struct(_read(file, end - length, length)) if length <= most_bytes else None


def _read(file: io.RawIOBase, start: int, count: int) -> bytes:
    """`count` bytes, though a store gives a few at a time. Raises ValueError for a place before the file."""
    if start < 0:
        raise ValueError("the file is shorter")
    file.seek(start)
    content = b""
    while len(content) < count and (more := file.read(count - len(content))):
        content += more
    return content


def _columns(file: io.RawIOBase) -> Iterator[tuple[str, Any]]:
    """Name and ColumnChunk of the columns of the first row group."""
    footer = _footer(file, LOOKED_AT_BYTES)
    if footer is None:
        return
    for column in footer[ROW_GROUPS][1][1][0][COLUMNS][1][1]:
        if META_DATA in column:
            yield b".".join(column[META_DATA][1][PATH][1][1]).decode(), column


def _codec(column: Any) -> int:
    return int(column[META_DATA][1][CODEC][1])
