"""The plan of a batch: its rows cut into chunks, each with its position in the source. Made once, in validation.

A plan may hold names and ids of patients, so it is stored sealed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from models.lazy import np
from service.batches.files.columns import Columns
from service.batches.files.layouts import Layout
from service.batches.files.sources import Identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS: Final = 65_536
SIZE_BYTES: Final = 32 * 1024 * 1024
ROW_BYTES: Final = 1024 * 1024
VALUE_BYTES: Final = 8 * 1024 * 1024
MEMBERS: Final = 500_000
FILE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """How large a chunk and its pieces may be. A worker holds about one chunk's outputs and a block of its rows.

    `rows` and `size_bytes` are of a chunk; `row_bytes` of one row of CSV or NDJSON,
    `value_bytes` of a line of NDJSON whose input may hold lists, such as a recording; `members` of an archive,
    `file_bytes` of one of its files, decompressed.
    """

    rows: int = ROWS
    size_bytes: int = SIZE_BYTES
    row_bytes: int = ROW_BYTES
    value_bytes: int = VALUE_BYTES
    members: int = MEMBERS
    file_bytes: int = FILE_BYTES


class RowGroups(NamedTuple):
    """Where a chunk of Parquet begins: behind `skip` rows of a row group."""

    first: int
    skip: int


class ByteRange(NamedTuple):
    """Where a chunk of CSV or NDJSON stands. `oversized`: it is one row that is too large to be read."""

    start: int
    end: int
    oversized: bool = False


class Member(NamedTuple):
    """One file of an archive: where it begins, its size in the archive and out of it, how it is packed.

    `method` is ZIP's (0: stored, 8: deflate); `crc` is CRC-32, -1 where there is none. `fault`, where not empty,
    is the code why it cannot be read.
    """

    offset: int
    packed_bytes: int
    size_bytes: int
    method: int = 0
    crc: int = -1
    fault: str = ""


@dataclass(frozen=True)
class Members:
    """The files of a chunk, a row each, and their carried columns as one Arrow IPC message.

    `details` says of files with a fault by their place in the chunk, from 0, what is wrong with their line of the index.
    """

    files: tuple[Member, ...]
    carried: bytes
    details: tuple[tuple[int, str], ...] = ()


Place = RowGroups | ByteRange | Members


@dataclass(frozen=True)
class Chunk:
    """A run of rows, scored at once. `number` counts from 0, `first_row` from 1.

    `duplicates` are those of its row numbers whose id an earlier row has: int64, rising. `only`: the row numbers, int64,
    rising, that are scored and accounted for; None: all of them.
    """

    number: int
    first_row: int
    rows: int
    place: Place
    duplicates: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    only: NDArray[np.int64] | None = None

    @property
    def wanted(self) -> int:
        """How many rows are accounted for."""
        return self.rows if self.only is None else len(self.only)

    def as_bytes(self) -> bytes:
        """As JSON, the same bytes each time."""
        table = {
            "number": self.number,
            "first_row": self.first_row,
            "rows": self.rows,
            "place": _place_table(self.place),
            "duplicates": _encoded(self.duplicates),
            "only": None if self.only is None else _encoded(self.only),
        }
        return json.dumps(table, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Chunk:
        """What `as_bytes` gave."""
        table = json.loads(content)
        return cls(
            table["number"],
            table["first_row"],
            table["rows"],
            _place(table["place"]),
            _decoded(table["duplicates"]),
            None if table["only"] is None else _decoded(table["only"]),
        )


class Inspected(NamedTuple):
    """What the inspection of an open file found. `rows` was counted without reading the rows' values.

    `columns` is None for an archive that has no index.
    """

    layout: Layout
    rows: int
    chunks: tuple[Chunk, ...]
    columns: Columns | None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values, without its chunks."""
        columns = None if self.columns is None else self.columns.as_json()
        return {"layout": self.layout.as_json(), "rows": self.rows, "columns": columns}

    @classmethod
    def from_json(cls, table: dict[str, Any], chunks: tuple[Chunk, ...]) -> Self:
        """What `as_json` gave, after a round trip through JSON, with its chunks."""
        columns = table["columns"]
        return cls(
            Layout.from_json(table["layout"]),
            int(table["rows"]),
            chunks,
            None if columns is None else Columns.from_json(columns),
        )


