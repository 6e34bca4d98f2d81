"""Columns as they follow from JSON Schemas: which there are, what they hold, and results that do not fit them."""

import json
import math
import sys
from typing import Any, Literal

import pytest
from pydantic_core import from_json

from models.pipelines import InputRejected, PredictionInvalid, result_json
from models.pipelines.schema_columns import (
    ColumnKind,
    DerivedColumn,
    InputField,
    input_fields,
    integer_fields,
    result_columns,
    result_fields,
    stored_result,
)
from models.pipelines.typed import TypedResult

NESTED: dict[str, Any] = {
    "$defs": {
        "Score": {"type": "object", "properties": {"value": {"type": "number"}, "of": {"type": "string"}}}
    },
    "type": "object",
    "properties": {
        "type": {"const": "thing"},
        "score": {"anyOf": [{"$ref": "#/$defs/Score"}, {"type": "null"}]},
        "count": {"type": ["integer", "null"]},
        "sure": {"type": "boolean"},
        "label": {"enum": ["a", "b", None]},
        "level": {"enum": [1, 2]},
        "grade": {"enum": [1, "x"]},
        "words": {"type": "array"},
        "map": {"type": "object", "properties": {}, "additionalProperties": {"type": "number"}},
        "shares": {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "number"}},
        "either": {"anyOf": [{"type": "number"}, {"type": "string"}]},
    },
}


def test_objects_are_laid_out_and_lists_and_maps_stay_whole() -> None:
    found = {field.name: field.kind for field in result_fields(NESTED)}
    assert found == {
        "score_value": ColumnKind.NUMBER,
        "score_of": ColumnKind.TEXT,
        "count": ColumnKind.INTEGER,
        "sure": ColumnKind.BOOLEAN,
        "label": ColumnKind.TEXT,
        "level": ColumnKind.INTEGER,
        "grade": ColumnKind.JSON,
        "words": ColumnKind.JSON,
        "map": ColumnKind.JSON,
        "shares": ColumnKind.JSON,
        "either": ColumnKind.JSON,
    }


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"const": 1.5}, ColumnKind.NUMBER),
        ({"const": True}, ColumnKind.BOOLEAN),
        ({"enum": [True, False, None]}, ColumnKind.BOOLEAN),
        ({"enum": [1, True]}, ColumnKind.JSON),
        ({"enum": [[1]]}, ColumnKind.JSON),
        ({"enum": []}, ColumnKind.JSON),
        ({"type": "null"}, ColumnKind.JSON),
        ({"type": ["string", "integer"]}, ColumnKind.JSON),
        ({"type": ["null", "boolean"]}, ColumnKind.BOOLEAN),
        ({"$ref": "#/$defs/Grade"}, ColumnKind.INTEGER),
        ({"anyOf": [{"$ref": "#/$defs/Grade"}, {"type": "null"}]}, ColumnKind.INTEGER),
    ],
)
def test_a_column_holds_what_its_schema_allows(schema: dict[str, Any], kind: ColumnKind) -> None:
    root = {"$defs": {"Grade": {"type": "integer"}}, "type": "object", "properties": {"a": schema}}
    assert [(field.name, field.kind, field.path) for field in result_fields(root)] == [("a", kind, ("a",))]
    assert input_fields(root) == (InputField("a", kind, required=False),)
    clash = {"type": {"const": "x"}, "b": {"type": "object", "properties": {"c": {}}}, "b_c": {}}
    whole = root | {"properties": {"a": schema} | clash}
    assert [(field.name, field.kind) for field in result_fields(whole)] == [
        ("a", kind), ("b", ColumnKind.JSON), ("b_c", ColumnKind.JSON),
    ]  # fmt: skip


