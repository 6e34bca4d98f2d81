"""Converts pydantic's errors into faults with this project's codes and messages: the place, and what the JSON Schema expects.

No fault contains a value, and no message a key that the schema does not name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from models.field_codes import FieldCode, OtherCode
from models.pipelines.contract import FieldFault, pointer_to
from models.pipelines.features.names import FieldNames

Schema = Mapping[str, Any]

MOST: Final = 100  # faults of one value: a list may hold any number of wrong elements
_CODES: Final[Mapping[str, FieldCode]] = {
    "missing": FieldCode.MISSING_FIELD,
    "finite_number": FieldCode.NOT_FINITE,
    "literal_error": FieldCode.NOT_ALLOWED,
    "enum": FieldCode.NOT_ALLOWED,
    "string_pattern_mismatch": FieldCode.WRONG_FORMAT,
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of", "int_parsing_size"),
        FieldCode.OUT_OF_RANGE,
    ),
    **dict.fromkeys(("string_too_long", "too_long", "bytes_too_long"), FieldCode.TOO_LONG),
    **dict.fromkeys(("string_too_short", "too_short", "bytes_too_short"), FieldCode.TOO_SHORT),
}  # fmt: skip
_OWN_WORDS: Final = frozenset(("value_error", "assertion_error"))  # of an author's validators
_KNOWN: Final = frozenset(get_args(ErrorType))
_KINDS: Final = {
    "string": "a text", "number": "a number", "integer": "an integer", "boolean": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip
_FORMATS: Final = {
    "date-time": "a date and time such as 2026-03-01T12:00:00Z",
    "date": "a date such as 2026-03-01",
    "time": "a time such as 12:00:00",
    "uuid": "a UUID",
    "duration": "a duration such as PT2H",
}


def field_faults(error: ValidationError, value: object, schema: Schema) -> list[FieldFault]:
    """The faults of a `value` that must fit `schema`, converted from pydantic's errors; MOST at most."""
    found: dict[tuple[str, ...], list[FieldFault]] = {}
    unknown: dict[tuple[str, ...], list[str]] = {}
    for each in error.errors():
        path = _path(each["loc"], value, absent=each["type"] == "missing")
        if each["type"] == "extra_forbidden":
            unknown.setdefault(path[:-1], []).append(path[-1])
        else:
            found.setdefault(path, []).append(_fault(each, path, schema))
    faults = [_merged(several) for several in found.values()]
    for path, keys in unknown.items():
        faults += _unknown(path, keys, schema)
    return faults[:MOST]


def described(schema: Schema, root: Schema) -> str:
    """What a value must be, such as "a number between 0 and 50 mg"."""
    schema = _resolved(schema, root)
    if "const" in schema or "enum" in schema:
        return _one_of([schema["const"]] if "const" in schema else schema["enum"])
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(described(option, root) for option in options))
    kind = _kind(schema)
    if kind == "string":
        return _text(schema)
    if kind in ("number", "integer"):
        return f"{_KINDS[kind]}{_range(schema)}"
    if kind == "array":
        return f"a list{_count(schema, 'minItems', 'maxItems', 'elements')}"
    return _KINDS.get(kind, "what the schema says")


def _kind(schema: Schema) -> str:
    """The type of a schema, without its alternative null."""
    kind = schema.get("type")
    return next((each for each in kind if each != "null"), "null") if isinstance(kind, list) else str(kind)


def _fault(found: Any, path: tuple[str, ...], root: Schema) -> FieldFault:
    """One ErrorDetails of pydantic, whose place in the value is `path`, as a fault."""
    kind, pointer = found["type"], pointer_to(*path)
    name, schema = _place(path, root)
    if kind in _OWN_WORDS:
        words = str(found["msg"])  # behind "Value error, " or "Assertion failed, "
        return FieldFault(pointer, FieldCode.INVALID_VALUE, words.partition(", ")[2] or words)
    if kind not in _KNOWN:  # a PydanticCustomError of an author: its type is the code
        return FieldFault(pointer, OtherCode(kind), str(found["msg"]))
    wanted = described(schema, root)
    if kind == "missing":
        return FieldFault(pointer, FieldCode.MISSING_FIELD, f"{name} is missing: send {wanted}.")
    if not path and _resolved(schema, root).get("type") == "object":
        return FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object.")
    return FieldFault(pointer, _code(kind), f"{name} must be {wanted}.")


