"""Batches of texts of like length."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BUCKET = 30  # batches' worth of rows that are sorted by length together, so that little is padding


def batches(lengths: Sequence[int], size: int, chance: np.random.Generator | None = None) -> Iterator[Ints]:
    """All rows, those of like length together; in random order with `chance`."""
    rows = np.arange(len(lengths)) if chance is None else chance.permutation(len(lengths))
    for start in range(0, len(rows), BUCKET * size):
        some = rows[start : start + BUCKET * size]
        some = some[np.argsort(np.take(lengths, some), kind="stable")]
        parts = np.array_split(some, -(-len(some) // size))
        order = range(len(parts)) if chance is None else chance.permutation(len(parts))
        yield from (parts[each] for each in order)
