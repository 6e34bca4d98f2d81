"""Converts pydantic's errors into faults with this project's codes and messages: the place, and what the JSON Schema expects.

No fault contains a value, and no message a key that the schema does not name.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from models import units
from models.field_codes import FieldCode, OtherCode
from models.pipelines.contract import FieldFault, pointer_to
from models.pipelines.features.names import FieldNames

Schema = Mapping[str, Any]

FORM: Final = (
    "x-form"  # in the schema of a text: its pattern in words, as the end of "a text of 4 characters"
)
EXACT: Final = ".15g"  # of a bound: six digits would give another one, such as 4.29497e+09 for 4294967295
MOST: Final = 100  # faults of one value: a list may hold any number of wrong elements
MOST_ALIKE: Final = 3  # elements of lists with the same fault that are told one by one
LONGEST_EXAMPLE: Final = 40  # characters of an example in a message
MOST_READ: Final = 10_000  # of pydantic's errors, each of which takes a kilobyte once it is read
_CODES: Final[Mapping[str, FieldCode]] = {
    "missing": FieldCode.MISSING_FIELD,
    "union_tag_not_found": FieldCode.MISSING_FIELD,
    "union_tag_invalid": FieldCode.NOT_ALLOWED,
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
_TAGS: Final = frozenset(("union_tag_invalid", "union_tag_not_found"))
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
    if error.error_count() > MOST_READ:
        words = f"More than {MOST_READ} values do not fit: compare the input with the model's schema."
        return [FieldFault("", FieldCode.INPUT_UNFIT, words)]
    errors = error.errors()
    alike = Counter(map(_kind_of, errors))
    found: dict[tuple[str, ...], list[FieldFault]] = {}
    unknown: dict[
        tuple[str, ...], dict[str, int]
    ] = {}  # by object: its keys, with how many elements have them
    for each in _once(errors, alike):
        path = _path(each["loc"], value, absent=each["type"] == "missing")
        if each["type"] == "extra_forbidden":
            unknown.setdefault(path[:-1], {})[path[-1]] = alike[_kind_of(each)]
        elif path in found or len(found) < MOST:
            path = _with_tag(each, path, schema, value)
            fault = _fault(each, path, schema, value)
            found.setdefault(path, []).append(_of_many(fault, alike[_kind_of(each)]))
    faults = [_merged(several) for several in found.values()]
    for path, keys in unknown.items():
        faults += _unknown(path, keys, schema, value)
    return faults[:MOST]


def _kind_of(found: Any) -> tuple[object, ...]:
    """What equal errors of the elements of lists have in common: the type, and the place but for numbers of elements."""
    own = "" if found["type"] in _KNOWN - _OWN_WORDS else found["msg"]
    return (found["type"], own, *("#" if isinstance(step, int) else (step,) for step in found["loc"]))


def _once(errors: Sequence[Any], alike: Mapping[tuple[object, ...], int]) -> Iterator[Any]:
    """Errors, of those that many elements of lists have alike the first."""
    told = set()
    for each in errors:
        kind = _kind_of(each)
        if alike[kind] <= MOST_ALIKE or kind not in told:
            yield each
        told.add(kind)


def _of_many(fault: FieldFault, count: int) -> FieldFault:
    if count <= MOST_ALIKE:
        return fault
    detail = f"{fault.detail} {count} elements have this fault, and this is the first of them."
    return FieldFault(fault.pointer, fault.code, detail)


def described(schema: Schema, root: Schema) -> str:
    """What a value must be, such as "a number between 0 and 50 mg"."""
    schema = _resolved(schema, root)
    if allowed := _allowed(schema):
        return _one_of(allowed)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        listed = [_allowed(_resolved(option, root)) for option in options]
        every = list(dict.fromkeys(chain.from_iterable(listed))) if all(listed) else []
        return (
            _one_of(every) if every else " or ".join(dict.fromkeys(described(each, root) for each in options))
        )
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


def _with_tag(found: Any, path: tuple[str, ...], root: Schema, value: object) -> tuple[str, ...]:
    """The place of a fault: of a union whose branch is told by a field, that field."""
    if found["type"] not in _TAGS:
        return path
    _, schema = _place(path, root, value)
    tag = _tag(_resolved(schema, root))
    return path if tag is None else (*path, tag)


def _fault(found: Any, path: tuple[str, ...], root: Schema, value: object) -> FieldFault:
    """One ErrorDetails of pydantic, whose place in the value is `path`, as a fault."""
    kind, pointer = found["type"], pointer_to(*path)
    name, schema = _place(path, root, value)
    if kind in _OWN_WORDS:
        words = str(found["msg"])  # behind "Value error, " or "Assertion failed, "
        return FieldFault(pointer, FieldCode.INVALID_VALUE, words.partition(", ")[2] or words)
    if kind not in _KNOWN:  # a PydanticCustomError of an author: its type is the code
        return FieldFault(pointer, OtherCode(kind), str(found["msg"]))
    wanted = described(schema, root)
    if _CODES.get(kind) is FieldCode.MISSING_FIELD:
        return FieldFault(pointer, FieldCode.MISSING_FIELD, f"{name} is missing: send {wanted}.")
    if not path and _resolved(schema, root).get("type") == "object":
        return FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object.")
    given = found["input"]
    spaced = isinstance(given, str) and given != given.strip()
    hint = " It begins or ends with white space: take that away." if spaced else ""
    return FieldFault(pointer, _code(kind), f"{name} must be {wanted}.{hint}")


def _code(kind: str) -> FieldCode:
    if kind in _CODES:
        return _CODES[kind]
    if kind.endswith(("_parsing", "_invalid", "_inexact")) or "_past" in kind or "_future" in kind:
        return FieldCode.WRONG_FORMAT
    return FieldCode.WRONG_TYPE


def _merged(faults: list[FieldFault]) -> FieldFault:
    """One fault of a place: a value that fits none of several types has one of each, and the type it has says most."""
    return next((fault for fault in faults if fault.code != FieldCode.WRONG_TYPE), faults[0])


def _unknown(path: tuple[str, ...], keys: Mapping[str, int], root: Schema, value: object) -> list[FieldFault]:
    """What is said of the `keys` of the object at `path` that its schema does not name."""
    _, schema = _place(path, root, value)
    branches = _branches(schema, root, _at(path, value))
    names = FieldNames(dict(chain.from_iterable(each.get("properties", {}).items() for each in branches)))
    prefix, counts = pointer_to(*path), {pointer_to(key): count for key, count in keys.items()}
    return [
        _of_many(
            FieldFault(f"{prefix}{fault.pointer}", fault.code, fault.detail), counts.get(fault.pointer, 1)
        )
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


def _at(path: Sequence[str], value: Any) -> Any:
    """What is at `path` in `value`; None if nothing is."""
    for step in path:
        key = int(step) if isinstance(value, list) and step.isdigit() else step
        value = value[key] if _has(value, key) else None
    return value


def _place(path: tuple[str, ...], root: Schema, value: object) -> tuple[str, Schema]:
    """What the place at `path` in `value` is called, and its schema. Keys that the schema does not name are not quoted."""
    name, schema = "the input", root
    for depth, step in enumerate(path):
        parent = _at(path[:depth], value)
        branches = _branches(schema, root, parent)
        in_list = isinstance(parent, list)
        inner = [found for each in branches if (found := _inside(each, step, name, in_list=in_list))]
        schemas: list[Schema] = []
        for _, each in inner:
            if each not in schemas:
                schemas.append(each)
        name = inner[0][0] if inner else _each_of(name)
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}
    return name, schema


def _inside(schema: Schema, step: str, name: str, *, in_list: bool) -> tuple[str, Schema] | None:
    """What the place `step` in a value of this schema is called, and its schema; None if it says nothing of it."""
    if not in_list and step in (properties := schema.get("properties", {})):
        return step, properties[step]
    if in_list and step.isdigit() and int(step) < len(parts := schema.get("prefixItems", ())):
        return f"element {int(step) + 1} of {name}", parts[int(step)]
    inner = schema.get("items" if in_list else "additionalProperties")
    return (_each_of(name), inner) if isinstance(inner, dict) else None


def _each_of(name: str) -> str:
    return name if name.startswith("each of ") else f"each of {name}"


def _branches(schema: Schema, root: Schema, value: object) -> list[Schema]:
    """The schemas that `value` may have: of a union its branches, or those that a field of the value tells."""
    schema = _resolved(schema, root)
    options = schema.get("anyOf") or schema.get("oneOf")
    if not options:
        return [schema]
    branches = [branch for option in options for branch in _branches(option, root, value)]
    tag = _tag(schema)
    if tag is None or not isinstance(value, dict):
        return branches
    told = [each for each in branches if value.get(tag) in _allowed(each.get("properties", {}).get(tag, {}))]
    return told or branches


def _tag(schema: Schema) -> str | None:
    """The field that tells the branch of a union, if one does."""
    tag = schema.get("discriminator", {}).get("propertyName")
    return tag if isinstance(tag, str) else None


def _allowed(schema: Schema) -> list[object]:
    """The values that a schema lists; none where it allows others."""
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


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
    if pattern and (example := next(iter(schema.get("examples", ())), "")):
        short = len(str(example)) <= LONGEST_EXAMPLE
        pattern = f" such as {example}" if short else pattern
    pattern = schema.get(FORM, pattern)
    return f"a text{_count(schema, 'minLength', 'maxLength', 'characters')}{pattern}"


def _count(schema: Schema, least: str, most: str, what: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low and high is not None:
        return f" of {low} to {high} {what}" if low != high else f" of {low} {what}"
    if high is not None:
        return f" of at most {high} {what}"
    return f" of at least {low} {what}" if low else ""


def _range(schema: Schema) -> str:
    unit = units.after(schema.get("unit"))
    low, high = schema.get("minimum"), schema.get("maximum")
    rules = []
    if low is not None and high is not None:
        rules.append(f"between {low:{EXACT}} and {high:{EXACT}}")
    elif low is not None:
        rules.append(f"of at least {low:{EXACT}}")
    elif high is not None:
        rules.append(f"of at most {high:{EXACT}}")
    if (above := schema.get("exclusiveMinimum")) is not None:
        rules.append(f"greater than {above:{EXACT}}")
    if (below := schema.get("exclusiveMaximum")) is not None:
        rules.append(f"less than {below:{EXACT}}")
    text = f" {' and '.join(rules)}{unit}" if rules else (f" in{unit}" if unit else "")
    return f"{text}, a multiple of {schema['multipleOf']:{EXACT}}" if "multipleOf" in schema else text
