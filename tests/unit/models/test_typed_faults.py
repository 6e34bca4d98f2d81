"""What a caller is told that a value is to be, from its JSON Schema."""

import math
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, AwareDatetime, Field, FutureDate, Json, PastDate, ValidationError
from pydantic_core import PydanticCustomError, to_json

from models.manifest import ManifestTable
from models.pipelines import InputRejected, no_files
from models.pipelines.features.names import FieldNames
from models.pipelines.typed import TypedInput, TypedOptions, TypedPipeline, TypedResult
from models.pipelines.typed_faults import described, field_faults
from models.pipelines.typed_schemas import derived_schema

ROOT = {"$defs": {"Dose": {"type": "number", "minimum": 0, "maximum": 50, "unit": "mg"}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number"}, "a number"),
        ({"type": "number", "minimum": 0}, "a number of at least 0"),
        ({"type": "number", "maximum": 1e6}, "a number of at most 1000000"),
        ({"type": "number", "minimum": 0, "maximum": 2.5}, "a number between 0 and 2.5"),
        ({"type": "integer", "minimum": 0, "maximum": 4294967295}, "an integer between 0 and 4294967295"),
        ({"type": "number", "maximum": 1234567.25}, "a number of at most 1234567.25"),
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
        ({"type": ["null"]}, "null"),
        ({"type": "object"}, "an object"),
        ({"type": "string"}, "a text"),
        ({"type": "string", "minLength": 2}, "a text of at least 2 characters"),
        ({"type": "string", "minLength": 0}, "a text"),
        ({"type": "string", "maxLength": 0}, "a text of at most 0 characters"),
        ({"type": "string", "minLength": 0, "maxLength": 9}, "a text of at most 9 characters"),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "a text of 1 to 9 characters"),
        ({"type": "string", "minLength": 3, "maxLength": 3}, "a text of 3 characters"),
        ({"type": "string", "maxLength": 9, "pattern": "^[A-Z]$"}, "a text of at most 9 characters that matches ^[A-Z]$"),
        ({"type": "string", "pattern": "^[0-9]{2}$", "examples": ["07"]}, "a text such as 07"),
        ({"type": "string", "pattern": "^[0-9]*$", "examples": ["0" * 41]}, "a text that matches ^[0-9]*$"),
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


def check_even(number: int) -> int:
    if number % 2:
        raise PydanticCustomError("odd_number", "Send an even number.")
    return number


def check_small(number: int) -> int:
    if number > 8:
        raise AssertionError("the number is too large for us")
    if not number:
        raise AssertionError
    return number


def check_plain(text: str) -> str:
    if "!" in text:
        raise ValueError("write it without a !, please")
    return text


class Point(TypedInput):
    x: Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "mm"})]
    y: float = 0


class Name(TypedInput):
    text: str


class Sent(TypedInput):
    """Every kind of field; each may be left out."""

    day: date | None = None
    at: AwareDatetime | None = None
    hour: time | None = None
    birth: PastDate | None = None
    visit: FutureDate | None = None
    key: UUID | None = None
    written: Json[int] | None = None
    points: Annotated[list[Point] | None, Field(max_length=3)] = None
    nested: list[list[Annotated[int, Field(multiple_of=5)]]] | None = None
    named: dict[str, Point] | None = None
    either: Point | Name | None = None
    side: Literal["left", "right"] = "left"
    even: Annotated[int, AfterValidator(check_even)] = 0
    small: Annotated[int, AfterValidator(check_small)] = 1
    plain: Annotated[str, AfterValidator(check_plain)] = ""
    code: Annotated[str, Field(min_length=2, max_length=4, pattern="^[A-Z]*$")] = "AA"
    count: Annotated[int, Field(gt=0, lt=10)] = 1
    share: Annotated[float, Field(ge=0, le=1)] = 0


SCHEMA = derived_schema(Sent, "validation")


def faults(value: object) -> list[tuple[str, str, str]]:
    """(pointer, code, detail) of every fault of a value."""
    with pytest.raises(ValidationError) as caught:
        Sent.model_validate_json(to_json(value))
    return [(each.pointer, each.code, each.detail) for each in field_faults(caught.value, value, SCHEMA)]


