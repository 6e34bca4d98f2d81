"""A keyed 128-bit hash of every text of an Arrow column at once; collisions cannot be built without the key.

Each of its four lanes is multilinear: the sum of the text's 32-bit words and its length, each times a 64-bit word of the
key, modulo 2**64; its upper half is kept. Two differing texts meet in a lane for one key in 2**32 whatever the texts are
(Lemire and Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014), so in all four for one in
2**128. All texts take each block together, so one long text would take as many steps by itself: texts of more than
LONG_BYTES are hashed one by one, by BLAKE2b with the key (RFC 7693).
"""

from hashlib import blake2b, shake_256
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint64]

LANES: Final = 4
WORDS: Final = 4  # of 32 bits, in a block
BLOCK_BYTES: Final = 4 * WORDS
LONG_BYTES: Final = 4096
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
HALF: Final = np.uint64(32)
NO_BLOCK: Final = -1  # where the key's words for the length stand, and what each sum begins with


def hash_128(texts: pa.Array, key: bytes) -> tuple[Words, Words]:
    """Two words, uint64 [n], of the UTF-8 bytes of `texts` (string or large_string); a null counts as empty."""
    array = texts.cast(pa.large_string()).fill_null("")
    _, offsets_buffer, values_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    values = np.frombuffer(values_buffer or b"", np.uint8)
    # A block may be read past the end of the last text: what lies there is masked.
    padded = np.concatenate([values[offsets[0] : offsets[-1]], np.zeros(BLOCK_BYTES, np.uint8)])
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    is_long = lengths > LONG_BYTES
    long = [
        _long_hash(padded[starts[row] : starts[row] + lengths[row]], key) for row in np.flatnonzero(is_long)
    ]
    lengths[is_long] = 0
    of_length, first = _key_words(key, NO_BLOCK)[:2]
    sums = [lengths.astype(np.uint64) * of_length[lane] + first[lane] for lane in range(LANES)]
    _add_blocks(padded, starts, lengths, sums, key)
    found = _joined(sums[0], sums[1]), _joined(sums[2], sums[3])
    for half, words in enumerate(found):
        words[is_long] = [each[half] for each in long]
    return found


def _long_hash(text: NDArray[np.uint8], key: bytes) -> Words:
    return np.frombuffer(blake2b(text.tobytes(), digest_size=16, key=key).digest(), "<u8")


def _add_blocks(
    padded: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    sums: list[Words],
    key: bytes,
) -> None:
    """Add every 16 bytes of every text to its sums, and what is left of each with zeros behind it."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, BLOCK_BYTES)
    active, block = np.flatnonzero(lengths), 0
    while len(active):
        left = lengths[active] - block * BLOCK_BYTES
        halves = windows[starts[active] + block * BLOCK_BYTES].view("<u8")
        words = [part for at in (0, 1) for part in _parts(_cut(halves[:, at], left - 8 * at))]
        by_word = _key_words(key, block)
        for lane, total in enumerate(sums):
            product = words[0] * by_word[0, lane]
            for word, factors in zip(words[1:], by_word[1:], strict=True):
                product += word * factors[lane]
            total[active] += product
        block += 1
        active = active[left > BLOCK_BYTES]


def _key_words(key: bytes, block: int) -> Words:
    """The key's factors for the words of one block: uint64 [words, lanes]."""
    drawn = shake_256(key + block.to_bytes(8, "little", signed=True)).digest(8 * WORDS * LANES)
    return np.frombuffer(drawn, "<u8").reshape(WORDS, LANES)


def _cut(words: Words, lengths: NDArray[np.int64]) -> Words:
    """The first `lengths` bytes of each word, zeros behind them; all 8 where there are more."""
    kept = np.clip(lengths, 0, 8)
    if kept.min() == 8:
        return words
    # Twice, since a shift by 64 bits is undefined.
    drop = ((8 - kept) * 4).astype(np.uint64)
    return words & ((ALL >> drop) >> drop)


def _parts(words: Words) -> tuple[Words, Words]:
    """The lower and the upper 32 bits of each word."""
    return words & (ALL >> HALF), words >> HALF


def _joined(first: Words, second: Words) -> Words:
    """The upper halves of two lanes as one word."""
    return (first & ~(ALL >> HALF)) | (second >> HALF)