@dataclass(frozen=True)
class Plan:
    """What validation found: how to read the file, how many rows it has, and its chunks in order.

    `identity.sha256` is that of the file's plain bytes; for `rows` and `columns` see Inspected.
    """

    layout: Layout
    identity: Identity
    rows: int
    chunks: tuple[Chunk, ...]
    columns: Columns | None = None

    @property
    def duplicates(self) -> int:
        """How many rows repeat an earlier id."""
        return sum(len(chunk.duplicates) for chunk in self.chunks)


def head_of(plan: Plan) -> bytes:
    """What holds for all chunks of a plan: layout, identity and columns (see columns.read_columns), as JSON."""
    columns = None if plan.columns is None else plan.columns.as_json()
    head = {"layout": plan.layout.as_json(), "identity": asdict(plan.identity), "columns": columns}
    return json.dumps(head).encode()


def read_head(content: bytes) -> tuple[Layout, Identity]:
    """Layout and identity of what `head_of` gave."""
    head = json.loads(content)
    return Layout.from_json(head["layout"]), Identity(**head["identity"])


def narrowed(chunks: Sequence[Chunk], wanted: NDArray[np.int64]) -> tuple[Chunk, ...]:
    """The plan reduced to the rows of these numbers, rising."""
    found: list[Chunk] = []
    for chunk in chunks:
        first, last = np.searchsorted(wanted, (chunk.first_row, chunk.first_row + chunk.rows))
        if first < last:
            found.append(replace(chunk, number=len(found), only=wanted[first:last]))
    return tuple(found)


def cut_after(chunks: Sequence[Chunk], rows: int) -> tuple[Chunk, ...]:
    """The chunks of the first `rows` rows, cut to account for these alone."""
    kept = []
    for chunk in chunks:
        left = rows + 1 - chunk.first_row
        if left > 0:
            ends = chunk.first_row + min(left, chunk.rows)
            only = None if left >= chunk.rows else np.arange(chunk.first_row, ends)
            kept.append(replace(chunk, only=only))
    return tuple(kept)


def with_duplicates(chunks: Sequence[Chunk], rows: NDArray[np.int64]) -> tuple[Chunk, ...]:
    """The chunks, each with its share of the duplicate `rows`, int64, rising."""
    starts = np.searchsorted(rows, [chunk.first_row for chunk in chunks])
    ends = np.searchsorted(rows, [chunk.first_row + chunk.rows for chunk in chunks])
    return tuple(
        replace(chunk, duplicates=rows[start:end])
        for chunk, start, end in zip(chunks, starts, ends, strict=True)
    )


def _encoded(rows: NDArray[np.int64]) -> str:
    return base64.b64encode(rows.astype("<i8").tobytes()).decode()


def _decoded(encoded: str) -> NDArray[np.int64]:
    return np.frombuffer(base64.b64decode(encoded), "<i8").astype(np.int64)


def _place_table(place: Place) -> dict[str, Any]:
    if isinstance(place, Members):
        return {
            "files": [list(file) for file in place.files],
            "carried": base64.b64encode(place.carried).decode(),
            **({"details": place.details} if place.details else {}),
        }
    return {"groups" if isinstance(place, RowGroups) else "range": list(place)}


def _place(table: dict[str, Any]) -> Place:
    if "groups" in table:
        return RowGroups(*table["groups"])
    if "range" in table:
        return ByteRange(*table["range"])
    return Members(
        tuple(Member(*file) for file in table["files"]),
        base64.b64decode(table["carried"]),
        tuple((row, detail) for row, detail in table.get("details", ())),
    )
