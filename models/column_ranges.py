"""Names and ranges of a table's columns from a file of rows, such as those that the model was trained with.

Reads CSV with a header, also with semicolons or tabs and decimal commas. A range is of the values in the file; whether others
are plausible, only a person can know.
"""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from models.manifest import BundleRefused, Fault
from models.table_guess import GuessedFeature, feature_name

FEWEST_ROWS: Final = 10
DELIMITERS: Final = ",;\t|"
COMMA: Final = re.compile(r"[+-]?[0-9]+,(?![0-9]{3}$)[0-9]+")  # 10,000 may be ten thousand
Column = list[float] | None  # None: some value is no number


@dataclass(frozen=True)
class RowsFile:
    """A CSV file of rows: the character between its fields, detected if None, and its decimal mark."""

    path: Path
    delimiter: str | None = None
    decimal: str = "."

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name


def with_ranges(features: Sequence[GuessedFeature], data: RowsFile) -> list[GuessedFeature]:
    """The features with the ranges of the columns of `data` that are called alike; numbers in other columns have none.

    If the graph does not name its columns, and the file has as many, they are taken in order, with the file's names.
    Raises BundleRefused if the file is not CSV with a header and at least FEWEST_ROWS rows, or if no column fits.
    """
    header, columns = _read(data)
    names = [feature_name(title, ()) for title in header]
    if len(set(names)) < len(names):
        raise _refused(data, "two of its columns are called alike: rename one")
    unnamed = all(each.name == f"feature_{place}" for place, each in enumerate(features, 1))
    if unnamed and len(header) == len(features):
        features = [
            replace(each, name=name, title=title)
            for each, name, title in zip(features, names, header, strict=True)
        ]
    found = dict(zip(names, columns, strict=True))
    if not any(each.name in found for each in features):
        wanted = ", ".join(each.name for each in features[:3])
        raise _refused(
            data,
            f"none of its columns is one of the graph, such as {wanted}: rename them, or leave only the graph's columns, "
            "in its order",
        )
    return [_ranged(each, found.get(each.name)) for each in features]


def _ranged(feature: GuessedFeature, column: Column) -> GuessedFeature:
    if feature.type not in ("number", "integer") or feature.values or not column:
        return feature
    low, high = min(column), max(column)
    if low == high or (feature.type == "integer" and not all(map(float.is_integer, column))):
        return feature
    kind = float if feature.type == "number" else int
    return replace(feature, minimum=kind(low), maximum=kind(high))


def _read(data: RowsFile) -> tuple[list[str], list[Column]]:
    """The names of the columns and their numbers; an empty field is none. Raises BundleRefused."""
    try:
        with data.path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=data.delimiter or _delimiter(first, data.decimal), strict=True)
            header = next(rows, [])
            lines = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(data, f"it cannot be read as CSV in UTF-8 ({type(error).__name__})") from None
    if len(lines) < FEWEST_ROWS:
        raise _refused(data, f"give a header and at least {FEWEST_ROWS} rows; it has {len(lines)}")
    if any(len(row) != len(header) for row in lines):
        raise _refused(
            data, "its rows differ in their number of fields: say with --delimiter what stands between them"
        )
    if data.decimal == "." and any(COMMA.fullmatch(text.strip()) for row in lines for text in row):
        raise _refused(data, "it has numbers with a decimal comma: add --decimal ,")
    return header, [_numbers(column, data.decimal) for column in zip(*lines, strict=True)]


def _delimiter(header: str, decimal: str) -> str:
    """The likeliest delimiter of a file: the one that is the most frequent in its header."""
    return max(DELIMITERS.replace(decimal, ""), key=header.count)


def _numbers(column: Sequence[str], decimal: str) -> Column:
    try:
        return list(_finite(column, decimal))
    except ValueError:
        return None


def _finite(column: Sequence[str], decimal: str) -> Iterator[float]:
    """The numbers of a column. Raises ValueError at a field that holds none."""
    for text in filter(None, map(str.strip, column)):
        number = float(text.replace(decimal, "."))
        if not math.isfinite(number) or (decimal != "." and "." in text):
            raise ValueError(text)
        yield number


def _refused(data: RowsFile, reason: str) -> BundleRefused:
    return BundleRefused(Fault(data.name, "data_unusable", reason))
