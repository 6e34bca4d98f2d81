"""Many rows at once, column by column: what a batch hands to a pipeline and gets back, in numpy alone.

The rules and messages are those of single inputs: a row is refused here exactly where `encode` refuses it, and scored
to the same numbers. No Python object is made per good row. Arrow is known to the callers only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pipelines import Array, FieldFault
from models.pipelines.schema_columns import DerivedColumn

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NumberColumn:
    """One field of n rows. `values` float64 [n] counts where neither mask [n] is set; None: nowhere set.

    No cell is both missing and of a wrong type. `hints` say of cells of a wrong type, each in one hint at most, what to do.
    """

    values: NDArray[np.float64]
    missing: Mask | None = None
    wrong_type: Mask | None = None
    hints: tuple[tuple[Mask, str], ...] = ()


@dataclass(frozen=True)
class CellFaults:
    """What is wrong, in order of rows: row `rows[i]` int64 [k], counted from 0, has `kinds[faults[i]]`.

    A row may have several. `faults` is int32 [k].
    """

    rows: Rows
    faults: NDArray[np.int32]
    kinds: tuple[FieldFault, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, count: int) -> "CellFaults":
        """Those of `count` rows from `start` on, counted from there."""
        first, end = np.searchsorted(self.rows, (start, start + count))
        return CellFaults(self.rows[first:end] - start, self.faults[first:end], self.kinds)

    def of_rows(self, mask: Mask) -> "CellFaults":
        """Those of the rows that `mask` (bool, one a row) picks, counted as before."""
        if not len(self):
            return self
        kept = mask[self.rows]
        return CellFaults(self.rows[kept], self.faults[kept], self.kinds)

    def any_of(self, count: int) -> Mask:
        """Which of `count` rows have a fault: bool [count]."""
        mask = np.zeros(count, dtype=np.bool_)
        mask[self.rows] = True
        return mask


NO_FAULTS = CellFaults(np.empty(0, np.int64), np.empty(0, np.int32))


class FaultFinder:
    """Collects faults by kind; memory is 12 bytes a fault and one object a kind."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []
        self._faults: list[NDArray[np.int32]] = []
        self._kinds: dict[FieldFault, int] = {}

    @property
    def kinds(self) -> int:
        """How many kinds of faults there are so far."""
        return len(self._kinds)

    def add(self, rows: Array, fault: FieldFault) -> None:
        """These rows, any integers [k], have this fault."""
        if len(rows):
            kind = self._kinds.setdefault(fault, len(self._kinds))
            self._rows.append(np.asarray(rows, dtype=np.int64))
            self._faults.append(np.full(len(rows), kind, dtype=np.int32))

    def add_all(self, found: CellFaults, *, shift: int = 0) -> None:
        """Faults found elsewhere, whose rows are counted from `shift` on here."""
        if len(found):
            kinds = [self._kinds.setdefault(fault, len(self._kinds)) for fault in found.kinds]
            self._rows.append(found.rows + shift)
            self._faults.append(np.array(kinds, dtype=np.int32)[found.faults])

    def found(self) -> CellFaults:
        """All of them by row; faults of one row stay in the order they were added in."""
        if not self._rows:
            return NO_FAULTS
        rows, faults = np.concatenate(self._rows), np.concatenate(self._faults)
        order = np.argsort(rows, kind="stable")
        return CellFaults(rows[order], faults[order], tuple(self._kinds))


@dataclass(frozen=True)
class CategoryColumn:
    """A column of a result with few words: `codes` int32 [n] counts into `words`, -1 and a word None are null."""

    name: str
    codes: NDArray[np.int32]
    words: tuple[str | None, ...]


@dataclass(frozen=True)
class ValueColumn:
    """A column of a result of plain values [n]; None: null in every row, of the type float64."""

    name: str
    values: Array | None


ResultColumn = CategoryColumn | ValueColumn | DerivedColumn
