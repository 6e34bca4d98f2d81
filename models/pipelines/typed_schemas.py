"""The JSON Schemas of a typed pipeline, in the same form as those of other pipelines."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from models.pipelines.parts import Part, PartKind, part_schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SAID: Final = ("title", "description", "examples", "unit")  # what an author says of a part


def derived_schema(
    model: type[BaseModel], mode: JsonSchemaMode, parts: Mapping[str, Part] = MappingProxyType({})
) -> dict[str, object]:
    """JSON Schema of `model`, with an example made of its fields' examples where it has none and they tell enough.

    `parts` are those of its properties that are stored apart, which pydantic takes for fields with a default.
    """
    schema: dict[str, Any] = {"$schema": _DIALECT, **_with_nulls(model.model_json_schema(mode=mode))}
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    for name, part in parts.items():
        said = {key: each for key, each in properties[name].items() if key in _SAID}
        properties[name] = {**part_schema(part), **said}
    if needed := {name for name, part in parts.items() if part.required}:
        needed |= set(schema.get("required", ()))
        schema["required"] = [name for name in properties if name in needed]
    shown = {name: rule["examples"][0] for name, rule in properties.items() if rule.get("examples")}
    if shown and shown.keys() >= set(schema.get("required", ())):
        schema.setdefault("examples", [shown])
    return schema


def with_file_limits(
    schema: dict[str, object], parts: Mapping[str, Part], most_bytes: int | None
) -> dict[str, object]:
    """The schema of an input whose reader takes `most_bytes` of a file."""
    files = {
        name: part_schema(part, most_bytes) for name, part in parts.items() if part.kind is PartKind.FILE
    }
    if most_bytes is None or not files:
        return schema
    properties: Mapping[str, Any] = schema["properties"]  # type: ignore[assignment]  # a schema that was derived
    return {
        **schema,
        "properties": {name: {**rule, **files.get(name, {})} for name, rule in properties.items()},
    }


def _with_nulls(schema: Any) -> Any:
    """`schema` with {"type": [T, "null"], ...} for {"anyOf": [{"type": T, ...}, null]}, which says the same, as tables do."""
    if isinstance(schema, list):
        return [_with_nulls(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {key: _with_nulls(part) for key, part in schema.items()}
    options = found.get("anyOf", [])
    if len(options) != 2 or options[1] != {"type": "null"} or not isinstance(options[0].get("type"), str):
        return found
    rules = {**options[0], "type": [options[0]["type"], "null"]}
    if "const" in rules:
        rules["enum"] = [rules.pop("const")]
    if "enum" in rules:
        rules["enum"] = [*rules["enum"], None]
    return {**rules, **{key: part for key, part in found.items() if key != "anyOf"}}
