"""Many rows at once, column by column: the numpy arrays that a batch passes to a pipeline and gets back.

Rules and messages are those of single inputs: a row is refused here if and only if `encode` refuses it, and scored to the
same numbers. No Python object is created per good row. Only the callers use Arrow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pipelines import Array, FieldFault
from models.pipelines.schema_columns import ColumnKind, DerivedColumn

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NumberColumn:
    """One field of n rows. `values` float64 [n] is valid where neither mask [n] is set; a mask of None is set nowhere.

    No cell is both missing and of a wrong type. `hints` say what to do about cells of a wrong type or NaN, at most
    one for a cell.
    """

    values: NDArray[np.float64]
    missing: Mask | None = None
    wrong_type: Mask | None = None
    hints: tuple[tuple[Mask, str], ...] = ()


@dataclass(frozen=True)
class CellFaults:
    """Faults in the order of rows: row `rows[i]` int64 [k], counted from 0, has the fault `kinds[faults[i]]`.

    A row may have several faults. `faults` is int32 [k].
    """

    rows: Rows
    faults: NDArray[np.int32]
    kinds: tuple[FieldFault, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, count: int) -> "CellFaults":
        """The faults of `count` rows starting at `start`, counted from there."""
        first, end = np.searchsorted(self.rows, (start, start + count))
        return CellFaults(self.rows[first:end] - start, self.faults[first:end], self.kinds)

    def of_rows(self, mask: Mask) -> "CellFaults":
        """The faults of the rows selected by `mask` (one bool per row), counted as before."""
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
    """Collects faults by kind, using 12 bytes per fault and one object per kind."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []
        self._faults: list[NDArray[np.int32]] = []
        self._kinds: dict[FieldFault, int] = {}

    @property
    def kinds(self) -> int:
        """The number of kinds of faults so far."""
        return len(self._kinds)

    def add(self, rows: Array, fault: FieldFault) -> None:
        """Add a fault of these rows, any integers [k]."""
        if len(rows):
            kind = self._kinds.setdefault(fault, len(self._kinds))
            self._rows.append(np.asarray(rows, dtype=np.int64))
            self._faults.append(np.full(len(rows), kind, dtype=np.int32))

    def add_all(self, found: CellFaults, *, shift: int = 0) -> None:
        """Add faults found elsewhere, with `shift` added to their rows."""
        if len(found):
            kinds = [self._kinds.setdefault(fault, len(self._kinds)) for fault in found.kinds]
            self._rows.append(found.rows + shift)
            self._faults.append(np.array(kinds, dtype=np.int32)[found.faults])

    def found(self) -> CellFaults:
        """All faults by row; those of one row are in the order in which they were added."""
        if not self._rows:
            return NO_FAULTS
        rows, faults = np.concatenate(self._rows), np.concatenate(self._faults)
        order = np.argsort(rows, kind="stable")
        return CellFaults(rows[order], faults[order], tuple(self._kinds))


@dataclass(frozen=True)
class CategoryColumn:
    """A column of a result with few distinct words: `codes` int32 [n] index `words`; -1 and the word None are null.

    The words are texts, or JSON.
    """

    name: str
    codes: NDArray[np.int32]
    words: tuple[str | None, ...]
    kind: ColumnKind = ColumnKind.TEXT


@dataclass(frozen=True)
class ValueColumn:
    """A column of a result with plain values [n]; None means null in every row, with type float64."""

    name: str
    values: Array | None


ResultColumn = CategoryColumn | ValueColumn | DerivedColumn
