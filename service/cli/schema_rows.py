"""What a JSON Schema takes, as rows for a reader: each field with its title, range and unit, and below it what that means."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from models import units
from models.pipelines.features.written import VALUES
from models.pipelines.parts import PartKind, part_kind
from service.cli.client import Json
from service.cli.tables import NOTHING, cell_text

Row = tuple[str, object]

_INDENT: Final = "  "
_ELEMENTS: Final = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "true or false",
    "string": "texts",
}
_FILE: Final = ("FILE", "the file itself: medqueue submit --model NAME FILE; in JSON, one of:")


def input_rows(schema: Json) -> list[Row]:
    """The fields of an input; of an input without fields, its description."""
    if rows := property_rows(schema):
        return rows
    ways = [row for each in schema.get("oneOf") or () for row in property_rows(each)]
    if any(name == "upload_id" for name, _ in ways):  # one file
        return [_FILE, *ways]
    return ways or [("input", schema.get("description") or schema.get("title"))]


def property_rows(schema: Json) -> list[Row]:
    """Each property of an object with what it may be, and nested ones indented below it."""
    return list(_rows(schema, schema, ""))


def _rows(schema: Json, root: Json, indent: str) -> Iterator[Row]:
    properties: Mapping[str, Json] = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    for name, each in properties.items():
        rule = _resolved(each, root)
        optional = "" if not required or name in required else "(optional)"
        title = rule.get("title") or rule.get("description") or ""
        flag = _ELEMENTS["boolean"] if _is(rule, "boolean") else ""
        words = _part(name, rule) or _shape(rule, root) or _range(rule, flag)
        yield indent + name, " ".join(filter(None, (title, words and f"[{words}]", optional)))
        for line in _notes(rule):
            yield "", _INDENT + line
        yield from _rows(_nested(rule, root), root, indent + _INDENT)


def _notes(rule: Json) -> Iterator[str]:
    """What a field means, and what each of its values does, where the schema says more than a title."""
    about = str(rule.get("description") or "") if rule.get("title") else ""
    about = about.removesuffix(f"Unit: {rule.get('unit')}.").strip()  # it stands behind the range
    if about:
        yield about
    for value in rule.get(VALUES) or ():
        if "display" in value:
            yield f"{value['value']}: {value['display']}"


def _nested(rule: Json, root: Json) -> Json:
    """The object that a field is, or a list holds; an empty schema for others."""
    items = rule.get("items")
    inner = _resolved(items, root) if isinstance(items, dict) else rule
    return {} if part_kind(rule) is not None or inner.get("type") != "object" else inner


def _resolved(rule: Json, root: Json) -> Json:
    """A field's rule behind its reference, also where the field may be null instead."""
    others = [each for each in rule.get("anyOf") or () if each.get("type") != "null"]
    if len(others) == 1:
        return {**_resolved(others[0], root), **{key: value for key, value in rule.items() if key != "anyOf"}}
    if "$ref" not in rule:
        return rule
    referred = _resolved(root["$defs"][rule["$ref"].rpartition("/")[2]], root)
    return {**referred, **{key: value for key, value in rule.items() if key != "$ref"}}


def _part(name: str, rule: Json) -> str:
    """How a field that is stored separately is sent; nothing for other fields."""
    kind = part_kind(rule)
    if kind is None:
        return ""
    return f"file: --part {name}=PATH" if kind is PartKind.FILE else "result of another job"


def _shape(rule: Json, root: Json) -> str:
    """The lengths of nested lists, and what they hold: `3 x 224 numbers, 0 to 1`; nothing for other fields."""
    lengths = []
    unit = rule.get("unit")
    while _is(rule, "array") and isinstance(rule.get("items"), Mapping):
        lengths.append(_length(rule))
        rule = _resolved(rule["items"], root)
    if not lengths:
        return ""
    if _is(rule, "object"):
        return f"{' x '.join(lengths)} of these"
    element = next((words for kind, words in _ELEMENTS.items() if _is(rule, kind)), "values")
    words = _range({"unit": unit, **rule})
    return f"{' x '.join(lengths)} {element}{words and f', {words}'}"


def _is(rule: Json, kind: str) -> bool:
    """Whether a field is of a kind, or may be null instead."""
    kinds = rule.get("type")
    return kinds == kind or (isinstance(kinds, list) and {*kinds} - {"null"} == {kind})


def _length(rule: Json) -> str:
    least, most = rule.get("minItems", 0), rule.get("maxItems")
    if most is None:
        return f"{least} or more"
    return f"{most}" if least == most else f"({least} to {most})"


def _range(rule: Json, otherwise: str = "") -> str:
    """What a field may be: `0 to 57 mm`, `female (0), male (1)`, `1 to 200 characters`, or `otherwise`."""
    words = _values(rule) or _limits(rule) or _characters(rule) or otherwise
    words = f"{words}{units.after(rule.get('unit'))}".strip()
    return ", ".join(filter(None, (words, _default(rule))))


def _limits(rule: Json) -> str:
    low, above, high = (rule.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is None and above is not None:
        return f"more than {_number(above)}" + ("" if high is None else f", at most {_number(high)}")
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"{_number(low)} or more"
    return "" if high is None else f"at most {_number(high)}"


def _number(value: float) -> str:
    """Such as `1500000`, and not `1.5e+06`; without an exponent up to a million millions."""
    return f"{value:.12g}"


def _characters(rule: Json) -> str:
    least, most = rule.get("minLength", 0), rule.get("maxLength")
    if most is None or rule.get("contentEncoding"):
        return ""
    if least == most:
        return f"{most} characters"
    return f"{least} to {most} characters" if least else f"up to {most} characters"


def _default(rule: Json) -> str:
    """The value of a field that is left out; nothing where that is an absent or an empty one."""
    value = rule.get("default")
    return "" if value in (None, "", [], {}) else f"default {_word(value)}"


def _values(rule: Json) -> str:
    """The values of a closed set, each with how else it may be written. Of sets whose values are explained below, nothing."""
    told: list[Any] = rule.get(VALUES) or [{"value": value} for value in rule.get("enum") or ()]
    if all("display" in each for each in told):
        return ""
    words = cell_text([_value(each) for each in told if each["value"] is not None])
    return "" if words == NOTHING else words


def _value(told: Json) -> str:
    codes = ", ".join(told.get("written") or ())
    return f"{_word(told['value'])} ({codes})" if codes else _word(told["value"])


def _word(value: object) -> str:
    """A JSON value as it is sent, numbers short."""
    if isinstance(value, bool):
        return str(value).lower()
    return _number(value) if isinstance(value, int | float) else str(value)
