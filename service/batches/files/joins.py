"""All parts of one kind as one file, in the order of chunks, readable from any position: nothing is rewritten.

NDJSON parts follow each other, those of CSV behind a header. Of Parquet, each part's row group is taken as it is, without
its magic and footer, and one footer with moved offsets stands behind them all (parquet-format, FileMetaData); it is made
once, when a batch is finalized. Memory stays at the frames of one part.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from models.lazy import pa, pq
from service.batches.files.accounting import Unaccounted
from service.batches.files.output_names import OutputFormat
from service.batches.files.parts import MAGIC, Part, PartStore
from service.batches.files.thrift import Struct, read_struct, written_struct
from service.crypto import FRAME_BYTES
from service.sealed import FEW_FRAMES, SealedFile

# Fields of Parquet's thrift structs: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
NUM_ROWS, ROW_GROUPS = 3, 4  # FileMetaData
COLUMNS, FILE_OFFSET, ORDINAL = 1, 5, 7  # RowGroup
CHUNK_OFFSET, META_DATA, OFFSET_INDEX, COLUMN_INDEX = 2, 3, 4, 6  # ColumnChunk
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, BLOOM_FILTER = 9, 10, 11, 14  # ColumnMetaData
GREATEST_ORDINAL: Final = 2**15 - 1


def nothing() -> None:
    """The default of `between`."""


class JoinedFile:
    """The joined file of some parts. `footer` is what `joined_footer` made, stored or not; `header` is of CSV."""

    def __init__(
        self,
        store: PartStore,
        parts: Sequence[Part],
        footer: Part | memoryview | None = None,
        header: Part | memoryview | None = None,
    ) -> None:
        self._store = store
        head = 0 if footer is None else len(MAGIC)
        self._pieces: list[tuple[Part | memoryview, int, int]] = [
            (part, head, part.body_bytes) for part in parts
        ]
        if footer is not None:
            self._pieces.append((footer, 0, _size_bytes(footer)))
        if header is not None:
            self._pieces.insert(0, (header, 0, _size_bytes(header)))
        self._is_csv = header is not None
        self._ends = list(accumulate((end - start for _, start, end in self._pieces), initial=head))
        self._head = MAGIC[:head]

    @property
    def size_bytes(self) -> int:
        """Length of the whole file."""
        return self._ends[-1]

    def read(
        self, start: int = 0, end: int | None = None, *, between: Callable[[], object] = nothing
    ) -> Iterator[bytes]:
        """Bytes `start` to `end`, as HTTP's half-open ranges; `between` is called before each piece, and may raise.

        Raises PayloadUnreadable, BlobUnavailable, FileNotFoundError.
        """
        stop = self.size_bytes if end is None else min(end, self.size_bytes)
        if start < min(stop, len(self._head)):
            yield self._head[start:stop]
            start = len(self._head)
        while start < stop:
            index = bisect_right(self._ends, start) - 1
            part, first, _ = self._pieces[index]
            with self._opened(part) as file:
                file.seek(first + start - self._ends[index])
                piece_stop = min(stop, self._ends[index + 1])
                while start < piece_stop:
                    between()
                    content = file.read(min(FRAME_BYTES, piece_stop - start))
                    yield content
                    start += len(content)

    def _opened(self, piece: Part | memoryview) -> SealedFile | io.BytesIO:
        return (
            self._store.open(piece, kept_frames=FEW_FRAMES) if isinstance(piece, Part) else io.BytesIO(piece)
        )

    def digest(self, between: Callable[[], object] = nothing) -> tuple[str, int]:
        """SHA-256 of the whole file, read once, and how many rows of text it holds: lines of NDJSON, records of CSV."""
        digest, lines = hashlib.sha256(), LineCount(quoted=self._is_csv)
        for content in self.read(between=between):
            digest.update(content)
            lines.add(content)
        return digest.hexdigest(), lines.count - self._is_csv


class LineCount:
    """Counts the lines of a text in pieces; with `quoted` those that end outside of quotes."""

    def __init__(self, *, quoted: bool) -> None:
        self._quoted = quoted
        self._in_quotes = False
        self.count = 0

    def add(self, content: bytes) -> None:
        """The next piece."""
        if not self._quoted:
            self.count += content.count(b"\n")
            return
        for piece in content.split(b'"'):
            if not self._in_quotes:
                self.count += piece.count(b"\n")
            self._in_quotes = not self._in_quotes
        self._in_quotes = not self._in_quotes  # behind the last piece there is no quote


def _size_bytes(piece: Part | memoryview) -> int:
    return piece.size_bytes if isinstance(piece, Part) else len(piece)


def check_columns(store: PartStore, part: Part, form: OutputFormat, schema: pa.Schema) -> None:
    """Raise Unaccounted if the columns of a part differ from the file's, as a worker of another release may have written them.

    Of CSV it tells by the number of cells of the first record. A line of NDJSON names its values itself.
    """
    columns = len(schema)
    if form is OutputFormat.CSV:
        with store.open(part) as file:
            columns = _cells_of_first(file)
    elif form is OutputFormat.PARQUET:
        groups = _footer_of_part(store, part)[ROW_GROUPS][1][1]
        columns = len(groups[0][COLUMNS][1][1])
    if columns != len(schema):
        raise Unaccounted(f"a part has {columns} columns and the file {len(schema)}: run the batch again")


def _cells_of_first(file: SealedFile) -> int:
    """The cells of the first record of CSV, of any length."""
    cells, in_quotes = 1, False
    while content := file.read(FRAME_BYTES):
        for number, piece in enumerate(content.split(b'"')):
            in_quotes ^= number > 0
            if not in_quotes:
                record, end, _ = piece.partition(b"\n")
                cells += record.count(b",")
                if end:
                    return cells
    return cells


def joined_footer(store: PartStore, parts: Sequence[Part], schema: pa.Schema) -> memoryview:
    """What follows the row groups of all parts: footer, its length, magic. `schema` is for a file without parts."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    joined = read_struct(_footer_of(sink.getvalue().to_pybytes()))
    groups: list[Struct] = []
    offset = len(MAGIC)
    for part in parts:
        footer = _footer_of_part(store, part)
        if not groups:
            joined = dict(footer)
        for group in footer[ROW_GROUPS][1][1]:
            groups.append(_moved_group(group, offset - len(MAGIC), len(groups)))
        offset += part.body_bytes - len(MAGIC)
    joined[NUM_ROWS] = (joined[NUM_ROWS][0], sum(part.rows for part in parts))
    joined[ROW_GROUPS] = (joined[ROW_GROUPS][0], (12, groups))
    content = written_struct(joined)
    return memoryview(content + len(content).to_bytes(4, "little") + MAGIC)


