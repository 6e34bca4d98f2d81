"""Finds rows that repeat an earlier row's id, in bounded memory for any number of rows.

Only 128-bit digests of ids are kept, in memory or in an unnamed temporary file. Their key is drawn for each file, and two
differing ids meet under one key in 2**128 whatever they are: no file can be built so that they do, and among 10**9 ids any
two meet with a probability below 10**-20.
"""

import secrets
import tempfile
from typing import IO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.batches.files.hashing import hash_128

KEPT_ROWS: Final = 2_000_000  # 24 bytes each
BUCKETS: Final = 128

DIGEST = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<i8")])


class DuplicateFinder:
    """Takes ids in the order of rows; at the end it knows the rows whose id came before."""

    def __init__(self, *, kept_rows: int = KEPT_ROWS) -> None:
        self._key = secrets.token_bytes(32)
        self._kept_rows = kept_rows
        self._kept: list[NDArray[np.void]] = []
        self._count = 0
        self._spilled: list[IO[bytes]] = []

    def add(self, ids: pa.Array, rows: NDArray[np.int64]) -> None:
        """Ids as texts, with their row numbers [n]. Null and empty ids never count as duplicates."""
        found = np.empty(len(rows), dtype=DIGEST)
        found["high"], found["low"] = hash_128(ids, self._key)
        found["row"] = rows
        told = pa.compute.greater(pa.compute.binary_length(ids), 0).fill_null(False)
        if not bool(pa.compute.all(told).as_py()):
            found = found[told.to_numpy(zero_copy_only=False)]
        self._kept.append(found)
        self._count += len(found)
        if self._count > self._kept_rows:
            self._spill()

    def duplicate_rows(self) -> NDArray[np.int64]:
        """The later rows of every id that occurs more than once: int64, rising. Ends the finder."""
        if not self._spilled:
            return np.sort(repeated_rows(self._taken()))
        self._spill()
        found = []
        for file in self._spilled:
            file.seek(0)
            found.append(repeated_rows(np.frombuffer(file.read(), dtype=DIGEST)))
            file.close()
        return np.sort(np.concatenate(found))

    def _taken(self) -> NDArray[np.void]:
        kept, self._kept, self._count = self._kept, [], 0
        return np.concatenate(kept) if kept else np.empty(0, dtype=DIGEST)

    def _spill(self) -> None:
        """Move the digests into files by their first bits: equal ids end up in one file."""
        if not self._spilled:
            self._spilled = [tempfile.TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - they live as long as the finder
        taken = self._taken()
        buckets = taken["high"] % BUCKETS
        order = np.argsort(buckets, kind="stable")
        ends = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
        for number, file in enumerate(self._spilled):
            file.write(taken[order[ends[number] : ends[number + 1]]].tobytes())


def repeated_rows(found: NDArray[np.void]) -> NDArray[np.int64]:
    """Rows that are not the first of their digest.

    Halves of digests that occur once are left out first: sorting them is quick, and seldom is anything left.
    """
    high = np.sort(found["high"])
    suspicious = np.unique(high[1:][high[1:] == high[:-1]])
    found = found[np.isin(found["high"], suspicious)] if len(suspicious) else found[:0]
    order = np.lexsort((found["row"], found["low"], found["high"]))
    high, low = found["high"][order], found["low"][order]
    again = np.flatnonzero((high[1:] == high[:-1]) & (low[1:] == low[:-1])) + 1
    rows: NDArray[np.int64] = found["row"][order[again]]
    return rows
