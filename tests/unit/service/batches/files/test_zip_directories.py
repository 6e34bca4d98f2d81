"""ZIP directories as APPNOTE 6.3.10 has them, and as it has not: long forms, kinds of members, and what does not add up."""

import stat
import struct

import pytest

from service.batches.files.formats.zip_directory import (
    ENTRY_BYTES as MOST_OF_ONE,
)
from service.batches.files.formats.zip_directory import MOST_ENTRY_BYTES, MOST_RATIO, RATIO_MATTERS_BYTES
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    blocks_of,
    image,
    images,
    plan_of,
    refusal,
    zip_file,
)

ZIP = BatchFormat.ZIP
ENTRY_BYTES = 46
PLAIN = zip_file([("a.png", image(1)), ("b.png", image(2))])
DIRECTORY, END = PLAIN.find(b"PK\x01\x02"), PLAIN.rfind(b"PK\x05\x06")


def files_of(content: bytes) -> list[bytes | None]:
    """The files of all rows."""
    plan = plan_of(content, ZIP, **images())
    return [file for block in blocks_of(content, plan, **images()) for file in block.files]


def with_directory(entries: bytes, *, count: int = 2, length: int | None = None) -> bytes:
    """The two images under another directory, whose end announces `count` entries."""
    length = len(entries) if length is None else length
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, length, DIRECTORY, 0)
    return PLAIN[:DIRECTORY] + entries + end


def entries() -> list[bytearray]:
    """The two entries of the directory."""
    second = PLAIN.find(b"PK\x01\x02", DIRECTORY + 1)
    return [bytearray(PLAIN[DIRECTORY:second]), bytearray(PLAIN[second:END])]


def in_long_form(entry: bytearray, *, long: tuple[str, ...]) -> bytes:
    """An entry, some of whose numbers are in the ZIP64 field, behind one of another kind that holds what looks like it."""
    places = {"size": 24, "packed": 20, "offset": 42}
    extra = struct.pack("<2H2HQ", 0xCAFE, 12, 1, 8, 5)
    values = b""
    for name, place in places.items():
        if name in long:
            values += struct.pack("<Q", int.from_bytes(entry[place : place + 4], "little"))
            entry[place : place + 4] = b"\xff" * 4
    extra += struct.pack("<2H", 1, len(values)) + values
    entry[30:32] = struct.pack("<H", len(extra))
    return bytes(entry) + extra


def test_the_plain_directory_is_read() -> None:
    assert files_of(with_directory(b"".join(entries()))) == files_of(PLAIN) == [image(1), image(2)]


@pytest.mark.parametrize(
    "long", [("size", "packed", "offset"), ("size",), ("packed",), ("offset",), ("size", "offset")]
)
def test_numbers_of_a_member_are_read_from_the_zip64_field(long: tuple[str, ...]) -> None:
    first, second = entries()
    content = with_directory(bytes(first) + in_long_form(second, long=long))
    assert files_of(content) == [image(1), image(2)]


@pytest.mark.parametrize(
    ("count", "length"), [(0xFFFF, 0xFFFFFFFF), (2, 0xFFFFFFFF), (0xFFFF, END - DIRECTORY)]
)
def test_the_end_of_a_directory_is_read_in_its_long_form(count: int, length: int) -> None:
    place = END
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, END - DIRECTORY, DIRECTORY)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, length, DIRECTORY, 0)
    assert files_of(PLAIN[:END] + record + locator + end) == [image(1), image(2)]
    damaged = PLAIN[:END] + b"PK\x06\x05" + record[4:] + locator + end
    assert refusal(damaged, ZIP, **images()).problem is FileProblem.UNREADABLE


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        (0, []),
        (stat.S_IFREG, []),
        (stat.S_IFLNK, ["unsupported_file"]),
        (stat.S_IFIFO, ["unsupported_file"]),
        (stat.S_IFCHR, ["unsupported_file"]),
    ],
)
def test_only_regular_files_of_an_archive_are_read(kind: int, faults: list[str]) -> None:
    first, second = entries()
    second[38:42] = struct.pack("<L", (kind | 0o644) << 16 if kind else 0)
    content = with_directory(bytes(first + second))
    [block] = blocks_of(content, plan_of(content, ZIP, **images()), **images())
    assert [fault.code for fault in block.faults.kinds] == faults
    assert block.files == [image(1), None if faults else image(2)]


def test_a_signature_may_follow_the_entries_and_nothing_else() -> None:
    both = b"".join(entries())
    assert files_of(with_directory(both + b"PK\x05\x05\x04\x00sign")) == [image(1), image(2)]
    for content in (with_directory(both + b"else"), with_directory(both, count=1)):
        refused = refusal(content, ZIP, **images())
        assert refused.problem is FileProblem.UNREADABLE
        assert "directory is damaged" in refused.detail


def test_a_directory_that_announces_more_entries_than_it_has_is_damaged() -> None:
    refused = refusal(with_directory(b"".join(entries()), count=3), ZIP, **images())
    assert refused.problem is FileProblem.UNREADABLE
    assert "directory is damaged" in refused.detail


