"""Archives of images: bad ones end in validation, bad members and lines of the index cost their rows."""

import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    blocks_of,
    csv_file,
    image,
    images,
    ndjson_file,
    plan_of,
    problem,
    refusal,
    zip_file,
)

ZIP, TAR = BatchFormat.ZIP, BatchFormat.TAR


def zip_errors(content: bytes, form: BatchFormat = ZIP, **options: Any) -> list[tuple[int, str]]:
    plan = plan_of(content, form, **images(**options))
    blocks = blocks_of(content, plan, **images())
    found = [
        (block.first_row + int(row), block.faults.kinds[kind].code)
        for block in blocks
        for row, kind in zip(block.faults.rows, block.faults.faults, strict=True)
    ]
    duplicates = [(int(row), "duplicate_id") for chunk in plan.chunks for row in chunk.duplicates]
    return sorted([*found, *duplicates])


def tar_file(infos: list[tuple[tarfile.TarInfo, bytes]], **options: Any) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **options) as archive:
        for info, content in infos:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


UNSAFE = ["../a.png", "/etc/a.png", "a/../../b.png", "C:\\a.png", "a\\..\\b.png", "a\nb.png"]


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_out_of_a_zip_are_refused(name: str) -> None:
    refused = refusal(zip_file([("a.png", image()), (name, image())]), ZIP, **images())
    assert refused.problem is FileProblem.UNSAFE_NAME
    assert refused.detail.startswith("Member 2 has a name that leads outside")


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_out_of_a_tar_are_refused(name: str) -> None:
    content = tar_file([(tarfile.TarInfo("a.png"), image()), (tarfile.TarInfo(name), image())])
    assert problem(content, TAR, **images()) is FileProblem.UNSAFE_NAME


@pytest.mark.parametrize("form", [ZIP, TAR])
def test_a_name_given_twice_is_a_duplicate(form: BatchFormat) -> None:
    names = ["a.png", "b.png", "a.png"]
    if form is TAR:
        content = tar_file([(tarfile.TarInfo(name), image()) for name in names])
    else:
        with pytest.warns(UserWarning, match="Duplicate name"):
            content = zip_file([(name, image()) for name in names])
    assert zip_errors(content, form) == [(3, "duplicate_id")]


def test_an_encrypted_member_is_an_error_of_its_row() -> None:
    content = bytearray(zip_file([("a.png", image()), ("b.png", image())]))
    place = content.rfind(b"PK\x01\x02")
    content[place + 8] |= 1
    assert zip_errors(bytes(content)) == [(2, "encrypted_file")]


def test_a_member_in_a_rare_compression_is_an_error_of_its_row() -> None:
    assert zip_errors(zip_file([("a.png", image())], zipfile.ZIP_BZIP2)) == [(1, "unsupported_file")]


@pytest.mark.parametrize("damage", ["content", "checksum", "header"])
def test_a_damaged_member_is_an_error_of_its_row(damage: str) -> None:
    content = bytearray(zip_file([("a.png", image(1)), ("b.png", image(2))]))
    place = {"content": 60, "checksum": content.find(b"PK\x01\x02") + 16, "header": 0}[damage]
    content[place] ^= 0xFF
    if damage == "header":  # that the file begins with PK is looked at first
        content[0] ^= 0xFF
        content[2] ^= 0xFF
    assert zip_errors(bytes(content)) == [(1, "damaged_file")]


def test_a_file_that_unpacks_to_too_much_is_an_error_of_its_row() -> None:
    content = zip_file([("a.png", image()), ("b.png", bytes(5000))])
    plan = plan_of(content, ZIP, **images())
    reader = reader_of(MemorySource(content).open(), plan.layout, images()["model"], Limits(file_bytes=4999))
    [block] = reader.read(plan.chunks[0])
    assert block.files == [image(), None]
    assert [kind.code for kind in block.faults.kinds] == ["file_too_large"]


