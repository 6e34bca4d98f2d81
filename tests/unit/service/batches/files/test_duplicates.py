"""Repeated ids are found exactly, however they are spread, in bounded memory."""

from hashlib import blake2b, shake_256

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.duplicates import DIGEST, DuplicateFinder, repeated_rows
from service.batches.files.hashing import LONG_BYTES, hash_128

MASK = 2**64 - 1
KNOWN = st.sampled_from(["a", "b", "patient-000000001", "x" * 32])
IDS = st.lists(st.one_of(st.none(), st.text(max_size=40), KNOWN), max_size=80)


# Differ, and meet under every seed of MurmurHash3 x64_128: a difference that a block brings in is taken out by the next.
BUILT = (
    "\u06d1Y\uebb6\u05a6\u0503\ufab3\uce520002\u4774,00000001",
    ";2W\x10S*,o\x13wx}v\x05\x18J0002a\ub0af00000001",
)


def multilinear(content: bytes, key: bytes) -> tuple[int, int]:
    """The hash of one text, word by word: each lane's words of the key times the text's, and the upper half of the sum."""

    def drawn(block: int) -> list[int]:
        expanded = shake_256(key + block.to_bytes(8, "little", signed=True)).digest(128)
        return [int.from_bytes(expanded[at : at + 8], "little") for at in range(0, 128, 8)]

    ends = drawn(-1)
    words = [int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4)]
    halves = []
    for lane in range(4):
        total = len(content) * ends[lane] + ends[4 + lane]
        total += sum(word * drawn(at // 4)[at % 4 * 4 + lane] for at, word in enumerate(words))
        halves.append((total & MASK) >> 32)
    return halves[0] << 32 | halves[1], halves[2] << 32 | halves[3]


@given(ids=IDS, key=st.binary(min_size=32, max_size=32), start=st.integers(0, 5))
def test_every_text_is_hashed_like_alone(ids: list[str | None], key: bytes, start: int) -> None:
    first, second = hash_128(pa.array(ids, pa.string()).slice(start), key)
    expected = [multilinear((text or "").encode(), key) for text in ids[start:]]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected


def test_long_texts_are_hashed_by_themselves_and_leave_the_others_as_they_were() -> None:
    key = b"k" * 32
    texts = ["a" * LONG_BYTES, "b" * (LONG_BYTES + 1), "c", "b" * (LONG_BYTES + 1), "b" * LONG_BYTES + "c"]
    first, second = hash_128(pa.array(["x", *texts]).slice(1), key)
    found = list(zip(first.tolist(), second.tolist(), strict=True))
    assert [found[0], found[2]] == [multilinear(texts[row].encode(), key) for row in (0, 2)]
    assert found[1] == found[3]
    assert len(set(found)) == 4
    content = blake2b(texts[4].encode(), digest_size=16, key=key).digest()
    assert found[4] == (int.from_bytes(content[:8], "little"), int.from_bytes(content[8:], "little"))


def test_texts_that_differ_in_zeros_at_their_end_have_hashes_of_their_own() -> None:
    first, _ = hash_128(pa.array(["", "\0", "\0\0", "a", "a\0", "a" * 16, "a" * 16 + "\0"]), bytes(32))
    assert len(set(first.tolist())) == 7


def test_ids_that_were_built_to_meet_are_told_apart() -> None:
    finder = DuplicateFinder()
    finder.add(pa.array([*BUILT, BUILT[0]]), np.arange(1, 4))
    assert finder.duplicate_rows().tolist() == [3]


def test_each_finder_has_a_key_of_its_own() -> None:
    assert DuplicateFinder()._key != DuplicateFinder()._key


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
