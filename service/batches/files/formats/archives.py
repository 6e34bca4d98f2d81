"""ZIP and TAR of images, a row a file, or a row a line of an index that names files and columns to carry.

Nothing is ever unpacked to a disk. The directory of the archive is read once, in validation; a chunk holds the position
of each of its files, so a worker seeks there and reads only these. Formats: APPNOTE 6.3.10 (ZIP), POSIX 1003.1-2017 pax
and ustar (TAR).
"""

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np
import pyarrow as pa

from models.field_codes import FieldCode
from models.pipelines import FieldFault, pointer_to
from models.pipelines.columns import FaultFinder
from service.batches.files import problems
from service.batches.files.blocks import BLOCK_BYTES, BLOCK_FILES, RowBlock
from service.batches.files.columns import Columns
from service.batches.files.duplicates import DuplicateFinder
from service.batches.files.formats import delimited, ndjson
from service.batches.files.formats.carrying import id_faults, id_texts, record_batch
from service.batches.files.formats.member_names import Named, Stored, named, normal, spellings
from service.batches.files.formats.zip_directory import zip_members
from service.batches.files.layouts import FILE_COLUMN, BatchFormat, Layout, Wanted
from service.batches.files.plans import Chunk, Inspected, Limits, Member, Members, with_duplicates
from service.batches.files.problems import FileProblem, FileRefused

INDEX_NAMES: Final = ("index.csv", "index.ndjson", "index.jsonl")
INDEX_BYTES: Final = 64 * 1024 * 1024
MOST_DETAILED: Final = 1000  # lines of an index; of more, the code alone says what is wrong
# What Finder and Explorer add to archives without being asked.
CLUTTER: Final = re.compile(r"(^|/)(__MACOSX/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$", re.IGNORECASE)
UNSAFE: Final = re.compile(r"^(/|[A-Za-z]:)|(^|/)\.\.(/|$)|[\x00-\x1f]")
COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
PAX_BYTES: Final = 1024 * 1024
TAR_BLOCK: Final = 512

NO_NAME: Final = FieldFault(pointer_to(FILE_COLUMN), FieldCode.MISSING_FIELD, "The row names no file.")
FAULTS: Final[Mapping[str, FieldFault]] = {
    fault.code: fault
    for fault in (
        NO_NAME,
        problems.MISSING_FILE,
        problems.AMBIGUOUS_FILE,
        problems.ENCRYPTED_FILE,
        problems.DAMAGED_FILE,
        problems.UNSUPPORTED_FILE,
        problems.WRONG_COLUMN_COUNT,
        problems.INVALID_JSON,
        problems.ROW_TOO_LARGE,
        problems.NOT_AN_OBJECT,
    )
}


def inspect(file: io.RawIOBase, wanted: Wanted, limits: Limits, kind: BatchFormat) -> Inspected:
    """See Inspected. Raises FileRefused."""
    members = list(_members(file, limits, kind))
    index_name = _index_name(members, wanted)
    columns: Columns | None
    faults: list[FieldFault | None]
    files = [member for member in members if normal(member.name) != index_name]
    if index_name is None:
        names = pa.array([member.name for member in files], pa.string())
        table, found = {FILE_COLUMN: names}, [member.place for member in files]
        wanted = replace(wanted, carry=(), id_column=FILE_COLUMN)
        columns, faults = None, [None] * len(files)
    else:
        place = next(member.place for member in members if normal(member.name) == index_name)
        wanted = replace(wanted, carry=tuple(dict.fromkeys((*wanted.carry, FILE_COLUMN))))
        if place.fault:
            raise FileRefused(
                FileProblem.INDEX_INVALID, "The index is not a regular file, or it is encrypted or damaged."
            )
        content = _content(file, place, INDEX_BYTES)
        table, faults, columns = _read_index(content, index_name, wanted, limits.members)
        found = _looked_up(table[FILE_COLUMN], files)
    places = [_with_fault(place, fault) for place, fault in zip(found, faults, strict=True)]
    batch = pa.record_batch(table)
    faulty = ((row, fault) for row, fault in enumerate(faults) if fault is not None)
    details = {
        row: f"Row {row + 1} of {index_name}: {fault.detail}" for row, fault in islice(faulty, MOST_DETAILED)
    }
    chunks = _planned(places, details, batch, limits)
    if wanted.id_column is not None:
        finder = DuplicateFinder()
        ids = id_texts(table[wanted.id_column])
        if index_name is None:
            ids = pa.array([normal(name) for name in ids.to_pylist()], ids.type)
        finder.add(ids, np.arange(1, len(places) + 1))
        chunks = with_duplicates(chunks, finder.duplicate_rows())
    listed = {id(place) for place in found}
    unused = sum(id(member.place) not in listed for member in files)
    identified = () if columns is None else (FILE_COLUMN,)
    layout = Layout(kind, wanted, batch.schema, columns=identified, unused=unused)
    return Inspected(layout, len(places), chunks, columns)