SPACED = "It begins or ends with white space: take that away."
MILLIMETRES = "x must be a number between 0 and 1 mm."


@pytest.mark.parametrize(
    ("value", "pointer", "code", "detail"),
    [
        ({"day": "soon"}, "/day", "wrong_format", "day must be a date such as 2026-03-01."),
        ({"day": "2026-03-01T12:00:00"}, "/day", "wrong_format", "day must be a date such as 2026-03-01."),
        ({"at": "noon"}, "/at", "wrong_format", "at must be a date and time such as 2026-03-01T12:00:00Z."),
        ({"hour": "noon"}, "/hour", "wrong_format", "hour must be a time such as 12:00:00."),
        ({"birth": "2999-01-01"}, "/birth", "wrong_format", "birth must be a date such as 2026-03-01."),
        ({"visit": "1999-01-01"}, "/visit", "wrong_format", "visit must be a date such as 2026-03-01."),
        ({"key": "1"}, "/key", "wrong_format", "key must be a UUID."),
        ({"written": "{"}, "/written", "wrong_format", "written must be a text."),
        ({"points": [{"x": 2}]}, "/points/0/x", "out_of_range", MILLIMETRES),
        ({"points": [{"x": 1}, {}]}, "/points/1/x", "missing_field", "x is missing: send a number between 0 and 1 mm."),
        ({"points": [3]}, "/points/0", "wrong_type", "each of points must be an object."),
        ({"points": [{"x": 1}] * 4}, "/points", "too_long", "points must be a list of at most 3 elements."),
        ({"points": {"x": 1}}, "/points", "wrong_type", "points must be a list of at most 3 elements."),
        ({"nested": [[5], [5, 7]]}, "/nested/1/1", "out_of_range", "each of nested must be an integer, a multiple of 5."),
        ({"named": {"secret": {"x": -1}}}, "/named/secret/x", "out_of_range", MILLIMETRES),
        ({"named": {"secret": 1}}, "/named/secret", "wrong_type", "each of named must be an object."),
        ({"named": []}, "/named", "wrong_type", "named must be an object."),
        ({"side": "up"}, "/side", "not_allowed", "side must be one of left, right."),
        ({"even": 3}, "/even", "odd_number", "Send an even number."),
        ({"small": 9}, "/small", "invalid_value", "the number is too large for us"),
        ({"small": 0}, "/small", "invalid_value", "Assertion failed, "),
        ({"plain": "no!"}, "/plain", "invalid_value", "write it without a !, please"),
        ({"code": "A"}, "/code", "too_short", "code must be a text of 2 to 4 characters that matches ^[A-Z]*$."),
        ({"code": "AAAAA"}, "/code", "too_long", "code must be a text of 2 to 4 characters that matches ^[A-Z]*$."),
        ({"code": "aa"}, "/code", "wrong_format", "code must be a text of 2 to 4 characters that matches ^[A-Z]*$."),
        ({"code": "A\n"}, "/code", "wrong_format", "code must be a text of 2 to 4 characters that matches ^[A-Z]*$. " + SPACED),
        ({"count": 0}, "/count", "out_of_range", "count must be an integer greater than 0 and less than 10."),
        ({"count": 10}, "/count", "out_of_range", "count must be an integer greater than 0 and less than 10."),
        ({"count": "1"}, "/count", "wrong_type", "count must be an integer greater than 0 and less than 10."),
        ({"share": 1.5}, "/share", "out_of_range", "share must be a number between 0 and 1."),
        ({"share": -1}, "/share", "out_of_range", "share must be a number between 0 and 1."),
        ({"share": None}, "/share", "wrong_type", "share must be a number between 0 and 1."),
        ({"Share": 1}, "/Share", "unknown_field", "The model does not take this field: remove it. Did you mean share?"),
        ({"shire": 1}, "/shire", "unknown_field", "The model does not take this field: remove it. Did you mean share?"),
        (
            {"points": [{"x": 1, "X": 1}]}, "/points/0/X", "unknown_field",
            "The model does not take this field: remove it. Did you mean x?",
        ),
        (
            {"named": {"a/b": {"x": 1, "~": 1}}}, "/named/a~1b/~0", "unknown_field",
            "The model does not take this field: remove it.",
        ),
        ([], "", "not_an_object", "Send a JSON object."),
        ("text", "", "not_an_object", "Send a JSON object."),
    ],
)  # fmt: skip
def test_a_fault_has_its_place_its_code_and_what_is_wanted(
    value: object, pointer: str, code: str, detail: str
) -> None:
    assert faults(value) == [(pointer, code, detail)]