def test_a_member_that_is_larger_than_it_says_is_not_unpacked() -> None:
    content = bytearray(zip_file([("a.png", bytes(50_000_000))]))
    place = content.find(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    tracemalloc.start()
    try:
        assert zip_errors(bytes(content)) == [(1, "damaged_file")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_an_archive_that_unpacks_to_hundreds_of_times_its_size_is_refused() -> None:
    content = zip_file([(f"{number}.png", bytes(20_000_000)) for number in range(5)])
    assert problem(content, ZIP, **images()) is FileProblem.BOMB


def test_members_that_share_bytes_are_refused() -> None:
    """As in D. Fifield, A better zip bomb (WOOT 2019): many entries, one content."""
    content = zip_file([("a.png", image())])
    start = content.find(b"PK\x01\x02")
    end = content.rfind(b"PK\x05\x06")
    entry = content[start:end]
    tail = bytearray(content[end:])
    tail[8:12] = struct.pack("<HH", 3, 3)
    tail[12:16] = struct.pack("<I", 3 * len(entry))
    assert problem(content[:start] + 3 * entry + bytes(tail), ZIP, **images()) is FileProblem.BOMB


@pytest.mark.parametrize("cut", [1, 22, 60, 300])
def test_a_truncated_zip_is_refused(cut: int) -> None:
    content = zip_file([(f"{number}.png", image(number)) for number in range(5)])
    assert problem(content[:-cut], ZIP, **images()) is FileProblem.UNREADABLE


@pytest.mark.parametrize("kept", [600, 1024, 1500, 2048])
def test_a_truncated_tar_is_refused(kept: int) -> None:
    content = tar_file([(tarfile.TarInfo(f"{number}.png"), image(number)) for number in range(5)])
    assert problem(content[:kept], TAR, **images()) is FileProblem.UNREADABLE


def test_a_tar_header_may_not_announce_a_name_without_end() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 200_000_000
    content = info.tobuf(tarfile.GNU_FORMAT) + b"a" * 200_000_000
    tracemalloc.start()
    try:
        assert problem(content, TAR, **images()) is FileProblem.UNREADABLE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_refused_with_advice(mode: str) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.png"))
    assert problem(sink.getvalue(), TAR, **images()) is FileProblem.COMPRESSED


def test_a_link_in_a_tar_is_an_error_of_its_row() -> None:
    link = tarfile.TarInfo("b.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    content = tar_file([(tarfile.TarInfo("a.png"), image()), (link, b"")])
    assert zip_errors(content, TAR) == [(2, "unsupported_file")]


def test_folders_and_clutter_are_no_rows() -> None:
    names = ["a/", "a/b.png", "__MACOSX/a/._b.png", "a/.DS_Store", "Thumbs.db"]
    content = zip_file([(name, b"" if name.endswith("/") else image()) for name in names])
    assert plan_of(content, ZIP, **images()).rows == 1


def test_more_members_than_the_limit_are_refused() -> None:
    content = zip_file([(f"{number}.png", image()) for number in range(11)])
    assert problem(content, ZIP, limits=Limits(members=10), **images()) is FileProblem.TOO_MANY_MEMBERS


def zip_with_notes(members: int, note_bytes: int) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number in range(members):
            info = zipfile.ZipInfo(f"{number}.png")
            info.comment = b"n" * note_bytes
            archive.writestr(info, image(number))
    return sink.getvalue()


def test_one_member_may_have_the_longest_note() -> None:
    assert plan_of(zip_with_notes(1, 65_535), ZIP, **images()).rows == 1


def test_long_notes_of_many_members_are_refused_by_what_they_are() -> None:
    refused = refusal(zip_with_notes(20, 65_535), ZIP, **images())
    assert refused.problem is FileProblem.TOO_MANY_MEMBERS
    assert "shorten them" in refused.detail


def test_a_long_name_is_not_many_members() -> None:
    name = "a" * 60_000 + ".png"
    assert plan_of(zip_file([(name, image())]), ZIP, **images()).rows == 1
    crowd = zip_file([(f"{number}{name}", image()) for number in range(20)])
    refused = refusal(crowd, ZIP, **images())
    assert refused.problem is FileProblem.TOO_MANY_MEMBERS
    assert "4096 bytes" in refused.detail
    assert "More than" not in refused.detail


def index_archive(index: str, content: bytes, form: BatchFormat) -> bytes:
    members = [(index, content), *((f"{number}.png", image(number)) for number in range(3))]
    return (
        zip_file(members)
        if form is ZIP
        else tar_file([(tarfile.TarInfo(name), file) for name, file in members])
    )


INDEXES: list[tuple[str, Callable[[list[dict[str, object]]], bytes]]] = [
    ("index.csv", csv_file),
    ("index.ndjson", ndjson_file),
]


@pytest.mark.parametrize(("name", "write"), INDEXES, ids=["csv", "ndjson"])
@pytest.mark.parametrize("form", [ZIP, TAR])
def test_an_index_names_files_and_columns_to_carry(
    name: str, write: Callable[[list[dict[str, object]]], bytes], form: BatchFormat
) -> None:
    rows = [
        {"case": "c1", "file": "2.png", "side": "left"},
        {"case": "c2", "file": "0.png", "side": "right"},
        {"case": "c3", "file": "gone.png", "side": "left"},
        {"case": "c1", "file": "1.png", "side": "left"},
    ]
    content = index_archive(name, write(rows), form)  # type: ignore[arg-type]  # rows of texts are rows
    plan = plan_of(content, form, **images(id_column="case", carry=("side",)))
    blocks = blocks_of(content, plan, **images())
    assert [block.carried.to_pylist() for block in blocks] == [
        [{"case": row["case"], "side": row["side"], "file": row["file"]} for row in rows]
    ]
    assert blocks[0].files == [image(2), image(0), None, image(1)]
    assert zip_errors(content, form, id_column="case", carry=("side",)) == [
        (3, "missing_file"),
        (4, "duplicate_id"),
    ]


def test_a_wrong_line_of_an_index_is_an_error_of_its_row() -> None:
    content = index_archive("index.csv", b"file,side\n0.png,left\n1.png\n2.png,left\n", ZIP)
    assert zip_errors(content, carry=("side",)) == [(2, "wrong_column_count")]


def test_an_index_that_names_no_files_is_refused() -> None:
    content = index_archive("index.csv", b"name,side\n0.png,left\n", ZIP)
    refused = refusal(content, ZIP, **images())
    assert refused.problem is FileProblem.COLUMN_MISSING
    assert "index" in refused.detail


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_index_that_is_no_regular_file_is_refused_as_such(kind: bytes) -> None:
    index = tarfile.TarInfo("index.csv")
    index.type, index.linkname = kind, "/etc/passwd"
    refused = refusal(tar_file([(tarfile.TarInfo("a.png"), image()), (index, b"")]), TAR, **images())
    assert refused.problem is FileProblem.INDEX_INVALID
    assert "not a regular file" in refused.detail


def test_columns_to_carry_need_an_index() -> None:
    assert (
        problem(zip_file([("a.png", image())]), ZIP, **images(carry=("side",))) is FileProblem.INDEX_INVALID
    )
