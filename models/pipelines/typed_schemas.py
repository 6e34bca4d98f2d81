"""The JSON Schemas of a typed pipeline, written as those of all other pipelines are."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def derived_schema(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, object]:
    """JSON Schema of `model`, with an example made of its fields' examples where it has none and they tell enough."""
    schema: dict[str, Any] = {"$schema": _DIALECT, **_with_nulls(model.model_json_schema(mode=mode))}
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    shown = {name: rule["examples"][0] for name, rule in properties.items() if rule.get("examples")}
    if shown and shown.keys() >= set(schema.get("required", ())):
        schema.setdefault("examples", [shown])
    return schema


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