def test_of_several_types_that_a_value_may_have_each_is_asked() -> None:
    assert [found[:2] for found in faults({"either": {"z": 1}})] == [
        ("/either/x", "missing_field"),
        ("/either/text", "missing_field"),
        ("/either/z", "unknown_field"),
    ]
    assert faults({"either": 1}) == [("/either", "wrong_type", "either must be an object or null.")]


def test_faults_come_in_the_order_of_the_fields_and_what_is_unknown_last() -> None:
    found = faults({"unknown": 1, "share": 2, "points": [{"x": 5, "other": 1}], "side": "up"})
    assert [pointer for pointer, _, _ in found] == [
        "/points/0/x", "/side", "/share", "/points/0/other", "/unknown",
    ]  # fmt: skip


def test_a_fault_of_many_elements_of_a_list_is_told_once() -> None:
    assert [pointer for pointer, _, _ in faults({"nested": [[1, 5], [2, 3]]})] == [
        "/nested/0/0", "/nested/1/0", "/nested/1/1",
    ]  # fmt: skip
    wanted = "each of nested must be an integer, a multiple of 5."
    assert faults({"nested": [[5, 1], [2, 3, 4], [None]]}) == [
        (
            "/nested/0/1",
            "out_of_range",
            f"{wanted} 4 elements have this fault, and this is the first of them.",
        ),
        ("/nested/2/0", "wrong_type", wanted),
    ]


def test_a_key_of_many_elements_that_is_not_known_is_told_once() -> None:
    organs = [{"kind": "liver", "size": 1, "unit": "cm"}] * 5
    with pytest.raises(ValidationError) as caught:
        Unions.model_validate_json(to_json({"organs": organs}))
    [found] = field_faults(caught.value, {"organs": organs}, UNIONS)
    assert (found.pointer, found.code) == ("/organs/0/unit", "unknown_field")
    assert found.detail.endswith("remove it. 5 elements have this fault, and this is the first of them.")


def test_of_countless_faults_a_hundred_are_told() -> None:
    assert len(faults({"named": {f"key {number}": 1 for number in range(100)}})) == 100
    assert len(faults({"named": {f"key {number}": 1 for number in range(101)}})) == 100


def test_faults_past_counting_are_told_as_one() -> None:
    assert len(faults({"nested": [[1] * 10_000]})) == 1
    [(pointer, code, detail)] = faults({"nested": [[1] * 10_001]})
    assert (pointer, code) == ("", "input_unfit")
    assert "10000 values" in detail


def test_now_is_a_date_that_is_read() -> None:
    assert Sent.model_validate_json(to_json({"at": datetime.now(UTC), "key": UUID(int=1)}))


class Liver(TypedInput):
    kind: Literal["liver"]
    size: Annotated[float, Field(ge=0, json_schema_extra={"unit": "cm"})]
    segment: Annotated[int, Field(ge=1, le=8)] = 1


class Lung(TypedInput):
    kind: Literal["lung", "lobe"]
    side: Literal["left", "right"]
    size: str = ""


Organ = Annotated[Liver | Lung, Field(discriminator="kind")]


class Unions(TypedInput):
    organ: Organ | None = None
    organs: list[Organ] | None = None
    pair: tuple[Literal["left"], int] | None = None
    plain: Liver | Point | None = None
    marks: list[int] | dict[str, bool] | None = None


