"""Of which kind the values of carried JSON columns are, over a whole file: an output column has one type."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

from models.strict_json import JsonInvalid, read_json
from service.batches.files.formats.records import Records

LEAST_INT64, GREATEST_INT64 = -(2**63), 2**63 - 1


class Kind(StrEnum):
    """What a column's values have in common."""

    UNKNOWN = "unknown"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    MIXED = "mixed"


TYPES: Final = {
    Kind.UNKNOWN: pa.string(),
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.MIXED: pa.string(),
}

ByArrow = Callable[[Records, pa.Schema], dict[str, pa.Array] | None]


class Kinds:
    """The kinds of some columns, widened by every block of lines."""

    def __init__(self, names: Sequence[str]) -> None:
        self._kinds = dict.fromkeys(names, Kind.UNKNOWN)

    def take(self, records: Records, by_arrow: ByArrow) -> dict[str, pa.Array]:
        """The columns of some lines, after their kinds were taken in; of a line that is no object all are null."""
        if Kind.UNKNOWN not in self._kinds.values():
            found = by_arrow(records, self._schema())
            if found is not None:
                return found
        lines = [_object(records.bytes_of(index, index + 1)) for index in range(len(records))]
        for name, kind in self._kinds.items():
            for line in lines:
                kind = wider(kind, kind_of(line.get(name)))  # noqa: PLW2901 - it is what the loop finds
            self._kinds[name] = kind
        return {
            name: carried_array([line.get(name) for line in lines], TYPES[kind], mixed=kind is Kind.MIXED)
            for name, kind in self._kinds.items()
        }

    def schema(self, fields: set[str]) -> pa.Schema:
        """The columns' types; a field of the model that is carried, too, is read as a number."""
        return pa.schema(
            [(name, pa.float64() if name in fields else TYPES[kind]) for name, kind in self._kinds.items()]
        )

    def mixed(self) -> tuple[str, ...]:
        """The columns with values of several kinds."""
        return tuple(name for name, kind in self._kinds.items() if kind is Kind.MIXED)

    def _schema(self) -> pa.Schema:
        return self.schema(set())


def kind_of(value: object) -> Kind:
    """The kind of one JSON value."""
    match value:
        case None:
            return Kind.UNKNOWN
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.INTEGER if LEAST_INT64 <= value <= GREATEST_INT64 else Kind.MIXED
        case float():
            return Kind.NUMBER
        case str():
            return Kind.TEXT
        case _:
            return Kind.MIXED


def wider(one: Kind, other: Kind) -> Kind:
    """What holds values of both kinds."""
    if one is other or other is Kind.UNKNOWN:
        return one
    if one is Kind.UNKNOWN:
        return other
    return Kind.NUMBER if {one, other} == {Kind.INTEGER, Kind.NUMBER} else Kind.MIXED


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
        return float(value) if is_number else None  # type: ignore[arg-type]  # told by is_number
    except OverflowError:
        return None


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = read_json(line)
    except JsonInvalid:
        return {}
    return value if isinstance(value, dict) else {}
