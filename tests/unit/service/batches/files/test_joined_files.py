"""Files that were joined, or hold more than their directory or footer tells of: no row of them is lost unnoticed."""

import io
import struct
import tarfile
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    good_rows,
    image,
    images,
    parquet_file,
    plan_of,
    problem,
    zip_file,
)

FILES = [("a.png", image(1)), ("b.png", image(2))]


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def zip_that_counts(count: int, *, entries: int = 2) -> bytes:
    """An archive of two members whose end says `count`, and that its directory is as long as that of `entries`."""
    content = zip_file(FILES)
    start, length = content.find(b"PK\x01\x02"), struct.unpack_from("<L", content, len(content) - 10)[0]
    length = length * entries // 2
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, length, start, 0)
    return content[:-22] + end


@pytest.mark.parametrize(
    "content",
    [
        zip_that_counts(1),
        zip_that_counts(1, entries=1),
        zip_that_counts(3),
        zip_file(FILES[:1]) + zip_file(FILES[1:]),
        zip_file(FILES) + b"\0" * 10,
        zip_file(FILES) + b"more",
    ],
    ids=["count", "count and length", "count too high", "joined", "zeros behind", "bytes behind"],
)
def test_a_zip_that_holds_more_than_its_directory_tells_of_is_refused(content: bytes) -> None:
    assert problem(content, BatchFormat.ZIP, **images()) is FileProblem.UNREADABLE


def test_what_zip_programs_write_is_taken() -> None:
    assert plan_of(zip_that_counts(2), BatchFormat.ZIP, **images()).rows == 2
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.comment = b"of the ward"
        for name, content in FILES:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    with zipfile.ZipFile(sink, "a") as archive:
        archive.writestr("c.png", image(3))
    assert plan_of(sink.getvalue(), BatchFormat.ZIP, **images()).rows == 3


def test_the_long_form_of_the_end_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = zip_file(FILES)
    assert b"PK\x06\x06" in content
    assert plan_of(content, BatchFormat.ZIP, **images()).rows == 2


@pytest.mark.parametrize(
    "content",
    [tar_of(FILES[:1]) + tar_of(FILES[1:]), tar_of(FILES) + b"x" * 2800],
    ids=["joined", "bytes behind"],
)
def test_a_tar_that_goes_on_behind_its_end_is_refused(content: bytes) -> None:
    assert problem(content, BatchFormat.TAR, **images()) is FileProblem.UNREADABLE


def test_a_tar_may_end_with_any_number_of_zeros() -> None:
    assert plan_of(tar_of(FILES) + bytes(100_000), BatchFormat.TAR, **images()).rows == 2


@pytest.mark.parametrize("options", [{}, {"write_page_index": True}, {"compression": "none"}])
def test_parquet_files_that_were_joined_are_refused(options: dict[str, Any]) -> None:
    def file(first: int) -> bytes:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(good_rows(first + 3)[first:]), sink, **options)
        return sink.getvalue()

    assert plan_of(file(0), BatchFormat.PARQUET).rows == 3
    assert problem(file(0) + file(3), BatchFormat.PARQUET) is FileProblem.UNREADABLE
    assert problem(file(0) + parquet_file(good_rows(5000)), BatchFormat.PARQUET) is FileProblem.UNREADABLE
    assert problem(parquet_file(good_rows(5000)) + file(0), BatchFormat.PARQUET) is FileProblem.UNREADABLE