UNIONS = derived_schema(Unions, "validation")
KINDS = "one of liver, lung, lobe."
SIZE = "size is missing: send a number of at least 0 cm."


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"organ": {"kind": "liver"}}, [("/organ/size", "missing_field", SIZE)]),
        ({"organ": {"kind": "lobe"}}, [("/organ/side", "missing_field", "side is missing: send one of left, right.")]),
        ({"organ": {"kind": "liver", "size": "x"}}, [("/organ/size", "wrong_type", "size must be a number of at least 0 cm.")]),
        ({"organ": {"kind": "lung", "side": "left", "size": 1}}, [("/organ/size", "wrong_type", "size must be a text.")]),
        ({"organ": {"kind": "secret"}}, [("/organ/kind", "not_allowed", f"kind must be {KINDS}")]),
        ({"organ": {"kind": 7}}, [("/organ/kind", "not_allowed", f"kind must be {KINDS}")]),
        ({"organ": {"size": 1}}, [("/organ/kind", "missing_field", f"kind is missing: send {KINDS}")]),
        ({"organs": [{"kind": "secret"}]}, [("/organs/0/kind", "not_allowed", f"kind must be {KINDS}")]),
        ({"organs": [{"kind": "liver"}]}, [("/organs/0/size", "missing_field", SIZE)]),
        ({"organ": 1}, [("/organ", "wrong_type", "organ must be an object.")]),
        (
            {"organ": {"kind": "liver", "size": 1, "Segment": 2}},
            [("/organ/Segment", "unknown_field", "The model does not take this field: remove it. Did you mean segment?")],
        ),
        ({"pair": ["right", 1]}, [("/pair/0", "not_allowed", "element 1 of pair must be left.")]),
        ({"pair": ["left", "secret"]}, [("/pair/1", "wrong_type", "element 2 of pair must be an integer.")]),
        ({"pair": ["left"]}, [("/pair/1", "missing_field", "element 2 of pair is missing: send an integer.")]),
        ({"marks": ["secret"]}, [("/marks/0", "wrong_type", "each of marks must be an integer."),
                                 ("/marks", "wrong_type", "marks must be a list or an object or null.")]),
        (
            {"plain": {}},
            [
                ("/plain/kind", "missing_field", "kind is missing: send liver."),
                ("/plain/size", "missing_field", SIZE),
                ("/plain/x", "missing_field", "x is missing: send a number between 0 and 1 mm."),
            ],
        ),
    ],
)  # fmt: skip
def test_a_fault_within_a_union_or_a_tuple_says_what_is_wanted_there(
    value: object, found: list[tuple[str, str, str]]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Unions.model_validate_json(to_json(value))
    faults = field_faults(caught.value, value, UNIONS)
    assert [(each.pointer, each.code, each.detail) for each in faults] == found


class Open(TypedInput):
    anything: Any = None
    more: dict[str, Any] | None = None


class OpenOptions(TypedOptions):
    anything: Any = None


def test_a_number_past_float64_is_refused_where_a_field_may_hold_anything() -> None:
    """It was stored as null, and the case scored without it."""
    pipeline = OpenPipeline(ManifestTable(), no_files)
    value = {"anything": [1, {"a": math.inf}], "more": {"b/c": -math.inf, "d": 1e308}}
    with pytest.raises(InputRejected) as caught:
        pipeline.encode(value)
    found = {(fault.pointer, fault.code) for fault in caught.value.faults}
    assert found == {("/anything/1/a", "not_finite"), ("/more/b~1c", "not_finite")}
    with pytest.raises(InputRejected, match="/anything: not_finite"):
        pipeline.check_options({"anything": math.inf})
    assert pipeline.decode(pipeline.encode({"anything": 1e308}))["anything"] == 1e308


class OpenPipeline(TypedPipeline[ManifestTable, Open, TypedResult, OpenOptions]):
    """Takes anything."""


@pytest.mark.parametrize(
    ("sent", "near"), [("best_of", None), ("stops", "stop"), ("seeds", "seed"), ("max_token", "max_tokens")]
)
def test_a_name_that_is_not_near_is_not_suggested(sent: str, near: str | None) -> None:
    assert FieldNames(["beams", "max_tokens", "seed", "stop"]).nearest(sent) == near