def test_the_fields_of_an_input_may_be_told_by_reference() -> None:
    root = {
        "$ref": "#/$defs/In",
        "$defs": {"In": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    assert input_fields(root) == (InputField("a", ColumnKind.TEXT, required=False),)


def test_columns_have_the_name_the_kind_and_the_values_of_their_fields() -> None:
    fields = result_fields(
        {
            "type": "object",
            "properties": {
                "share": {"type": "number"},
                "sure": {"type": "boolean"},
                "at": {"type": "object", "properties": {"day": {"type": "integer"}}},
            },
        }
    )
    results: list[dict[str, Any]] = [
        {"share": sys.float_info.max, "sure": True, "at": {"day": 1}},
        {"share": -sys.float_info.max, "sure": None, "at": "nowhere"},
        {"share": 3, "at": {}},
    ]
    assert result_columns(fields, results) == (
        DerivedColumn("share", ColumnKind.NUMBER, [sys.float_info.max, -sys.float_info.max, 3]),
        DerivedColumn("sure", ColumnKind.BOOLEAN, [True, None, None]),
        DerivedColumn("at_day", ColumnKind.INTEGER, [1, None, None]),
    )
    with pytest.raises(PredictionInvalid) as caught:
        result_columns(fields, [{"share": 10**309}, {"share": False}])
    assert (caught.value.rows, caught.value.reason) == ((0, 1), "the result is not what its schema says")


def test_a_schema_may_name_columns() -> None:
    coding = {
        "type": "object",
        "properties": {"system": {"type": "string"}, "code": {"type": "string", "x-column": "code"}},
    }
    root = {
        "$defs": {"Shares": {"type": "object", "properties": {"a": {"type": "number"}}}},
        "type": "object",
        "properties": {
            "code": {"anyOf": [coding, {"type": "null"}]},
            "shares": {"$ref": "#/$defs/Shares", "x-column": "share"},
            "size": {"anyOf": [{"type": "number"}, {"type": "null"}], "x-column": "size_mm"},
        },
    }
    assert [(field.name, field.path) for field in result_fields(root)] == [
        ("code_system", ("code", "system")),
        ("code", ("code", "code")),
        ("share_a", ("shares", "a")),
        ("size_mm", ("size",)),
    ]


def test_an_object_stays_whole_where_a_column_of_its_would_be_named_as_another() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "number"}}}
    schema = {"type": "object", "properties": {"a": inner, "a_b": {"type": "string"}}}
    assert [(field.name, field.kind) for field in result_fields(schema)] == [
        ("a", ColumnKind.JSON),
        ("a_b", ColumnKind.TEXT),
    ]


def test_an_object_that_is_null_has_columns_that_are_null() -> None:
    whole = {"score": {"value": 1.5, "of": "x"}, "count": 2, "words": ["a"]}
    found = {
        column.name: column.values
        for column in result_columns(result_fields(NESTED), [whole, {"score": None}])
    }
    assert found["score_value"] == [1.5, None]
    assert found["words"] == ['["a"]', None]
    assert found["count"] == [2, None]


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 2**63},
        {"count": -(2**63) - 1},
        {"count": 1.5},
        {"count": True},
        {"count": "1"},
        {"sure": 1},
        {"sure": "yes"},
        {"label": 1},
        {"label": True},
        {"score": {"value": math.nan}},
        {"score": {"value": math.inf}},
        {"score": {"value": 10**400}},
        {"score": {"value": "1"}},
        {"words": [math.nan]},
        {"words": [object()]},
        {"words": [10**5000]},
        {"words": ["\ud800"]},
        {"score": {"of": "\ud800"}},
    ],
)
def test_a_result_that_is_not_what_its_schema_says_is_no_prediction(wrong: dict[str, Any]) -> None:
    with pytest.raises(PredictionInvalid) as caught:
        result_columns(
            result_fields(NESTED), [{"count": 1}, wrong, {"count": 2**63 - 1}, wrong, {"count": -(2**63)}]
        )
    assert caught.value.rows == (1, 3)