def _code(kind: str) -> FieldCode:
    if kind in _CODES:
        return _CODES[kind]
    if kind.endswith(("_parsing", "_invalid", "_inexact")) or "_past" in kind or "_future" in kind:
        return FieldCode.WRONG_FORMAT
    return FieldCode.WRONG_TYPE


def _merged(faults: list[FieldFault]) -> FieldFault:
    """One fault of a place: a value that fits none of several types has one of each, and the type it has says most."""
    return next((fault for fault in faults if fault.code != FieldCode.WRONG_TYPE), faults[0])


def _unknown(path: tuple[str, ...], keys: list[str], root: Schema) -> list[FieldFault]:
    """What is said of the `keys` of the object at `path` that its schema does not name."""
    _, schema = _place(path, root)
    names = FieldNames(_resolved(schema, root).get("properties", {}))
    prefix = pointer_to(*path)
    return [
        FieldFault(f"{prefix}{fault.pointer}", fault.code, fault.detail)
        for fault in names.unknown(dict.fromkeys(keys))
    ]


def _path(loc: Sequence[int | str], value: Any, *, absent: bool) -> tuple[str, ...]:
    """Where in `value` pydantic's `loc` points to: without the names of types and branches that it goes through.

    With `absent`, its last step is a key that is missing there.
    """
    path = []
    for step in loc[:-1] if absent else loc:
        if not _has(value, step):
            continue
        value = value[step]
        path.append(str(step))
    return (*path, str(loc[-1])) if absent else tuple(path)


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _place(path: tuple[str, ...], root: Schema) -> tuple[str, Schema]:
    """What the place at `path` is called, and its schema. Keys that the schema does not name are not quoted."""
    name, schema = "the input", root
    for step in path:
        schema = _resolved(schema, root)
        properties = schema.get("properties", {})
        if step in properties:
            name, schema = step, properties[step]
        else:
            inner = schema.get("items", schema.get("additionalProperties", {}))
            schema = inner if isinstance(inner, dict) else {}
            name = f"each of {name}" if not name.startswith("each of ") else name
    return name, schema


def _resolved(schema: Schema, root: Schema) -> Schema:
    """A schema with references resolved, and reduced to its only alternative other than null."""
    while True:
        options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in schema:
            schema = {**root["$defs"][schema["$ref"].rpartition("/")[2]], **_without_ref(schema)}
        elif len(options) == 1 and "properties" not in schema:
            schema = {**options[0], **{key: schema[key] for key in ("title", "unit") if key in schema}}
        else:
            return schema


def _without_ref(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "$ref"}


def _one_of(values: Sequence[object]) -> str:
    words = ", ".join("null" if value is None else str(value) for value in values)
    return words if len(values) == 1 else f"one of {words}"


def _text(schema: Schema) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    pattern = f" that matches {schema['pattern']}" if "pattern" in schema else ""
    return f"a text{_count(schema, 'minLength', 'maxLength', 'characters')}{pattern}"


def _count(schema: Schema, least: str, most: str, what: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low and high is not None:
        return f" of {low} to {high} {what}" if low != high else f" of {low} {what}"
    if high is not None:
        return f" of at most {high} {what}"
    return f" of at least {low} {what}" if low else ""


def _range(schema: Schema) -> str:
    unit = "" if schema.get("unit", "1") == "1" else f" {schema['unit']}"
    low, high = schema.get("minimum"), schema.get("maximum")
    rules = []
    if low is not None and high is not None:
        rules.append(f"between {low:g} and {high:g}")
    elif low is not None:
        rules.append(f"of at least {low:g}")
    elif high is not None:
        rules.append(f"of at most {high:g}")
    if (above := schema.get("exclusiveMinimum")) is not None:
        rules.append(f"greater than {above:g}")
    if (below := schema.get("exclusiveMaximum")) is not None:
        rules.append(f"less than {below:g}")
    text = f" {' and '.join(rules)}{unit}" if rules else (f" in{unit}" if unit else "")
    return f"{text}, a multiple of {schema['multipleOf']:g}" if "multipleOf" in schema else text
