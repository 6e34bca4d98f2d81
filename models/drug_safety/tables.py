"""Reading the rule's tables: CSV files in UTF-8, refused with the line and what to change if damaged."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

# Reads a file by its path inside the bundle.
ReadFile = Callable[[str], bytes]

LIST: Final = ";"
_Enum = TypeVar("_Enum", bound=StrEnum)


class TableUnusable(Exception):
    """A table is damaged: `path` names the file, `detail` the line and what to change."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(f"{path}: {detail}")


@dataclass(frozen=True)
class Line:
    """One row of a table, with what is needed to say where it is wrong."""

    path: str
    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def listed(self, column: str) -> list[str]:
        """The entries of a cell that holds several, separated by semicolons."""
        return [each.strip() for each in self.cells[column].split(LIST) if each.strip()]

    def word(self, column: str, words: type[_Enum]) -> _Enum:
        """The cell as one of a closed set. Raises TableUnusable."""
        try:
            return words(self.cells[column])
        except ValueError:
            raise self.refused(f"{column} must be one of: {', '.join(words)}") from None

    def number_in(self, column: str) -> float | None:
        """The cell as a number of at least 0; None if it is empty. Raises TableUnusable."""
        if not self.cells[column]:
            return None
        try:
            number = float(self.cells[column])
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise self.refused(f"{column} must be a number of at least 0, or empty")
        return number

    def refused(self, detail: str) -> TableUnusable:
        """The refusal of the table because of this row."""
        return TableUnusable(self.path, f"row {self.number}: {detail}")


def read_table(
    read: ReadFile, path: str, columns: Sequence[str], filled: Sequence[str], optional: str | None = None
) -> list[Line]:
    """The rows of a table with exactly these columns, in any order; `filled` ones must not be empty, nor source and date.

    Tables of earlier bundles may lack the `optional` one: its cells are then empty.

    Raises:
        TableUnusable: not UTF-8 or not CSV, columns missing or unknown, cells too many or empty, no row, a row twice.
    """
    try:
        text = read(path).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError:
        raise TableUnusable(path, "it is not UTF-8: save it as CSV UTF-8") from None
    except csv.Error as fault:
        raise TableUnusable(
            path, f"it is not CSV ({fault}): restore it, or save it again as CSV UTF-8"
        ) from None
    if optional and rows and optional not in rows[0]:
        rows = [[*row, optional if number == 0 else ""] for number, row in enumerate(rows)]
    if not rows or sorted(rows[0]) != sorted(columns):
        raise TableUnusable(path, f"its first line must name the columns {', '.join(columns)}")
    found: list[Line] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise TableUnusable(path, f"row {number}: it has {len(row)} cells in place of {len(columns)}")
        line = Line(path, number, {name: cell.strip() for name, cell in zip(rows[0], row, strict=True)})
        if empty := [name for name in (*filled, "source", "date") if not line[name]]:
            raise line.refused(f"fill in {', '.join(empty)}")
        if (first := seen.setdefault(tuple(line.cells.values()), number)) != number:
            raise line.refused(f"it repeats row {first}: delete one")
        found.append(line)
    if not found:
        raise TableUnusable(path, "it has no rows: restore it")
    return found
