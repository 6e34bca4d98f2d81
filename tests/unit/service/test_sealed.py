"""A sealed stream is read from any place, and only as far as needed; what was tampered with does not open."""

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.crypto import FRAME_BYTES, KEY_BYTES, TAG_BYTES, Cipher, frame_offset
from service.errors import BlobUnavailable, PayloadUnreadable
from service.sealed import FEW_FRAMES, FRAMES_AHEAD, KEPT_FRAMES, SealedFile
from tests.fakes import MemoryBlobStore

PLACE = b"upload|tenant|row"
LOCATION = "uploads/1"
CIPHER = Cipher(bytes(range(KEY_BYTES)))
PATTERN = bytes(range(251)) * 5000
SIZES = [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 3 * FRAME_BYTES + 7]


class WatchedBlobs(MemoryBlobStore):
    """A blob store that remembers which ranges were read."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[int, int]] = []

    def read_into(self, location: str, start: int, buffer: memoryview) -> int:
        """See BlobStore."""
        self.ranges.append((start, len(buffer)))
        return super().read_into(location, start, buffer)


def sealed(content: bytes) -> WatchedBlobs:
    blobs = WatchedBlobs()
    blobs.write(LOCATION, CIPHER.seal_stream([content], PLACE))
    return blobs


def opened(
    blobs: MemoryBlobStore, size_bytes: int, bound_to: bytes = PLACE, *, kept_frames: int = KEPT_FRAMES
) -> SealedFile:
    return SealedFile(blobs, LOCATION, CIPHER, bound_to, size_bytes=size_bytes, kept_frames=kept_frames)


MANY = b"".join(number.to_bytes(4) * (FRAME_BYTES // 4) for number in range(30)) + b"end"
MANY_SEALED = sealed(MANY)


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_of_a_stream_is_read(size: int) -> None:
    content = PATTERN[:size]
    assert opened(sealed(content), size).read() == content


@given(
    size=st.sampled_from(SIZES),
    reads=st.lists(st.tuples(st.integers(0, 4 * FRAME_BYTES), st.integers(0, 2 * FRAME_BYTES)), max_size=6),
)
def test_any_range_equals_a_slice(size: int, reads: Sequence[tuple[int, int]]) -> None:
    content = PATTERN[:size]
    file = opened(sealed(content), size)
    for start, length in reads:
        file.seek(start)
        assert file.read(length) == content[start : start + length]
        assert file.tell() == min(max(start, size), start + length) or not content[start:]


def test_seeking_is_from_the_start_from_here_and_from_the_end() -> None:
    file = opened(sealed(PATTERN), len(PATTERN))
    assert file.seek(10) == 10
    assert file.seek(5, io.SEEK_CUR) == 15
    assert file.seek(-3, io.SEEK_END) == len(PATTERN) - 3
    assert file.read() == PATTERN[-3:]
    with pytest.raises(ValueError, match="before the start"):
        file.seek(-1)


def test_the_end_is_read_without_what_lies_before() -> None:
    blobs = sealed(PATTERN)
    file = opened(blobs, len(PATTERN))
    file.seek(-5, io.SEEK_END)
    file.read(5)
    assert sum(size for _, size in blobs.ranges) < 2 * FRAME_BYTES


def test_reading_on_fetches_frames_together() -> None:
    blobs = sealed(PATTERN)
    file = opened(blobs, len(PATTERN))
    while file.read(100_000):
        pass
    frames = -(-len(PATTERN) // FRAME_BYTES)
    assert len(blobs.ranges) <= 3 + -(-frames // FRAMES_AHEAD)


def test_a_frame_read_again_is_not_fetched_again() -> None:
    blobs = sealed(PATTERN)
    file = opened(blobs, len(PATTERN))
    for _ in range(3):
        file.seek(7)
        file.read(10)
    assert len(blobs.ranges) == 2  # the header, and the frame


@pytest.mark.parametrize("kept", [KEPT_FRAMES, FEW_FRAMES])
def test_memory_stays_at_the_frames_that_are_kept(kept: int) -> None:
    content = bytes(FRAME_BYTES * (kept + 20))
    file = opened(sealed(content), len(content), kept_frames=kept)
    while file.read(FRAME_BYTES):
        pass
    assert len(file._kept) == kept


@given(
    st.lists(st.tuples(st.integers(0, 30 * FRAME_BYTES), st.integers(0, 14 * FRAME_BYTES)), max_size=5),
)
def test_reads_of_more_frames_than_are_kept_come_whole(reads: Sequence[tuple[int, int]]) -> None:
    file = opened(MANY_SEALED, len(MANY), kept_frames=FEW_FRAMES)
    for start, length in reads:
        file.seek(start)
        assert file.read(length) == MANY[start : start + length]
    file.seek(0)
    assert file.read() == MANY


def damaged(content: bytes, kind: str) -> bytes:
    first, second = frame_offset(1), frame_offset(2)
    match kind:
        case "a changed byte":
            return content[: second - 40] + bytes([content[second - 40] ^ 1]) + content[second - 39 :]
        case "a missing frame":
            return content[:first] + content[second:]
        case "frames in another order":
            return (
                content[: frame_offset(0)]
                + content[first:second]
                + content[frame_offset(0) : first]
                + content[second:]
            )
        case "another version":
            return b"\x02" + content[1:]
        case _:
            return content[: second + 3]


@pytest.mark.parametrize(
    "kind",
    [
        "a changed byte",
        "a missing frame",
        "frames in another order",
        "another version",
        "a cut within a frame",
    ],
)
def test_what_was_tampered_with_does_not_open(kind: str) -> None:
    blobs = sealed(PATTERN)
    blobs.blobs[LOCATION] = damaged(blobs.blobs[LOCATION], kind)
    with pytest.raises(PayloadUnreadable):
        opened(blobs, len(PATTERN)).read()


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_stream_cut_at_a_frame_does_not_pass_for_a_shorter_one(kept: int) -> None:
    blobs = sealed(PATTERN)
    blobs.blobs[LOCATION] = blobs.blobs[LOCATION][: frame_offset(kept)]
    with pytest.raises(PayloadUnreadable):
        opened(blobs, kept * FRAME_BYTES).read()


def test_a_stream_of_another_length_than_recorded_does_not_open() -> None:
    blobs = sealed(PATTERN[: FRAME_BYTES + 10])
    for size in (FRAME_BYTES + 9, FRAME_BYTES + 11, 3 * FRAME_BYTES):
        with pytest.raises(PayloadUnreadable):
            opened(blobs, size).read()
    blobs.blobs[LOCATION] += bytes(TAG_BYTES)
    assert opened(blobs, FRAME_BYTES + 10).read() == PATTERN[: FRAME_BYTES + 10]


def test_a_stream_does_not_open_in_another_place() -> None:
    with pytest.raises(PayloadUnreadable):
        opened(sealed(PATTERN), len(PATTERN), b"elsewhere").read(1)


def test_a_blob_that_is_gone_or_away_says_so() -> None:
    blobs = sealed(PATTERN)
    blobs.away = True
    with pytest.raises(BlobUnavailable):
        opened(blobs, len(PATTERN)).read(1)
    blobs.away = False
    blobs.blobs.clear()
    with pytest.raises(FileNotFoundError):
        opened(blobs, len(PATTERN)).read(1)
