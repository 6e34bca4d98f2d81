"""A model as a reader sees it, with what its inputs and options may be, and an example of its input."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType

from models.pipelines.parts import PartKind, part_kind
from service.cli.cases import EXAMPLE_UPLOAD
from service.cli.client import Json
from service.cli.tables import NOTHING, cell_text, fields, moment, text

MODEL_FIELDS: Final = (
    "name",
    "title",
    "summary",
    "kind",
    "task",
    "version",
    "digest",
    "precision",
    "license",
)
_ELEMENTS: Final = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "true or false",
    "string": "texts",
}
_PART_EXAMPLES: Final = {PartKind.FILE: EXAMPLE_UPLOAD, PartKind.RESULT: {"job": "JOB_ID"}}


def model(found: Json) -> RenderableType:
    """A model: what it is, what it takes, what it answers, how well."""
    head = fields((name, found.get(name)) for name in MODEL_FIELDS)
    problem = found.get("problem") or {}
    versions = [_version(each) for each in found["versions"]]
    return Group(
        head,
        fields([("aliases", found["aliases"]), ("versions", versions)]),
        *_section("Problem", list(problem.items())),
        *_section("Input", [] if problem else _inputs(found["input_schema"])),
        *_section("Options", _properties(found.get("options_schema") or {})),
        *_section("Labels", [(label["id"], _coded(label)) for label in found["labels"]]),
        *_section("Figures", list(found["metrics"].items())),
    )


def _version(found: Json) -> str:
    """A version with its precision if that is stated."""
    precision = f" in {found['precision']}" if found.get("precision") else ""
    return f"{found['version']}{precision} of {moment(found['published_at'])}"


def example(schema: Json) -> Any:
    """An input that a schema gives as its example, or one made of its fields' examples.

    Placeholders stand for the ids of required files and results of other jobs.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    return dict(_examples(schema.get("properties") or {}, set(schema.get("required") or ())))


def _examples(properties: Mapping[str, Json], required: set[str]) -> Iterator[tuple[str, Any]]:
    for name, rule in properties.items():
        kind = part_kind(rule)
        if rule.get("examples"):
            yield name, rule["examples"][0]
        elif kind is not None and name in required:
            yield name, _PART_EXAMPLES[kind]


def _section(title: str, pairs: list[tuple[str, object]]) -> list[RenderableType]:
    return [text(f"\n{title}", "bold"), fields(pairs)] if pairs else []


def _inputs(schema: Json) -> list[tuple[str, object]]:
    """Each field of an input with what it may be; of an input without fields, its description."""
    return _properties(schema) or [("input", schema.get("description") or schema.get("title"))]


def _properties(schema: Json) -> list[tuple[str, object]]:
    """Each property of an object with what it may be."""
    properties: Mapping[str, Json] = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    found: list[tuple[str, object]] = []
    for name, rule in ((name, _resolved(each, schema)) for name, each in properties.items()):
        title = rule.get("title") or rule.get("description") or ""
        words = _part(name, rule) or _shape(rule, schema) or _range(rule)
        optional = "" if not required or name in required else "(optional)"
        found.append((name, " ".join(filter(None, (title, words and f"[{words}]", optional)))))
    return found


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
    while rule.get("type") == "array" and isinstance(rule.get("items"), Mapping):
        lengths.append(_length(rule))
        rule = _resolved(rule["items"], root)
    element = _ELEMENTS.get(str(rule.get("type")))
    if not lengths or element is None:
        return ""
    words = _range({"unit": unit, **rule})
    return f"{' x '.join(lengths)} {element}{words and f', {words}'}"


def _length(rule: Json) -> str:
    least, most = rule.get("minItems", 0), rule.get("maxItems")
    if most is None:
        return f"{least} or more"
    return f"{most}" if least == most else f"({least} to {most})"


def _range(rule: Json) -> str:
    """What a field may be: `0 to 57 mm`, `never, former, current`, or nothing."""
    low, high, unit = rule.get("minimum"), rule.get("maximum"), rule.get("unit")
    words = cell_text([value for value in rule.get("enum") or () if value is not None])
    words = "" if words == NOTHING else words
    if low is not None and high is not None:
        words = f"{low:g} to {high:g}"
    if unit not in {None, "", "1"}:
        words = f"{words} {unit}".strip()
    return words


def _coded(label: Json) -> str:
    coded = "" if label["code"] is None else f" ({label['code']}, {label['system']})"
    return f"{label['display']}{coded}"
