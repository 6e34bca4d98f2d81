"""Names and ranges of a table's columns from a file of rows, such as those that the model was trained with.

Reads CSV with a header. A range is of the values in the file; whether others are plausible, only a person can know.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from models.manifest import BundleRefused, Fault
from models.table_guess import GuessedFeature, feature_name

FEWEST_ROWS: Final = 10
Column = list[float] | None  # None: some value is no number


def with_ranges(features: Sequence[GuessedFeature], data: Path) -> list[GuessedFeature]:
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


def _read(data: Path) -> tuple[list[str], list[Column]]:
    """The names of the columns and their numbers; an empty field is none. Raises BundleRefused."""
    try:
        with data.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            lines = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(data, f"it cannot be read as CSV in UTF-8 ({type(error).__name__})") from None
    if len(lines) < FEWEST_ROWS:
        raise _refused(data, f"give a header and at least {FEWEST_ROWS} rows; it has {len(lines)}")
    if any(len(row) != len(header) for row in lines):
        raise _refused(
            data, "its rows differ in their number of fields: write it with a comma between fields"
        )
    return header, [_numbers(column) for column in zip(*lines, strict=True)]


def _numbers(column: Sequence[str]) -> Column:
    try:
        return list(_finite(column))
    except ValueError:
        return None


def _finite(column: Sequence[str]) -> Iterator[float]:
    """The numbers of a column. Raises ValueError at a field that holds none."""
    for text in filter(None, map(str.strip, column)):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        yield number


def _refused(data: Path, reason: str) -> BundleRefused:
    return BundleRefused(Fault(data.name, "data_unusable", reason))
