"""The kinds of values in carried JSON columns, over a whole file: an output column has one type.

No number is carried as another one: a column that holds integers past 2**53 and fractions, or a number that is neither,
is carried as text. An id is a text or a number, and comes back as it is written: `1.0` is another id than `1`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from models.strict_json import JsonInvalid, read_json_line
from service.batches.files.formats.records import Records

LEAST_INT64, GREATEST_INT64 = -(2**63), 2**63 - 1
NEGATIVE_ZERO: Final = re.compile(rb":\s*-0\s*[,}]")  # an integer that is read as 0
EXACT: Final = 2**53  # every integer up to it is a float64


class Kind(StrEnum):
    """What a column's values have in common."""

    UNKNOWN = "unknown"
    TEXT = "text"
    INTEGER = "integer"
    LONG = "long"
    NUMBER = "number"
    BOOLEAN = "boolean"
    MIXED = "mixed"


TYPES: Final = {
    Kind.UNKNOWN: pa.string(),
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.LONG: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.MIXED: pa.string(),
}

ByArrow = Callable[[Records, pa.Schema], dict[str, pa.Array] | None]


class Kinds:
    """The kinds of some columns, widened by every block of lines. `id_column` is one of them, or None."""

    def __init__(self, names: Sequence[str], id_column: str | None) -> None:
        self._kinds = dict.fromkeys(names, Kind.UNKNOWN)
        self._id_column = id_column

    def take(self, records: Records, by_arrow: ByArrow) -> dict[str, pa.Array]:
        """The columns of some lines, their kinds recorded; all are null for a line that is no object."""
        if Kind.UNKNOWN not in self._kinds.values():
            found = by_arrow(records, self.schema(frozenset()))
            if found is not None and self._are_exact(found) and not self._has_negative_zero(found, records):
                return found
        lines = [records.bytes_of(index, index + 1) for index in range(len(records))]
        objects = [_object(line) for line in lines]
        cells: dict[str, list[object]] = {}
        for name, kind in self._kinds.items():
            cells[name] = [found.get(name) for found in objects]
            if name == self._id_column:
                cells[name] = [
                    written_id(cell, name, line) for cell, line in zip(cells[name], lines, strict=True)
                ]
            for cell in cells[name]:
                kind = wider(kind, kind_of(cell))  # noqa: PLW2901 - it is what the loop finds
            self._kinds[name] = kind
        return {
            name: carried_array(cells[name], TYPES[kind], mixed=kind is Kind.MIXED)
            for name, kind in self._kinds.items()
        }

    def _are_exact(self, found: dict[str, pa.Array]) -> bool:
        """Whether no number of these columns is large enough to need its kind checked."""
        numeric = (column for column in found.values() if column.type in (pa.int64(), pa.float64()))
        return all(
            pc.all(pc.and_(pc.less_equal(column, EXACT), pc.greater_equal(column, -EXACT))).as_py()
            is not False
            for column in numeric
        )

    def _has_negative_zero(self, found: dict[str, pa.Array], records: Records) -> bool:
        """Whether an id may be written `-0`, which an integer does not tell from `0`."""
        ids = None if self._id_column is None else found[self._id_column]
        if ids is None or not pa.types.is_integer(ids.type) or not pc.any(pc.equal(ids, 0)).as_py():
            return False
        return NEGATIVE_ZERO.search(records.content) is not None

    def schema(self, fields: frozenset[str]) -> pa.Schema:
        """The columns' types; one of the `fields` that is carried, too, is read as a number, unless it is the id."""
        return pa.schema(
            [
                (name, pa.float64() if self._is_number(name, fields) else TYPES[kind])
                for name, kind in self._kinds.items()
            ]
        )

    def _is_number(self, name: str, fields: frozenset[str]) -> bool:
        whole = self._kinds[name] in (Kind.INTEGER, Kind.LONG)
        return name in fields and name != self._id_column and not whole

    def mixed(self) -> tuple[str, ...]:
        """The columns with values of several kinds."""
        return tuple(name for name, kind in self._kinds.items() if kind is Kind.MIXED)


def kind_of(value: object) -> Kind:
    """The kind of one JSON value."""
    match value:
        case None:
            return Kind.UNKNOWN
        case bool():
            return Kind.BOOLEAN
        case int():
            return _kind_of_integer(value)
        case float():
            return Kind.NUMBER if math.isfinite(value) else Kind.MIXED
        case str():
            return Kind.TEXT
        case _:
            return Kind.MIXED


def _kind_of_integer(value: int) -> Kind:
    if -EXACT <= value <= EXACT:
        return Kind.INTEGER
    return Kind.LONG if LEAST_INT64 <= value <= GREATEST_INT64 else Kind.MIXED


def wider(one: Kind, other: Kind) -> Kind:
    """What holds values of both kinds."""
    if one is other or other is Kind.UNKNOWN:
        return one
    if one is Kind.UNKNOWN:
        return other
    both = {one, other}
    if both == {Kind.INTEGER, Kind.LONG}:
        return Kind.LONG
    return Kind.NUMBER if both == {Kind.INTEGER, Kind.NUMBER} else Kind.MIXED


def is_id(value: object) -> bool:
    """Whether a JSON value can be an id: a text or a number."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def written_id(value: object, name: str, line: bytes) -> str | int | None:
    """The id that stands under `name` in a line of JSON: `-0` and fractions as their text; None for what is no id."""
    if isinstance(value, float):
        return str(read_json_line(line, written_floats=True)[name])
    if value == 0 and value is not False and NEGATIVE_ZERO.search(line):
        return _written_zero(name, line)
    return value if is_id(value) else None  # type: ignore[return-value] # ensured by is_id


def _written_zero(name: str, line: bytes) -> str | int:
    written = json.loads(line, parse_int=str)[name]
    return "-0" if written == "-0" else 0


def carried_array(values: Sequence[object], kind: pa.DataType, *, mixed: bool) -> pa.Array:
    """Values as a column of a type they fit; in a mixed one all but texts become their JSON text."""
    if mixed:
        values = [
            value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)
            for value in values
        ]
    elif pa.types.is_float64(kind):
        values = [_number(value) for value in values]
    return pa.array(values, kind)


def _number(value: object) -> float | None:
    """A number, or null for what a column of numbers cannot hold: its row has a fault of its own then."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number else None  # type: ignore[arg-type] # ensured by is_number
    except OverflowError:
        return None


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = read_json_line(line)
    except JsonInvalid:
        return {}
    return value if isinstance(value, dict) else {}
