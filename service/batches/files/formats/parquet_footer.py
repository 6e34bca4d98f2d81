"""Why Arrow does not decode a column of Parquet, from the footer: it may be encrypted, or compressed in an unknown way.

The footer is read by our own reader: Arrow aborts the process where the metadata of a column is damaged.
Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import io
from collections.abc import Collection, Iterator
from typing import Any, Final

from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.thrift import ThriftInvalid, read_struct

LOOKED_AT_BYTES: Final = 4 * 1024 * 1024
ROW_GROUPS, COLUMNS = 4, 1
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


def _columns(file: io.RawIOBase) -> Iterator[tuple[str, Any]]:
    """Name and ColumnChunk of the columns of the first row group."""
    end = file.seek(0, io.SEEK_END) - 8
    file.seek(end)
    length = int.from_bytes((file.read(4) or b""), "little")
    if length > LOOKED_AT_BYTES:
        return
    file.seek(end - length)
    footer = read_struct(file.read(length) or b"")
    for column in footer[ROW_GROUPS][1][1][0][COLUMNS][1][1]:
        if META_DATA in column:
            yield b".".join(column[META_DATA][1][PATH][1][1]).decode(), column


def _codec(column: Any) -> int:
    return int(column[META_DATA][1][CODEC][1])
