"""Files that cost far more to decode than to send, made by code: none is kept as a binary."""

import io
import struct
import tarfile
import zipfile
import zlib
from functools import cache
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

REPEATED_ROWS: Final = 65_536
MANY_ROWS: Final = 20_000_000
INDEX_ROWS: Final = 8_000_000
CHAINED: Final = 330


def parquet_of(table: pa.Table, **options: object) -> bytes:
    """The table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def repeated_text(fields: tuple[str, ...], size_bytes: int = 1024**2) -> bytes:
    """Parquet whose column `note` is one text of a dictionary in every row: some hundred bytes that stand for 64 GiB."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0] * REPEATED_ROWS, pa.int32()), pa.array(["x" * size_bytes])
    )
    numbers = {name: pa.array([1.0] * REPEATED_ROWS) for name in fields}
    return parquet_of(pa.table({"note": words, **numbers}), compression="zstd", store_schema=False)


def long_ids(fields: tuple[str, ...], rows: int = 16, size_bytes: int = 30 * 1024**2) -> bytes:
    """Parquet whose every second id has 30 MB: one and a half megabytes as a file."""
    ids = pa.DictionaryArray.from_arrays(
        pa.array([row % 2 for row in range(rows)], pa.int32()), pa.array(["x" * size_bytes, "y"])
    )
    numbers = {name: pa.array([1.0] * rows) for name in fields}
    return parquet_of(pa.table({"id": ids, **numbers}), compression="snappy")


def many_rows(fields: tuple[str, ...]) -> bytes:
    """Parquet with 20 million equal rows."""
    ones = pa.chunked_array([pa.array([1.0] * 1_000_000)] * (MANY_ROWS // 1_000_000))
    table = pa.table(dict.fromkeys(fields, ones))
    return parquet_of(table, compression="zstd", row_group_size=MANY_ROWS)


def zip_with_endless_index() -> bytes:
    """A ZIP of some kilobytes whose index has 8 million rows."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.png", b"x")
        archive.writestr("index.csv", b"file\n" + b"a\n" * INDEX_ROWS)
    return file.getvalue()


def tar_with_chained_headers(count: int = CHAINED) -> bytes:
    """A TAR whose member has as many headers of long names before it, each a header of the next."""
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2
    chain = (name.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(tarfile.BLOCKSIZE, b"\0")) * count
    return chain + tarfile.TarInfo("a.png").tobuf() + bytes(2 * tarfile.BLOCKSIZE)


@cache
def grey_png(width: int, height: int) -> bytes:
    """A black picture: some kilobytes for any number of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
