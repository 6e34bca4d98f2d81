"""The values of a JSON Schema, where they are few."""

from typing import Any

import pytest

from models.few_values import MOST, few_values

FLAG = {"type": "boolean"}


def of(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    """Schema of an object."""
    known = {"type": "object", "properties": properties, "additionalProperties": False}
    return known if required is None else known | {"required": required}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (FLAG, [False, True]),
        ({"type": ["boolean", "null"]}, [False, True, None]),
        ({"type": "string", "enum": ["I", "II"]}, ["I", "II"]),
        ({"const": 7}, [7]),
        ({"type": "integer", "minimum": -1, "maximum": 1}, [-1, 0, 1]),
        ({"anyOf": [{"type": "null"}, {"const": "x"}]}, [None, "x"]),
        ({"oneOf": [FLAG, {"const": "x"}]}, [False, True, "x"]),
        (of(), [{}]),
        (of(["a"], a=FLAG), [{"a": False}, {"a": True}]),
        (of(a=FLAG), [{"a": False}, {"a": True}, {}]),
        (of(["a", "b"], a={"const": 1}, b=FLAG), [{"a": 1, "b": False}, {"a": 1, "b": True}]),
        (of(["a"], a={"$ref": "#/$defs/Flag"}) | {"$defs": {"Flag": FLAG}}, [{"a": False}, {"a": True}]),
        ({"type": "integer", "minimum": 1, "maximum": MOST}, list(range(1, MOST + 1))),
    ],
)
def test_few_values_are_listed(schema: dict[str, Any], values: list[Any]) -> None:
    assert few_values(schema) == values


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "integer"},
        {"type": "integer", "minimum": 0},
        {"type": "integer", "minimum": 1, "maximum": MOST + 1},
        {"type": "array", "items": FLAG},
        {"type": "object", "properties": {"a": FLAG}},
        of(["a"], a=FLAG, b={"type": "string"}),
        of(["a"], a={"$ref": "#/$defs/Flag"}),
        of(["a"], a={"$ref": "#"}),
        of(None, **{f"flag_{number}": FLAG for number in range(40)}),
    ],
)
def test_what_is_not_known_to_be_few_is_not_listed(schema: dict[str, Any]) -> None:
    assert few_values(schema) is None
