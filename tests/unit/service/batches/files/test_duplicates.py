"""Repeated ids are found exactly, however they are spread, in bounded memory."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.duplicates import DIGEST, DuplicateFinder, repeated_rows
from service.batches.files.hashing import hash_128

MASK = 2**64 - 1
KNOWN = st.sampled_from(["a", "b", "patient-000000001", "x" * 32])
IDS = st.lists(st.one_of(st.none(), st.text(max_size=40), KNOWN), max_size=80)


def murmur3(content: bytes, seed: int) -> tuple[int, int]:
    """MurmurHash3_x64_128, byte by byte, after Appleby's reference code."""

    def turned(word: int, bits: int) -> int:
        return (word << bits | word >> 64 - bits) & MASK

    def finished(word: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            word = (word ^ word >> 33) * factor & MASK
        return word ^ word >> 33

    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    for start in range(0, len(content), 16):
        block = content[start : start + 16]
        k1, k2 = int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")
        h1 ^= turned(k1 * c1 & MASK, 31) * c2 & MASK
        whole = len(block) == 16
        if whole:
            h1 = ((turned(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= turned(k2 * c2 & MASK, 33) * c1 & MASK
        if whole:
            h2 = ((turned(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    h1, h2 = h1 ^ len(content), h2 ^ len(content)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = finished(h1), finished(h2)
    h1 = (h1 + h2) & MASK
    return h1, (h2 + h1) & MASK


def test_the_hash_is_murmur3() -> None:
    # Test vectors of the reference implementation, seed 0.
    high, low = hash_128(pa.array(["", "hello", "The quick brown fox jumps over the lazy dog"]), 0)
    assert [f"{h:016x}{w:016x}" for h, w in zip(high.tolist(), low.tolist(), strict=True)] == [
        "0" * 32,
        "cbd8a7b341bd9b025b1e906a48ae1d19",
        "e34bbc7bbc071b6c7a433ca9c49a9347",
    ]


@given(ids=IDS, seed=st.integers(0, MASK), start=st.integers(0, 5))
def test_every_text_is_hashed_like_alone(ids: list[str | None], seed: int, start: int) -> None:
    high, low = hash_128(pa.array(ids, pa.string()).slice(start), seed)
    expected = [murmur3((text or "").encode(), seed) for text in ids[start:]]
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == expected


@given(ids=IDS, kept=st.sampled_from([1, 5, 1000]), size=st.integers(1, 20))
def test_later_rows_of_an_id_are_found(ids: list[str | None], kept: int, size: int) -> None:
    finder = DuplicateFinder(kept_rows=kept)
    for start in range(0, len(ids), size):
        some = ids[start : start + size]
        finder.add(pa.array(some, pa.string()), np.arange(start + 1, start + 1 + len(some)))
    seen: set[str] = set()
    expected = []
    for row, text in enumerate(ids, 1):
        if text in seen:
            expected.append(row)
        if text:
            seen.add(text)
    assert finder.duplicate_rows().tolist() == expected


def test_digests_that_meet_in_one_half_alone_are_no_duplicates() -> None:
    digests = np.array([(7, 1, 1), (7, 2, 2), (8, 1, 3), (7, 1, 4)], dtype=DIGEST)
    assert repeated_rows(digests).tolist() == [4]


@pytest.mark.parametrize("kept", [10_000, 10**6])
def test_memory_is_bounded_by_what_is_kept(kept: int) -> None:
    finder = DuplicateFinder(kept_rows=kept)
    for start in range(0, 200_000, 5000):
        ids = pa.array([f"{row % 150_000}" for row in range(start, start + 5000)])
        finder.add(ids, np.arange(start + 1, start + 5001))
        assert finder._count <= kept + 5000
    assert len(finder.duplicate_rows()) == 50_000
