"""The columns of a batch, derived from a pipeline's JSON Schemas: the cells of an input, and a flattened result.

This works for every pipeline; the hand-written columns of a FieldPipeline or FilePipeline are faster and equivalent.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from models.pipelines.contract import PredictionInvalid, has_digits, result_json

Schema = Mapping[str, Any]

HALF_PAIR: Final = re.compile("[\ud800-\udfff]")  # no text in UTF-8
MOST: Final = sys.float_info.max
COLUMN: Final = (
    "x-column"  # in a property's schema: the name of its column, or what an object's columns begin with
)
LONG_DIGITS: Final = 19
LONG_INTEGER: Final = re.compile(rb"(?<![0-9.])[0-9]{19}")  # digits of fractions may be as many
INT64: Final = range(-(2**63), 2**63)
MARKERS: Final = "missing_markers"  # of an input's schema: what cells of files may hold for an absent value


class ColumnKind(StrEnum):
    """What a cell holds. CODE: one of a closed set of texts, whole numbers and flags. JSON: anything else, as its JSON text."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CODE = "code"
    JSON = "json"


_KINDS: Final = {
    "string": ColumnKind.TEXT,
    "number": ColumnKind.NUMBER,
    "integer": ColumnKind.INTEGER,
    "boolean": ColumnKind.BOOLEAN,
}
_CODES: Final = frozenset(("string", "integer", "boolean", "null"))


@dataclass(frozen=True)
class InputField:
    """A property of an input that is an object."""

    name: str
    kind: ColumnKind
    required: bool


@dataclass(frozen=True)
class ResultField:
    """A column of results: the path of its values in a result."""

    name: str
    kind: ColumnKind
    path: tuple[str, ...]

    def value_in(self, result: Mapping[str, Any]) -> Any:
        """The value of one result, JSON as its text; None where there is none."""
        found: Any = result
        for key in self.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if found is None or self.kind is not ColumnKind.JSON else result_json(found).decode()


@dataclass(frozen=True)
class DerivedColumn:
    """A column of n results; None is null, and JSON is text."""

    name: str
    kind: ColumnKind
    values: Sequence[Any]


def input_fields(schema: Schema) -> tuple[InputField, ...]:
    """The properties of an input, in order; empty if it is not an object with declared properties."""
    found = _resolved(schema, schema)
    required = found.get("required", ())
    properties: Mapping[str, Schema] = found.get("properties", {}) if found.get("type") == "object" else {}
    return tuple(
        InputField(name, _input_kind(each, schema), name in required) for name, each in properties.items()
    )


def missing_markers(schema: Schema) -> tuple[str, ...]:
    """What cells of files may hold for an absent value, beside nothing, as the model declares it."""
    return tuple(schema.get(MARKERS, ()))


def result_fields(schema: Schema) -> tuple[ResultField, ...]:
    """The columns of a result: objects laid out as `outer_inner`, lists and maps as JSON; `type` says nothing new.

    A property is named by `x-column` in its schema, if given. An object whose columns would be named as others are stays whole.
    """
    fields = [field for field in _laid_out(schema, schema, (), "") if field.path != ("type",)]
    names = [field.name for field in fields]
    if len(set(names)) == len(names):
        return tuple(fields)
    properties = _resolved(schema, schema)["properties"]
    return tuple(
        ResultField(name, _kind(each, schema), (name,)) for name, each in properties.items() if name != "type"
    )


def result_columns(
    fields: Sequence[ResultField], results: Sequence[Mapping[str, Any]]
) -> tuple[DerivedColumn, ...]:
    """The columns of some results. Raises PredictionInvalid where a value is not what its schema says or no column holds it."""
    rows, wrong = [], []
    for row, result in enumerate(results):
        try:
            rows.append([field.value_in(result) for field in fields])
        except PredictionInvalid:
            wrong.append(row)
            continue
        if not all(_fits(value, field.kind) for value, field in zip(rows[-1], fields, strict=True)):
            wrong.append(row)
    if wrong:
        raise PredictionInvalid(tuple(wrong), "the result is not what its schema says")
    return tuple(
        DerivedColumn(field.name, field.kind, [row[place] for row in rows])
        for place, field in enumerate(fields)
    )


def integer_fields(schema: Schema) -> tuple[ResultField, ...]:
    """Those columns of a result of which a column holds less than JSON does."""
    return tuple(field for field in result_fields(schema) if field.kind is ColumnKind.INTEGER)


def stored_result(result: Mapping[str, Any], integers: Sequence[ResultField]) -> bytes:
    """A job's result as JSON. Raises PredictionInvalid for what JSON cannot hold, and for what no batch can.

    `integers` are the `integer_fields` of the result's schema.
    """
    content = result_json(result)
    if integers and has_digits(content, LONG_DIGITS) and LONG_INTEGER.search(content):  # perhaps in a text
        result_columns(integers, [result])
    return content


def _fits(value: Any, kind: ColumnKind) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or kind is ColumnKind.BOOLEAN:
        return isinstance(value, bool) and kind is ColumnKind.BOOLEAN
    if kind is ColumnKind.NUMBER:
        return isinstance(value, int | float) and -MOST <= value <= MOST
    if kind is ColumnKind.INTEGER:
        return isinstance(value, int) and value in INT64
    return isinstance(value, str) and not HALF_PAIR.search(value)


def _laid_out(schema: Schema, root: Schema, path: tuple[str, ...], column: str) -> Iterator[ResultField]:
    found = _resolved(schema, root)
    properties = found.get("properties")
    if (
        found.get("type") == "object"
        and properties
        and not isinstance(found.get("additionalProperties"), dict)
    ):
        for name, each in properties.items():
            joined = f"{column}_{name}" if path else name
            yield from _laid_out(each, root, (*path, name), each.get(COLUMN, joined))
    elif path:
        yield ResultField(column, _kind(found, root), path)


def _kind(schema: Schema, root: Schema) -> ColumnKind:
    found = _resolved(schema, root)
    if isinstance(kind := found.get("type"), str):
        return _KINDS.get(kind, ColumnKind.JSON)
    allowed = [found["const"]] if "const" in found else found.get("enum", ())
    kinds = {_kind_of(value) for value in allowed if value is not None}
    return kinds.pop() if len(kinds) == 1 else ColumnKind.JSON


def _input_kind(schema: Schema, root: Schema) -> ColumnKind:
    found = _resolved(schema, root)
    kinds = found.get("type")
    is_code = isinstance(kinds, list) and "enum" in found and {*kinds} <= _CODES
    return ColumnKind.CODE if is_code else _kind(schema, root)


def _kind_of(value: object) -> ColumnKind:
    if isinstance(value, bool):
        return ColumnKind.BOOLEAN
    named = {str: ColumnKind.TEXT, int: ColumnKind.INTEGER, float: ColumnKind.NUMBER}
    return named.get(type(value), ColumnKind.JSON)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """A schema with references resolved, and without its alternative null."""
    while True:
        options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        elif len(options) == 1:
            schema = options[0]
        else:
            break
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(told := [kind for kind in kinds if kind != "null"]) == 1:
        return {**schema, "type": told[0]}
    return schema