def _footer_of_part(store: PartStore, part: Part) -> Struct:
    with store.open(part) as file:
        file.seek(part.body_bytes)
        return read_struct(file.read(part.size_bytes - 8 - part.body_bytes))


def _footer_of(content: bytes) -> bytes:
    length = int.from_bytes(content[-8:-4], "little")
    return content[-8 - length : -8]


def _moved_group(group: Struct, shift: int, ordinal: int) -> Struct:
    kind, columns = group[COLUMNS][1]
    moved = _moved(group, (FILE_OFFSET,), shift)
    moved[COLUMNS] = (group[COLUMNS][0], (kind, [_moved_column(column, shift) for column in columns]))
    if ORDINAL in moved:
        if ordinal > GREATEST_ORDINAL:
            del moved[ORDINAL]
        else:
            moved[ORDINAL] = (moved[ORDINAL][0], ordinal)
    return moved


def _moved_column(column: Struct, shift: int) -> Struct:
    moved = _moved(column, (CHUNK_OFFSET, OFFSET_INDEX, COLUMN_INDEX), shift)
    kind, table = moved[META_DATA]
    moved[META_DATA] = (kind, _moved(table, (DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, BLOOM_FILTER), shift))
    return moved


def _moved(table: Struct, fields: Sequence[int], shift: int) -> Struct:
    """The struct with some of its offsets moved. An offset of 0 says that there is none: it stays."""
    moved = dict(table)
    for number in fields:
        if number in moved and moved[number][1]:
            moved[number] = (moved[number][0], moved[number][1] + shift)
    return moved
