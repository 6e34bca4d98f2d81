"""How an archive's files are cut into chunks and blocks, and the limits on what is read of them."""

import io
import tarfile
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.blocks import BLOCK_BYTES, BLOCK_FILES
from service.batches.files.formats import archives, reader_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits, Member, Members
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    blocks_of,
    image,
    images,
    plan_of,
    refusal,
    zip_file,
)

ZIP, TAR = BatchFormat.ZIP, BatchFormat.TAR


def archive(form: BatchFormat, files: list[bytes]) -> bytes:
    """An archive of files, stored as they are."""
    if form is ZIP:
        return zip_file([(f"{number}.png", file) for number, file in enumerate(files)], 0)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number, file in enumerate(files):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(file)
            tar.addfile(info, io.BytesIO(file))
    return sink.getvalue()


@pytest.mark.parametrize("form", [ZIP, TAR])
@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (Limits(rows=2), [2, 2, 1]),
        (Limits(rows=5), [5]),
        (Limits(size_bytes=200), [2, 2, 1]),
        (Limits(size_bytes=199), [1, 1, 1, 1, 1]),
        (Limits(size_bytes=500), [5]),
        (Limits(size_bytes=1), [1, 1, 1, 1, 1]),
    ],
)
def test_a_chunk_holds_as_many_files_as_its_limits_allow_and_one_at_least(
    form: BatchFormat, limits: Limits, rows: list[int]
) -> None:
    chunks = plan_of(archive(form, [bytes(100)] * 5), form, limits, **images()).chunks
    assert [chunk.rows for chunk in chunks] == rows
    assert [chunk.number for chunk in chunks] == list(range(len(rows)))
    assert [chunk.first_row for chunk in chunks] == [1 + sum(rows[:number]) for number in range(len(rows))]


def test_a_chunk_carries_the_columns_of_its_own_rows_alone() -> None:
    for chunk in plan_of(archive(ZIP, [image()] * 5), ZIP, Limits(rows=2), **images()).chunks:
        assert isinstance(chunk.place, Members)
        with pa.ipc.open_stream(chunk.place.carried) as stream:
            names = stream.read_all().column("file").to_pylist()
        assert names == [f"{chunk.first_row - 1 + row}.png" for row in range(chunk.rows)]


@given(
    st.lists(
        st.sampled_from([0, 1, BLOCK_BYTES // 2, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES]), max_size=9
    )
)
def test_files_that_are_held_at_once_are_as_many_as_fit(sizes: list[int]) -> None:
    runs = list(archives._blocks([Member(0, 0, size) for size in sizes]))
    assert [row for start, end in runs for row in range(start, end)] == list(range(len(sizes)))
    for start, end in runs:
        assert end - start == 1 or sum(sizes[start:end]) <= BLOCK_BYTES
    for (start, end), _ in pairwise(runs):
        assert sum(sizes[start : end + 1]) > BLOCK_BYTES, "the next would have fitted too"


def test_no_more_small_files_are_held_at_once_than_a_block_may_have() -> None:
    runs = list(archives._blocks([Member(0, 0, 1)] * (2 * BLOCK_FILES + 1)))
    assert runs == [(0, BLOCK_FILES), (BLOCK_FILES, 2 * BLOCK_FILES), (2 * BLOCK_FILES, 2 * BLOCK_FILES + 1)]


def test_every_block_has_the_columns_and_the_number_of_its_first_row() -> None:
    content = archive(ZIP, [image()] * (BLOCK_FILES + 2))
    first, second = blocks_of(content, plan_of(content, ZIP, **images()), **images())
    assert (first.first_row, first.count, second.first_row, second.count) == (
        1,
        BLOCK_FILES,
        BLOCK_FILES + 1,
        2,
    )
    assert second.carried.column("file").to_pylist() == [f"{BLOCK_FILES}.png", f"{BLOCK_FILES + 1}.png"]


@pytest.mark.parametrize("form", [ZIP, TAR])
def test_a_file_as_large_as_the_limit_is_read_and_one_a_byte_larger_is_told_by_its_limit(
    form: BatchFormat,
) -> None:
    content = archive(form, [bytes(100), bytes(101), bytes(100)])
    plan = plan_of(content, form, **images())
    [block] = reader_of(
        MemorySource(content).open(), plan.layout, images()["model"], Limits(file_bytes=100)
    ).read(plan.chunks[0])
    assert block.files == [bytes(100), None, bytes(100)]
    assert block.unreadable is not None
    assert block.unreadable.tolist() == [False, True, False]
    [fault] = block.faults.kinds
    assert (fault.code, block.faults.rows.tolist()) == ("file_too_large", [1])
    assert "at most 100 bytes" in fault.detail


def test_where_every_file_is_read_no_row_is_unreadable() -> None:
    content = archive(ZIP, [image()])
    [block] = blocks_of(content, plan_of(content, ZIP, **images()), **images())
    assert block.unreadable is None


@pytest.mark.parametrize("form", [ZIP, TAR])
def test_an_archive_may_have_as_many_members_as_the_limit_and_no_more(form: BatchFormat) -> None:
    content = archive(form, [image()] * 4)
    assert plan_of(content, form, Limits(members=4), **images()).rows == 4
    refused = refusal(content, form, limits=Limits(members=3), **images())
    assert refused.problem is FileProblem.TOO_MANY_MEMBERS
    assert "More than 3" in refused.detail


@pytest.mark.parametrize(
    ("content", "problem", "detail"),
    [
        (b"", FileProblem.EMPTY, "empty"),
        (b"\x28\xb5\x2f\xfd" + bytes(2000), FileProblem.COMPRESSED, "plain TAR, or ZIP"),
        (b"\x1f\x8b" + bytes(2000), FileProblem.COMPRESSED, "plain TAR, or ZIP"),
        (b"no archive at all, whatever its name is" * 100, FileProblem.UNREADABLE, "not a TAR archive"),
    ],
)
def test_what_is_no_tar_is_refused_by_what_it_is(content: bytes, problem: FileProblem, detail: str) -> None:
    refused = refusal(content, TAR, **images())
    assert refused.problem is problem
    assert detail in refused.detail
