"""Envelope encryption of payloads: AES-256-GCM under a tenant's data key, itself wrapped by the master key.

Owns the formats of sealed bytes and the binding of each to its place. Stores nothing.

Sealed value:  version (1 byte) | nonce (12) | ciphertext and tag.
Sealed stream: version (1 byte) | nonce prefix (7) | frames; each frame is up to FRAME_BYTES of plaintext
under nonce prefix | frame counter (4) | last-frame flag (1), the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizar (CRYPTO 2015), so that frames can be neither dropped, reordered nor cut off.
A nonce is random, so one data key serves at most 2**32 values (NIST SP 800-38D, 8.3).
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import PayloadUnreadable

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
FRAME_BYTES = 256 * 1024
VERSION = b"\x01"
KNOWN_TEXT = b"medqueue key check"
_PREFIX_BYTES = 7
STREAM_HEADER_BYTES = len(VERSION) + _PREFIX_BYTES


def frame_count(size_bytes: int) -> int:
    """The frames of a sealed stream of `size_bytes` plain bytes; an empty stream has one empty frame."""
    return max(1, -(-size_bytes // FRAME_BYTES))


def frame_offset(number: int) -> int:
    """Where frame `number` begins in a sealed stream."""
    return STREAM_HEADER_BYTES + number * (FRAME_BYTES + TAG_BYTES)


def binding(column: str, tenant_id: UUID, row_id: UUID | str) -> bytes:
    """Associated data that ties sealed bytes to one column (`table.column`), tenant and row."""
    return f"{_place(column, tenant_id)}{row_id}".encode()


@lru_cache(maxsize=4096)  # to write a UUID takes as long as to seal a short value
def _place(column: str, tenant_id: UUID) -> str:
    return f"{column}|{tenant_id}|"


def new_nonces(count: int) -> Iterator[bytes]:
    """Nonces for `count` values that are sealed now.

    Drawn together: os.urandom lets other threads run, and to get the interpreter back takes longer than to seal. None is kept
    for later, which a fork or a snapshot of the machine would double.
    """
    return (nonce for (nonce,) in struct.iter_unpack(f"{NONCE_BYTES}s", os.urandom(NONCE_BYTES * count)))


class Cipher:
    """Seals and opens under one 256-bit key. Safe to share between threads."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._index_key = hmac.digest(key, b"medqueue blind index", "sha256")

    def seal(self, plaintext: bytes, bound_to: bytes, nonce: bytes | None = None) -> bytes:
        """Encrypt `plaintext`; only the same `bound_to` opens it. `nonce` is one of `new_nonces` that was never used."""
        nonce = nonce or os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._aead.encrypt(nonce, plaintext, bound_to)

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """Decrypt what `seal` made. Raises PayloadUnreadable when key, place or bytes differ."""
        if sealed[:1] != VERSION:
            raise PayloadUnreadable
        try:
            return self._aead.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], bound_to)
        except (InvalidTag, ValueError):  # ValueError: cut short within the nonce
            raise PayloadUnreadable from None

    def blind_index(self, value: str) -> bytes:
        """A keyed digest (HMAC-SHA-256, 32 bytes) by which equal values can be found but not read."""
        return hmac.digest(self._index_key, value.encode(), "sha256")

    def seal_stream(self, parts: Iterable[bytes], bound_to: bytes) -> Iterator[bytes]:
        """Encrypt a stream of any length in frames; memory stays at about one frame."""
        prefix = os.urandom(_PREFIX_BYTES)
        yield VERSION + prefix
        for number, (frame, last) in enumerate(_frames(parts, FRAME_BYTES)):
            yield self._aead.encrypt(_frame_nonce(prefix, number, last), frame, bound_to)

    def open_stream(self, parts: Iterable[bytes], bound_to: bytes) -> Iterator[bytes]:
        """Decrypt what `seal_stream` made. Raises PayloadUnreadable when a frame is missing or changed."""
        source = _Reader(parts)
        header = source.read(STREAM_HEADER_BYTES)
        for number, (frame, last) in enumerate(_frames(source.rest(), FRAME_BYTES + TAG_BYTES)):
            yield self.open_frame(header, number, frame, bound_to, last=last)

    def open_frame(self, header: bytes, number: int, frame: bytes, bound_to: bytes, *, last: bool) -> bytes:
        """Decrypt one frame of a sealed stream, given the stream's first STREAM_HEADER_BYTES.

        `last` must be what the sealer knew: so a stream that was cut off cannot pass for a whole one. Raises
        PayloadUnreadable.
        """
        plain = bytearray(max(0, len(frame) - TAG_BYTES))
        self.open_frame_into(header, number, memoryview(frame), bound_to, memoryview(plain), last=last)
        return bytes(plain)

    def open_frame_into(
        self, header: bytes, number: int, frame: memoryview, bound_to: bytes, plain: memoryview, *, last: bool
    ) -> None:
        """The same into `plain`, which must have exactly the length of the frame's plain bytes."""
        if header[:1] != VERSION or len(header) != STREAM_HEADER_BYTES:
            raise PayloadUnreadable
        try:
            self._aead.decrypt_into(_frame_nonce(header[1:], number, last), frame, bound_to, plain)
        except (InvalidTag, ValueError):  # ValueError: the lengths do not fit
            raise PayloadUnreadable from None


class Keyring:
    """Makes and unwraps data keys under the master key; remembers what it has unwrapped."""

    def __init__(self, master_key: bytes) -> None:
        self._master = Cipher(master_key)
        self._ciphers: dict[tuple[bytes, bytes], Cipher] = {}

    def sealed_check(self, bound_to: bytes) -> bytes:
        """A known text, sealed under the master key itself: only the same key opens it."""
        return self._master.seal(KNOWN_TEXT, bound_to)

    def open_check(self, sealed: bytes, bound_to: bytes) -> None:
        """Raises PayloadUnreadable under another master key."""
        self._master.open(sealed, bound_to)

    def new_data_key(self, bound_to: bytes) -> bytes:
        """A fresh random data key, wrapped."""
        return self._master.seal(os.urandom(KEY_BYTES), bound_to)

    def unwrapped(self, wrapped: bytes, bound_to: bytes) -> Cipher:
        """The cipher of a wrapped data key. Raises PayloadUnreadable under another master key."""
        return Cipher(self._master.open(wrapped, bound_to))

    def cipher(self, wrapped: bytes, bound_to: bytes) -> Cipher:
        """The same, remembered: for the few data keys of tenants, which every request needs."""
        known = self._ciphers.get((wrapped, bound_to))
        if known is None:
            known = self._ciphers[wrapped, bound_to] = self.unwrapped(wrapped, bound_to)
        return known


def sha256_hex(content: bytes) -> str:
    """SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class _Reader:
    """Reads exact lengths from a stream of byte strings."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._left = b""

    def read(self, size: int) -> bytes:
        while len(self._left) < size:
            part = next(self._parts, None)
            if part is None:
                break
            self._left += part
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def rest(self) -> Iterator[bytes]:
        if self._left:
            yield self._left
        yield from self._parts


def _frames(parts: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut a stream into frames of `size` bytes; the last, perhaps empty or shorter, is marked."""
    source = _Reader(parts)
    frame = source.read(size)
    while True:
        following = source.read(size) if len(frame) == size else b""
        yield frame, not following
        if not following:
            return
        frame = following


def _frame_nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)
