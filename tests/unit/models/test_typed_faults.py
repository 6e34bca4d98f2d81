"""What a caller is told that a value is to be, from its JSON Schema."""

from typing import Any

import pytest

from models.pipelines.typed_faults import described

ROOT = {"$defs": {"Dose": {"type": "number", "minimum": 0, "maximum": 50, "unit": "mg"}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number"}, "a number"),
        ({"type": "number", "minimum": 0}, "a number of at least 0"),
        ({"type": "number", "maximum": 1e6}, "a number of at most 1e+06"),
        ({"type": "number", "minimum": 0, "maximum": 2.5}, "a number between 0 and 2.5"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number greater than 0"),
        ({"type": "number", "exclusiveMaximum": 1}, "a number less than 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 9}, "a number of at most 9 and greater than 0"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "a number greater than 0 and less than 1"),
        ({"type": "number", "unit": "mg"}, "a number in mg"),
        ({"type": "number", "unit": "1"}, "a number"),
        ({"type": "number", "minimum": 0, "unit": "1"}, "a number of at least 0"),
        ({"type": "number", "maximum": 9, "unit": "kg"}, "a number of at most 9 kg"),
        ({"type": "integer", "multipleOf": 5}, "an integer, a multiple of 5"),
        ({"type": "integer", "minimum": 0, "multipleOf": 5}, "an integer of at least 0, a multiple of 5"),
        ({"type": ["integer", "null"], "minimum": 1}, "an integer of at least 1"),
        ({"type": ["null", "boolean"]}, "true or false"),
        ({"type": "null"}, "null"),
        ({"type": "object"}, "an object"),
        ({"type": "string"}, "a text"),
        ({"type": "string", "minLength": 2}, "a text of at least 2 characters"),
        ({"type": "string", "minLength": 0}, "a text"),
        ({"type": "string", "maxLength": 0}, "a text of at most 0 characters"),
        ({"type": "string", "minLength": 0, "maxLength": 9}, "a text of at most 9 characters"),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "a text of 1 to 9 characters"),
        ({"type": "string", "minLength": 3, "maxLength": 3}, "a text of 3 characters"),
        ({"type": "string", "maxLength": 9, "pattern": "^[A-Z]$"}, "a text of at most 9 characters that matches ^[A-Z]$"),
        ({"type": "string", "format": "date"}, "a date such as 2026-03-01"),
        ({"type": "string", "format": "uuid"}, "a UUID"),
        ({"type": "string", "format": "unknown"}, "a text"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "a list of 2 elements"),
        ({"type": "array", "maxItems": 2}, "a list of at most 2 elements"),
        ({"const": "left"}, "left"),
        ({"enum": ["left", "right"]}, "one of left, right"),
        ({"enum": ["left", None]}, "one of left, null"),
        ({"enum": ["left"]}, "left"),
        ({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 5}]}, "an integer or a text of at most 5 characters"),
        ({"oneOf": [{"type": "object"}, {"type": "object"}]}, "an object"),
        ({"anyOf": [{"$ref": "#/$defs/Dose"}, {"type": "null"}], "title": "Dose"}, "a number between 0 and 50 mg"),
        ({"$ref": "#/$defs/Dose"}, "a number between 0 and 50 mg"),
        ({"$ref": "#/$defs/Dose", "maximum": 20}, "a number between 0 and 20 mg"),
        ({}, "what the schema says"),
    ],
)  # fmt: skip
def test_a_value_is_described_as_its_schema_wants_it(schema: dict[str, Any], words: str) -> None:
    assert described(schema, ROOT) == words