def test_fields_of_an_input_are_its_properties_with_what_is_required() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}
    assert input_fields(schema) == (
        InputField("a", ColumnKind.TEXT, required=True),
        InputField("b", ColumnKind.JSON, required=False),
    )


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "array"}, {}, {"properties": {"a": {}}}])
def test_an_input_that_is_no_object_has_no_fields(schema: dict[str, Any]) -> None:
    assert input_fields(schema) == ()


@pytest.mark.parametrize(
    "result", [{"a": math.nan}, {"a": [-math.inf]}, {"a": object()}, {"a": "\ud800"}, {"a": -(10**5000)}]
)
def test_what_json_cannot_hold_is_no_prediction(result: dict[str, Any]) -> None:
    with pytest.raises(PredictionInvalid):
        result_json(result)


@pytest.mark.parametrize("keys", [(1, "1"), (1.5, "1.5"), (None, "None"), (True, "true"), ("1", 1)])
def test_keys_that_meet_in_json_are_no_prediction(keys: tuple[Any, Any]) -> None:
    """One of the two values was lost."""
    values = dict.fromkeys(keys, 0)
    for result in (values, {"a": [1, {"b": values}]}, {"a": (values,)}):
        with pytest.raises(PredictionInvalid):
            result_json(result)


def test_keys_that_are_no_texts_are_written_as_texts_where_none_is_lost() -> None:
    assert result_json({"a": {1: 1, 2: 2, "3": 3}}) == b'{"a":{"1":1,"2":2,"3":3}}'


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
def test_an_integer_that_no_column_holds_is_no_prediction_of_a_job_either(number: int) -> None:
    with pytest.raises(PredictionInvalid):
        stored_result({"count": number}, integer_fields(NESTED))
    with pytest.raises(PredictionInvalid):
        result_columns(result_fields(NESTED), [{"count": number}])


@pytest.mark.parametrize(
    "result",
    [
        {"count": 2**63 - 1},
        {"count": -(2**63)},
        {"words": [2**64]},
        {"score": {"value": 2**64}},
        {"label": "9" * 30},
    ],
)
def test_a_result_that_a_batch_holds_is_one_of_a_job(result: dict[str, Any]) -> None:
    assert json.loads(stored_result(result, integer_fields(NESTED))) == result
    assert result_columns(result_fields(NESTED), [result])


@pytest.mark.parametrize("share", [0.00012345678901234567, 0.12345678901234567, 1.2345678901234567e-07, 0.0])
def test_a_fraction_is_no_integer_however_many_digits_it_has(share: float) -> None:
    integers = integer_fields({"type": "object", "properties": {"share": {"type": "integer"}}})
    assert [field.name for field in integers] == ["share"]
    with pytest.raises(PredictionInvalid):
        result_columns(integers, [{"share": share}])
    assert json.loads(stored_result({"share": share}, integers)) == {"share": share}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


def test_a_result_is_no_deeper_than_it_can_be_read_back() -> None:
    """One that was stored would be an error of the service whenever its job is read."""
    assert from_json(result_json({"a": nested(199)}))
    assert from_json(result_json({"a": [[]] * 300}))
    with pytest.raises(PredictionInvalid):
        result_json({"a": nested(201)})


def test_a_text_may_hold_the_word_of_what_is_no_number() -> None:
    assert result_json({"text": "NaN, Infinity"}) == b'{"text":"NaN, Infinity"}'
    assert json.loads(result_json({"text": "7" * 5000, "number": 10**4000}))["number"] == 10**4000


class Loose(TypedResult):
    type: Literal["loose"] = "loose"
    extra: Any


def test_what_is_no_number_stays_so_where_a_field_may_hold_anything() -> None:
    dumped = Loose(extra={"a": float("nan")}).model_dump(mode="json")
    with pytest.raises(PredictionInvalid):
        result_json(dumped)


def test_an_input_that_is_rejected_has_a_fault() -> None:
    assert [fault.code for fault in InputRejected().faults] == ["input_unfit"]