class ArchiveReader:
    """See blocks.Reader."""

    def __init__(self, file: io.RawIOBase, layout: Layout, limits: Limits) -> None:
        self._file = file
        self._layout = layout
        self._limits = limits

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """See blocks.Reader."""
        assert isinstance(chunk.place, Members)
        with pa.ipc.open_stream(pa.py_buffer(chunk.place.carried)) as stream:
            carried = record_batch(self._layout.carried, _columns(stream.read_all()), chunk.rows)
        for start, end in _blocks(chunk.place.files):
            yield self._block(chunk, carried.slice(start, end - start), start, end)

    def _block(self, chunk: Chunk, carried: pa.RecordBatch, start: int, end: int) -> RowBlock:
        assert isinstance(chunk.place, Members)
        finder = FaultFinder()
        files: list[bytes | None] = []
        details = dict(chunk.place.details)
        for row, member in enumerate(chunk.place.files[start:end]):
            content, fault = self._read(member)
            files.append(content)
            if fault is not None:
                fault = replace(fault, detail=details.get(start + row, fault.detail))
                finder.add(np.array([row]), fault)
        unreadable = np.array([content is None for content in files])
        finder.add_all(id_faults(carried, self._layout.wanted))
        return RowBlock(
            chunk.first_row + start,
            end - start,
            carried,
            files=files,
            faults=finder.found(),
            unreadable=unreadable if unreadable.any() else None,
        )

    def _read(self, member: Member) -> tuple[bytes | None, FieldFault | None]:
        if member.fault:
            return None, FAULTS[member.fault]
        if max(member.size_bytes, member.packed_bytes) > self._limits.file_bytes:
            advice = f"The file may have at most {self._limits.file_bytes} bytes: export it smaller."
            return None, FieldFault("", FieldCode.FILE_TOO_LARGE, advice)
        try:
            return _content(self._file, member, self._limits.file_bytes), None
        except FileRefused as refused:
            if refused.problem is not FileProblem.UNREADABLE:
                raise
            return None, problems.DAMAGED_FILE


def _members(file: io.RawIOBase, limits: Limits, kind: BatchFormat) -> Iterator[Named]:
    """The regular files of an archive, without clutter. Raises FileRefused for names that lead outside."""
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise FileRefused(FileProblem.EMPTY, "The file is empty.")
    file.seek(0)
    if (file.read(6) or b"").startswith(COMPRESSED):
        raise FileRefused(
            FileProblem.COMPRESSED, "The archive as a whole is compressed: send a plain TAR, or ZIP."
        )
    stored = zip_members(file, size, limits) if kind is BatchFormat.ZIP else _tar_members(file, limits)
    for number, member in enumerate(named(list(stored)), 1):
        if UNSAFE.search(member.name):
            raise FileRefused(
                FileProblem.UNSAFE_NAME,
                f"Member {number} has a name that leads outside of the archive, or one with control characters.",
            )
        if not CLUTTER.search(member.name) and not member.name.endswith("/"):
            yield member


