"""The central directory of a ZIP archive, read entry by entry, with every claim checked (APPNOTE 6.3.10)."""

import io
import stat
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from service.batches.files import problems
from service.batches.files.formats.member_names import Stored
from service.batches.files.plans import Limits, Member
from service.batches.files.problems import FileProblem, FileRefused

END: Final = struct.Struct("<4s4H2LH")
END_64: Final = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64: Final = struct.Struct("<4sLQL")
ENTRY: Final = struct.Struct("<4s6H3L5H2L")
LOCAL_BYTES: Final = 30
COMMENT_BYTES: Final = 65_535
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
ZIP64, UNICODE_PATH = 0x1, 0x7075
SIGNATURE: Final = b"PK\x05\x05"  # of the directory, behind its entries
ALL_16, ALL_32 = 0xFFFF, 0xFFFFFFFF
# The directory may have this much for each member, and for one of them the largest possible entry.
ENTRY_BYTES: Final = 4096
MOST_ENTRY_BYTES: Final = ENTRY.size + 3 * ALL_16

# Deflate reaches 1032; a whole archive beyond this share holds nothing but padding.
MOST_RATIO: Final = 500
RATIO_MATTERS_BYTES: Final = 64 * 1024 * 1024


def zip_members(file: io.RawIOBase, size: int, limits: Limits) -> Iterator[Stored]:
    """The members of an archive of `size` bytes, folders too, in the order of its directory. Raises FileRefused.

    Refused are archives that are damaged, hold more than their directory lists, hold members that share bytes, or
    unpack to hundreds of times their size.
    """
    count, start, length = _directory(file, size)
    if count > limits.members:
        raise FileRefused(FileProblem.TOO_MANY_MEMBERS, f"More than {limits.members} members.")
    if length > MOST_ENTRY_BYTES + ENTRY_BYTES * count:
        raise FileRefused(
            FileProblem.TOO_MANY_MEMBERS,
            f"Names and comments of the members have more than {ENTRY_BYTES} bytes each: shorten them.",
        )
    file.seek(start)
    content = file.read(length) or b""
    if len(content) != length:
        raise _damaged()
    found = list(_entries(content, count, start))
    _check_overlaps(found)
    unpacked = sum(stored.place.size_bytes for stored in found)
    if unpacked > max(MOST_RATIO * size, RATIO_MATTERS_BYTES):
        raise FileRefused(FileProblem.BOMB, "The archive unpacks to hundreds of times its size.")
    yield from found


def _directory(file: io.RawIOBase, size: int) -> tuple[int, int, int]:
    """Number of entries, start and length of the central directory."""
    file.seek(0)
    if (file.read(4) or b"")[:2] != b"PK":
        raise FileRefused(FileProblem.WRONG_FORMAT, "The file is not a ZIP archive.")
    reach = min(size, END.size + COMMENT_BYTES)
    file.seek(size - reach)
    tail = file.read(reach) or b""
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + END.size > len(tail):
        raise FileRefused(FileProblem.UNREADABLE, "The ZIP archive is cut short: its directory is missing.")
    _, _, _, _, count, length, start, comment = END.unpack_from(tail, place)
    if place + END.size + comment != len(tail):
        raise _joined()
    end = size - reach + place
    locator = place - LOCATOR_64.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        end = LOCATOR_64.unpack_from(tail, locator)[2]
        if count == ALL_16 or ALL_32 in (length, start):
            count, start, length = _directory_64(file, end)
    if start + length != end:
        raise _joined()
    return count, start, length


def _directory_64(file: io.RawIOBase, place: int) -> tuple[int, int, int]:
    file.seek(place)
    record = file.read(END_64.size) or b""
    if len(record) != END_64.size or record[:4] != b"PK\x06\x06":
        raise _damaged()
    fields = END_64.unpack(record)
    return fields[7], fields[9], fields[8]


def _entries(content: bytes, count: int, end_of_members: int) -> Iterator[Stored]:
    position = 0
    for _ in range(count):
        if position + ENTRY.size > len(content) or content[position : position + 4] != b"PK\x01\x02":
            raise _damaged()
        fields = ENTRY.unpack_from(content, position)
        name_end = position + ENTRY.size + fields[10]
        extra_end = name_end + fields[11]
        name, extra = content[position + ENTRY.size : name_end], content[name_end:extra_end]
        place = _place(fields, extra)
        if place.offset + LOCAL_BYTES + place.packed_bytes > end_of_members:
            raise _damaged()
        declared = _decoded(name) if fields[3] & UTF8 else _unicode_path(name, extra)
        yield Stored(name, place, declared)
        position = extra_end + fields[12]
    if position != len(content) and content[position : position + 4] != SIGNATURE:
        raise _damaged()


def _place(fields: tuple[int, ...], extra: bytes) -> Member:
    """Where a member is, and whether it can be read."""
    flags, method, crc = fields[3], fields[4], fields[7]
    packed, size, offset = _sizes(fields[8], fields[9], fields[16], extra)
    mode = fields[15] >> 16
    fault = ""
    if flags & ENCRYPTED:
        fault = problems.ENCRYPTED_FILE.code
    elif method not in (STORED, DEFLATED) or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        fault = "" if stat.S_ISDIR(mode) else problems.UNSUPPORTED_FILE.code
    return Member(offset, packed, size, method, crc, fault)


def _sizes(packed: int, size: int, offset: int, extra: bytes) -> tuple[int, int, int]:
    """The sizes and the offset, those that do not fit into 32 bits from the ZIP64 extra field."""
    long = _field(extra, ZIP64)
    values = []
    for value in (size, packed, offset):
        if value == ALL_32 and len(long) >= 8:
            value, long = int.from_bytes(long[:8], "little"), long[8:]  # noqa: PLW2901 - the long form replaces it
        values.append(value)
    return values[1], values[0], values[2]


def _field(extra: bytes, wanted: int) -> bytes:
    """The content of one kind of extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == wanted:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _unicode_path(name: bytes, extra: bytes) -> str | None:
    """The name that Info-ZIP keeps beside one that is not UTF-8, unless it belongs to another name."""
    field = _field(extra, UNICODE_PATH)
    current = len(field) > 5 and field[0] == 1 and int.from_bytes(field[1:5], "little") == zlib.crc32(name)
    return _decoded(field[5:]) if current else None


def _decoded(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _check_overlaps(found: list[Stored]) -> None:
    """Shared bytes are how archives are made that unpack to a huge size (zip bombs)."""
    places = sorted((stored.place.offset, stored.place.packed_bytes) for stored in found)
    for (start, length), (following, _) in pairwise(places):
        if start + LOCAL_BYTES + length > following:
            raise FileRefused(FileProblem.BOMB, "Members of the archive share the same bytes.")


def _joined() -> FileRefused:
    return FileRefused(
        FileProblem.UNREADABLE,
        "The ZIP archive holds more than its directory lists: it is damaged, or several archives were joined. Pack the "
        "files into one archive.",
    )


def _damaged() -> FileRefused:
    return FileRefused(FileProblem.UNREADABLE, "The ZIP archive's directory is damaged.")
