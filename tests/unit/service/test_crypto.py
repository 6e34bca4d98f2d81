"""Sealed values and streams: what was sealed comes back, and nothing else does."""

from collections.abc import Iterable
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.crypto import (
    FRAME_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Cipher,
    Keyring,
    binding,
    new_nonces,
    sha256_hex,
)
from service.errors import PayloadUnreadable

KEY = bytes(range(KEY_BYTES))
TENANT, ROW = UUID(int=1), UUID(int=2)
PLACE = binding("job.payload", TENANT, ROW)
HEADER_BYTES = 8
SEALED_FRAME = FRAME_BYTES + TAG_BYTES

cipher = Cipher(KEY)


def sealed_stream(content: bytes, place: bytes = PLACE) -> bytes:
    return b"".join(cipher.seal_stream([content], place))


def opened_stream(sealed: bytes, place: bytes = PLACE, by: Cipher = cipher) -> bytes:
    return b"".join(by.open_stream([sealed], place))


def chunks(content: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`content` cut at `cuts`; equal cuts make empty chunks."""
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    return [content[start:end] for start, end in pairwise(places)]


def frames(sealed: bytes) -> tuple[bytes, list[bytes]]:
    """Header and frames of a sealed stream."""
    body = sealed[HEADER_BYTES:]
    return sealed[:HEADER_BYTES], [body[at : at + SEALED_FRAME] for at in range(0, len(body), SEALED_FRAME)]


@given(st.binary(max_size=2000), st.binary(max_size=100))
def test_a_sealed_value_opens_at_its_place(content: bytes, place: bytes) -> None:
    assert cipher.open(cipher.seal(content, place), place) == content


def test_values_sealed_together_have_a_nonce_each() -> None:
    nonces = [*new_nonces(1000)]
    assert len({*nonces, *new_nonces(1000)}) == 2000
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}
    sealed = cipher.seal(b"a value", PLACE, nonces[0])
    assert sealed[1 : 1 + NONCE_BYTES] == nonces[0]
    assert cipher.open(sealed, PLACE) == b"a value"


@pytest.mark.parametrize(
    "elsewhere",
    [
        binding("job.context", TENANT, ROW),
        binding("job.payload", UUID(int=9), ROW),
        binding("job.payload", TENANT, UUID(int=9)),
        b"",
    ],
    ids=["another column", "another tenant", "another row", "nowhere"],
)
def test_a_value_does_not_open_at_another_place(elsewhere: bytes) -> None:
    with pytest.raises(PayloadUnreadable):
        cipher.open(cipher.seal(b"case", PLACE), elsewhere)


def test_a_value_does_not_open_under_another_key() -> None:
    with pytest.raises(PayloadUnreadable):
        Cipher(bytes(KEY_BYTES)).open(cipher.seal(b"case", PLACE), PLACE)


@pytest.mark.parametrize(
    "at",
    [0, 1, NONCE_BYTES, 1 + NONCE_BYTES, 1 + NONCE_BYTES + 3, -TAG_BYTES, -1],
    ids=["version", "nonce", "nonce's end", "ciphertext", "ciphertext's end", "tag", "tag's end"],
)
def test_a_value_with_one_bit_changed_does_not_open(at: int) -> None:
    sealed = bytearray(cipher.seal(b"case", PLACE))
    sealed[at] ^= 1
    with pytest.raises(PayloadUnreadable):
        cipher.open(bytes(sealed), PLACE)


@pytest.mark.parametrize("length", range(1 + NONCE_BYTES + len(b"case") + TAG_BYTES))
def test_a_value_cut_short_does_not_open(length: int) -> None:
    with pytest.raises(PayloadUnreadable):
        cipher.open(cipher.seal(b"case", PLACE)[:length], PLACE)


def test_a_value_with_bytes_added_does_not_open() -> None:
    with pytest.raises(PayloadUnreadable):
        cipher.open(cipher.seal(b"case", PLACE) + b"\0", PLACE)


def test_the_same_value_is_never_sealed_alike() -> None:
    assert len({cipher.seal(b"case", PLACE) for _ in range(100)}) == 100


def test_a_sealed_value_does_not_hold_its_content() -> None:
    assert b"Mustermann" not in cipher.seal(b"Mustermann" * 10, PLACE)


def test_a_blind_index_finds_equal_values_of_one_key_only() -> None:
    assert cipher.blind_index("patient 7") == Cipher(KEY).blind_index("patient 7")
    assert cipher.blind_index("patient 7") != cipher.blind_index("patient 8")
    assert cipher.blind_index("patient 7") != Cipher(bytes(KEY_BYTES)).blind_index("patient 7")


sizes = st.sampled_from(
    [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 3 * FRAME_BYTES - 1]
)
cuts = st.lists(st.integers(0, 3 * FRAME_BYTES + 100), max_size=8)


@given(size=sizes, cuts_before=cuts, cuts_between=cuts)
@settings(max_examples=40)
def test_a_stream_comes_back_however_it_is_cut(
    size: int, cuts_before: list[int], cuts_between: list[int]
) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    sealed = b"".join(cipher.seal_stream(chunks(content, cuts_before), PLACE))
    assert b"".join(cipher.open_stream(chunks(sealed, cuts_between), PLACE)) == content


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_a_stream_of_small_parts_comes_back(parts: list[bytes]) -> None:
    sealed = list(cipher.seal_stream(parts, PLACE))
    assert b"".join(cipher.open_stream(sealed, PLACE)) == b"".join(parts)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_stream_of_whole_frames_has_no_frame_more(count: int) -> None:
    assert len(sealed_stream(bytes(count * FRAME_BYTES))) == HEADER_BYTES + count * SEALED_FRAME


def test_an_empty_stream_is_one_empty_frame() -> None:
    sealed = sealed_stream(b"")
    assert len(sealed) == HEADER_BYTES + TAG_BYTES
    assert opened_stream(sealed) == b""


def test_a_stream_is_sealed_frame_by_frame() -> None:
    parts = iter([bytes(FRAME_BYTES)] * 5)
    pieces = cipher.seal_stream(parts, PLACE)
    next(pieces)
    next(pieces)
    assert len(list(parts)) >= 2


LONG = bytes(2 * FRAME_BYTES + 10)


@pytest.mark.parametrize("at", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + FRAME_BYTES, -1])
def test_a_stream_with_one_bit_changed_does_not_open(at: int) -> None:
    sealed = bytearray(sealed_stream(LONG))
    sealed[at] ^= 1
    with pytest.raises(PayloadUnreadable):
        opened_stream(bytes(sealed))


@pytest.mark.parametrize(
    "length",
    [
        0,
        1,
        HEADER_BYTES - 1,
        HEADER_BYTES,
        HEADER_BYTES + TAG_BYTES,
        HEADER_BYTES + SEALED_FRAME,
        HEADER_BYTES + SEALED_FRAME + 1,
        HEADER_BYTES + 2 * SEALED_FRAME,
        -1,
    ],
)
def test_a_stream_cut_short_does_not_open(length: int) -> None:
    with pytest.raises(PayloadUnreadable):
        opened_stream(sealed_stream(LONG)[:length])


@pytest.mark.parametrize(
    "order",
    [(1, 0, 2), (0, 2, 1), (0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2), (0, 2), (1, 2), (2,)],
    ids=["first swapped", "last swapped", "first twice", "second twice", "last twice",
         "middle left out", "first left out", "last alone"],
)  # fmt: skip
def test_a_stream_with_its_frames_rearranged_does_not_open(order: tuple[int, ...]) -> None:
    header, found = frames(sealed_stream(LONG))
    with pytest.raises(PayloadUnreadable):
        opened_stream(header + b"".join(found[index] for index in order))


def test_a_frame_of_another_stream_does_not_fit_in() -> None:
    (header, found), (_, others) = frames(sealed_stream(LONG)), frames(sealed_stream(LONG))
    with pytest.raises(PayloadUnreadable):
        opened_stream(header + found[0] + others[1] + found[2])


def test_a_stream_with_bytes_added_does_not_open() -> None:
    with pytest.raises(PayloadUnreadable):
        opened_stream(sealed_stream(LONG) + b"\0")


def test_a_stream_does_not_open_at_another_place_or_under_another_key() -> None:
    sealed = sealed_stream(LONG)
    with pytest.raises(PayloadUnreadable):
        opened_stream(sealed, b"elsewhere")
    with pytest.raises(PayloadUnreadable):
        opened_stream(sealed, by=Cipher(bytes(KEY_BYTES)))


def test_a_value_does_not_open_as_a_stream() -> None:
    with pytest.raises(PayloadUnreadable):
        opened_stream(cipher.seal(b"case", PLACE))


def test_a_fault_of_the_source_passes_through_a_stream() -> None:
    def broken() -> Iterable[bytes]:
        yield bytes(10)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(cipher.seal_stream(broken(), PLACE))


def test_a_data_key_opens_under_its_master_key_and_place_only() -> None:
    wrapped = Keyring(KEY).new_data_key(PLACE)
    sealed = Keyring(KEY).cipher(wrapped, PLACE).seal(b"case", PLACE)
    assert Keyring(KEY).unwrapped(wrapped, PLACE).open(sealed, PLACE) == b"case"
    with pytest.raises(PayloadUnreadable):
        Keyring(bytes(KEY_BYTES)).unwrapped(wrapped, PLACE)
    with pytest.raises(PayloadUnreadable):
        Keyring(KEY).unwrapped(wrapped, b"elsewhere")


def test_a_remembered_data_key_does_not_open_at_another_place() -> None:
    keyring = Keyring(KEY)
    wrapped = keyring.new_data_key(PLACE)
    keyring.cipher(wrapped, PLACE)
    with pytest.raises(PayloadUnreadable):
        keyring.cipher(wrapped, b"elsewhere")


def test_every_data_key_is_another() -> None:
    keyring = Keyring(KEY)
    sealed = keyring.cipher(keyring.new_data_key(PLACE), PLACE).seal(b"case", PLACE)
    with pytest.raises(PayloadUnreadable):
        keyring.cipher(keyring.new_data_key(PLACE), PLACE).open(sealed, PLACE)


def test_a_digest_is_sha_256() -> None:
    # FIPS 180-4, example of the one-block message "abc".
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