@pytest.mark.parametrize("by", [0, 1])
def test_a_member_ends_before_the_directory_at_the_latest(by: int) -> None:
    first, second = entries()
    offset = int.from_bytes(second[42:46], "little")
    second[20:24] = struct.pack("<L", DIRECTORY - offset - 30 + by)
    content = with_directory(bytes(first + second))
    if by:
        assert refusal(content, ZIP, **images()).problem is FileProblem.UNREADABLE
    else:
        assert plan_of(content, ZIP, **images()).rows == 2


@pytest.mark.parametrize("by", [0, 1])
def test_a_member_ends_before_the_next_begins(by: int) -> None:
    first, second = entries()
    first[20:24] = struct.pack("<L", int.from_bytes(second[42:46], "little") - 30 + by)
    content = with_directory(bytes(first + second))
    if by:
        assert refusal(content, ZIP, **images()).problem is FileProblem.BOMB
    else:
        assert plan_of(content, ZIP, **images()).rows == 2


@pytest.mark.parametrize(
    ("content", "problem", "detail"),
    [
        (b"P" + PLAIN[1:3] + bytes(2000), FileProblem.UNREADABLE, "its directory is missing"),
        (b"not an archive" * 20, FileProblem.WRONG_FORMAT, "not a ZIP archive"),
        (PLAIN + b"x", FileProblem.UNREADABLE, "several archives"),
        (PLAIN + PLAIN, FileProblem.UNREADABLE, "several archives"),
        (PLAIN[: END + 21], FileProblem.UNREADABLE, "its directory is missing"),
    ],
)
def test_what_is_no_single_archive_is_refused_by_what_it_is(
    content: bytes, problem: FileProblem, detail: str
) -> None:
    refused = refusal(content, ZIP, **images())
    assert refused.problem is problem
    assert detail in refused.detail


def test_an_archive_may_have_a_comment_of_any_length() -> None:
    for comment in (b"of the ward", b"c" * 65_535):
        assert files_of(PLAIN[:-2] + struct.pack("<H", len(comment)) + comment) == [image(1), image(2)]


def test_folders_count_as_members_and_not_as_rows() -> None:
    content = zip_file([("ward/", b""), ("ward/a.png", image())])
    assert plan_of(content, ZIP, Limits(members=2), **images()).rows == 1
    assert refusal(content, ZIP, limits=Limits(members=1), **images()).problem is FileProblem.TOO_MANY_MEMBERS


def claiming(*sizes: int) -> bytes:
    """The two images, said to unpack to these sizes."""
    found = entries()
    for entry, size in zip(found, sizes, strict=True):
        entry[24:28] = struct.pack("<L", size)
    return with_directory(b"".join(found))


@pytest.mark.parametrize("by", [0, 1])
def test_an_archive_unpacks_to_hundreds_of_times_its_size_at_most(by: int) -> None:
    small = claiming(RATIO_MATTERS_BYTES - 10, 10 + by)
    padding = bytes(RATIO_MATTERS_BYTES // MOST_RATIO)
    large = zip_file([("a.png", image()), ("b.bin", padding)], 0)
    entry = large.rfind(b"PK\x01\x02")
    size = MOST_RATIO * len(large) - len(image()) + by
    large = large[: entry + 24] + struct.pack("<L", size) + large[entry + 28 :]
    for content in (small, large):
        if by:
            assert refusal(content, ZIP, **images()).problem is FileProblem.BOMB
        else:
            assert plan_of(content, ZIP, **images()).rows == 2


@pytest.mark.parametrize("by", [0, 1])
def test_a_directory_has_room_for_one_longest_entry_and_no_more_than_usual_ones_beside_it(by: int) -> None:
    length = MOST_ENTRY_BYTES + 2 * MOST_OF_ONE + by
    both = b"".join(entries())
    signature = b"PK\x05\x05"  # what follows it is no entry
    refused_or_not = with_directory(both + signature.ljust(length - len(both), b"x"))
    if by:
        assert "shorten them" in refusal(refused_or_not, ZIP, **images()).detail
    else:
        assert plan_of(refused_or_not, ZIP, **images()).rows == 2


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        b"\1",
        struct.pack("<2H", 1, 0),
        struct.pack("<2H7s", 1, 7, bytes(7)),
        struct.pack("<2H4s2HQ", 0xCAFE, 4, bytes(4), 0xBEEF, 8, 1),
    ],
    ids=["none", "cut", "empty", "too short", "of other kinds"],
)
def test_a_size_that_no_long_form_explains_is_taken_at_its_word(extra: bytes) -> None:
    first, second = entries()
    second[24:28] = b"\xff" * 4
    second[30:32] = struct.pack("<H", len(extra))
    refused = refusal(with_directory(bytes(first + second) + extra), ZIP, **images())
    assert refused.problem is FileProblem.BOMB, "it unpacks to four gigabytes"


def test_a_file_that_only_begins_like_an_archive_is_told_that_its_directory_is_missing() -> None:
    for content in (b"PK", b"PK\3\4", b"PK\5\6" + bytes(17)):
        assert "its directory is missing" in refusal(content, ZIP, **images()).detail
    assert "holds no rows" in refusal(b"PK\5\6" + bytes(18), ZIP, **images()).detail