def _tar_members(file: io.RawIOBase, limits: Limits) -> Iterator[Stored]:
    """The files of a TAR. It has no index, so all headers are read."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=_ShortReads(file), mode="r:", encoding="utf-8") as tar:
            count = 0
            while (info := tar.next()) is not None:
                vars(tar)["members"] = []  # TarFile would keep them all
                count += 1
                if count > limits.members:
                    raise FileRefused(FileProblem.TOO_MANY_MEMBERS, f"More than {limits.members} members.")
                if not info.isdir():
                    name = info.name.encode(errors="surrogateescape")
                    fault = "" if info.isreg() and not info.issparse() else problems.UNSUPPORTED_FILE.code
                    yield Stored(name, Member(info.offset_data, info.size, info.size, fault=fault))
            end = tar.offset
    except (
        tarfile.TarError,
        ValueError,
        OverflowError,
        MemoryError,
        RecursionError,
    ):  # headers may be chained
        raise FileRefused(
            FileProblem.UNREADABLE, "The file is not a TAR archive, or it is damaged."
        ) from None
    file.seek(end)
    mark = file.read(TAR_BLOCK) or b""
    if mark.strip(b"\0") or len(mark) < TAR_BLOCK:
        raise FileRefused(
            FileProblem.UNREADABLE, "The TAR archive is damaged, or cut short: its end is missing."
        )
    while padding := file.read(PAX_BYTES):
        if padding.strip(b"\0"):
            raise FileRefused(
                FileProblem.UNREADABLE,
                "The TAR archive goes on after its end: several archives were joined. Pack the files into one archive.",
            )


class _ShortReads(io.RawIOBase):
    """A file that limits the size of one read: a TAR's header may announce a name of any length."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        """Up to PAX_BYTES."""
        if size is None or not 0 <= size <= PAX_BYTES:
            raise ValueError("a header of this size")
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See io."""
        return self._file.tell()


def _content(file: io.RawIOBase, member: Member, most: int) -> bytes:
    """A member's bytes. Raises FileRefused (file_unreadable) where they are not what the directory says."""
    damaged = FileRefused(FileProblem.UNREADABLE, "A member of the archive is damaged.")
    if member.size_bytes > most:
        raise damaged
    start = member.offset
    if member.crc >= 0:
        file.seek(start)
        header = file.read(30) or b""
        if header[:4] != b"PK\x03\x04" or len(header) < 30:
            raise damaged
        start += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    file.seek(start)
    content = file.read(member.packed_bytes) or b""
    if len(content) != member.packed_bytes:
        raise damaged
    if member.method == zlib.DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflate.decompress(content, member.size_bytes + 1)
        except zlib.error:
            raise damaged from None
    if len(content) != member.size_bytes or (member.crc >= 0 and zlib.crc32(content) != member.crc):
        raise damaged
    return content


def _index_name(members: Sequence[Named], wanted: Wanted) -> str | None:
    """The index's name in its normal form; None without an index."""
    names = [normal(member.name) for member in members]
    asked = None if wanted.index is None else normal(wanted.index)
    if asked is not None and names.count(asked) != 1:
        raise FileRefused(FileProblem.INDEX_INVALID, "The archive must hold the index exactly once.")
    found = [asked] if asked is not None else [name for name in names if name.lower() in INDEX_NAMES]
    if not found:
        if wanted.carried not in ((), (FILE_COLUMN,)):
            raise FileRefused(
                FileProblem.INDEX_INVALID, "Columns to carry need an index, and the archive has none."
            )
        return None
    if len(found) > 1:
        raise FileRefused(FileProblem.INDEX_INVALID, "The archive holds several indexes: name one.")
    return found[0]


