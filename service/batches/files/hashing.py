"""A 128-bit hash of every text of an Arrow column at once: MurmurHash3_x64_128 (Appleby, public domain), keyed by
the start values of its two lanes. Not for secrets."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint64]

C1: Final = np.uint64(0x87C37B91114253D5)
C2: Final = np.uint64(0x4CF5AD432745937F)
BLOCK_BYTES: Final = 16
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


def hash_128(texts: pa.Array, seed: int) -> tuple[Words, Words]:
    """The two lanes, uint64 [n], of the UTF-8 bytes of `texts` (string or large_string); a null counts as empty."""
    array = texts.cast(pa.large_string()).fill_null("")
    _, offsets_buffer, values_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    values = np.frombuffer(values_buffer or b"", np.uint8)
    # A block may be read past the end of the last text: what lies there is masked.
    padded = np.concatenate([values[offsets[0] : offsets[-1]], np.zeros(BLOCK_BYTES, np.uint8)])
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    high = np.full(len(array), seed & 0xFFFFFFFFFFFFFFFF, np.uint64)
    low = high.copy()
    _mix_blocks(padded, starts, lengths, high, low)
    high ^= lengths.astype(np.uint64)
    low ^= lengths.astype(np.uint64)
    high += low
    low += high
    high, low = _finish(high), _finish(low)
    high += low
    low += high
    return high, low


def _mix_blocks(
    padded: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], high: Words, low: Words
) -> None:
    """Take in every 16 bytes of every text, then what is left of each, in place."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, BLOCK_BYTES)
    active = np.arange(len(starts))
    block = 0
    while len(active):
        left = lengths[active] - block * BLOCK_BYTES
        places = np.minimum(starts[active] + block * BLOCK_BYTES, len(windows) - 1)
        words = windows[places].view("<u8")
        first = _stirred(_cut(words[:, 0], left), C1, 31, C2)
        second = _stirred(_cut(words[:, 1], left - 8), C2, 33, C1)
        whole = left >= BLOCK_BYTES
        h1, h2 = high[active] ^ first, low[active]
        mixed = (_turned(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
        high[active] = np.where(whole, mixed, h1)
        h2 ^= second
        mixed = (_turned(h2, 31) + high[active]) * np.uint64(5) + np.uint64(0x38495AB5)
        low[active] = np.where(whole, mixed, h2)
        active = active[whole]
        block += 1


def _cut(words: Words, lengths: NDArray[np.int64]) -> Words:
    """The first `lengths` bytes of each word, zeros behind them; all 8 where there are more."""
    kept = np.clip(lengths, 0, 8)
    if kept.min() == 8:
        return words
    # Twice, since a shift by 64 bits is undefined.
    drop = ((8 - kept) * 4).astype(np.uint64)
    return words & ((ALL >> drop) >> drop)


def _stirred(words: Words, first: np.uint64, turn: int, second: np.uint64) -> Words:
    return _turned(words * first, turn) * second


def _turned(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _finish(words: Words) -> Words:
    """Murmur3's fmix64."""
    words = (words ^ (words >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    words = (words ^ (words >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return words ^ (words >> np.uint64(33))