def _read_index(
    content: bytes, name: str, wanted: Wanted, most_rows: int
) -> tuple[dict[str, pa.Array], list[FieldFault | None], Columns | None]:
    """The carried columns of the index, what is wrong with each of its rows, and its columns. Raises FileRefused."""
    file: io.RawIOBase = io.BytesIO(content)  # type: ignore[assignment]  # it reads and seeks alike
    lines = replace(wanted, fields=())
    limits = Limits(rows=len(content) + 1, size_bytes=len(content) + 1)
    try:
        if name.lower().endswith(".csv"):
            found = delimited.inspect(file, lines, limits)
            reader: ndjson.NdjsonReader | delimited.DelimitedReader
            reader = delimited.DelimitedReader(file, found.layout)
        else:
            found = ndjson.inspect(file, lines, limits)
            reader = ndjson.NdjsonReader(file, found.layout, None)
    except FileRefused as refused:
        raise FileRefused(refused.problem, f"In the index: {refused.detail}") from None
    if found.rows > most_rows:
        raise FileRefused(
            FileProblem.TOO_MANY_MEMBERS, f"The index has more than {most_rows} rows: send several archives."
        )
    blocks = [block for chunk in found.chunks for block in reader.read(chunk)]
    faults: list[FieldFault | None] = [None] * found.rows
    for block in blocks:
        for row, kind in zip(block.faults.rows, block.faults.faults, strict=True):
            if block.unreadable is not None and block.unreadable[row]:
                faults[block.first_row - 1 + row] = block.faults.kinds[kind]
    columns = {
        field.name: pa.concat_arrays(
            [block.carried.column(field.name) for block in blocks] or [pa.nulls(0, field.type)]
        )
        for field in found.layout.carried
    }
    return columns, faults, found.columns


def _looked_up(names: pa.Array, files: Sequence[Named]) -> list[Member]:
    """The file of each name, however index and archive encode it."""
    missing, nameless, ambiguous = (
        Member(0, 0, 0, fault=fault.code)
        for fault in (problems.MISSING_FILE, NO_NAME, problems.AMBIGUOUS_FILE)
    )
    known: dict[str, Member] = {}
    stored: dict[bytes, Member] = {}
    for file in files:
        name = normal(file.name)
        known[name] = ambiguous if name in known else file.place
        if file.raw is not None:
            stored[file.raw] = ambiguous if file.raw in stored else file.place
    texts = id_texts(names).to_pylist()
    # Bytes are compared before guessed names: a wrong guess may be the name of another file.
    exact = {name: _by_bytes(name, stored, ambiguous) for name in set(texts) if stored and name}
    return [(exact.get(name) or known.get(normal(name), missing)) if name else nameless for name in texts]


def _by_bytes(name: str, stored: Mapping[bytes, Member], ambiguous: Member) -> Member | None:
    """The file whose name has these bytes in an encoding that archives do not declare."""
    if name.isascii():
        return None
    found = {place for spelling in spellings(name) if (place := stored.get(spelling)) is not None}
    return None if not found else found.pop() if len(found) == 1 else ambiguous


def _with_fault(place: Member, fault: FieldFault | None) -> Member:
    return place if fault is None else Member(0, 0, 0, fault=fault.code)


def _planned(
    places: Sequence[Member], details: Mapping[int, str], carried: pa.RecordBatch, limits: Limits
) -> tuple[Chunk, ...]:
    """Chunks of up to `limits.rows` files and about `limits.size_bytes` of archive. `details` are by row, from 0."""
    chunks: list[Chunk] = []
    start, size_bytes = 0, 0
    for row, place in enumerate(places):
        if row > start and (
            row - start == limits.rows or size_bytes + place.packed_bytes > limits.size_bytes
        ):
            chunks.append(_chunk(len(chunks), start, places[start:row], details, carried))
            start, size_bytes = row, 0
        size_bytes += place.packed_bytes
    if start < len(places):
        chunks.append(_chunk(len(chunks), start, places[start:], details, carried))
    return tuple(chunks)


def _chunk(
    number: int, start: int, places: Sequence[Member], details: Mapping[int, str], carried: pa.RecordBatch
) -> Chunk:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, carried.schema) as stream:
        stream.write_batch(carried.slice(start, len(places)))
    told = tuple((row, details[start + row]) for row in range(len(places)) if start + row in details)
    place = Members(tuple(places), sink.getvalue().to_pybytes(), told)
    return Chunk(number, start + 1, len(places), place)


def _blocks(files: Sequence[Member]) -> Iterator[tuple[int, int]]:
    """Runs of files that are held at once."""
    start, size_bytes = 0, 0
    for row, file in enumerate(files):
        if row > start and (row - start == BLOCK_FILES or size_bytes + file.size_bytes > BLOCK_BYTES):
            yield start, row
            start, size_bytes = row, 0
        size_bytes += file.size_bytes
    if start < len(files):
        yield start, len(files)


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    return {name: ndjson.whole(table.column(name)) for name in table.column_names}
