"""Pipelines written as types: what follows from them agrees with itself, and says what is wrong in our words."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from models.field_codes import FieldCode, OtherCode
from models.manifest import ManifestTable, ModelManifest
from models.pipelines import (
    Array,
    Artifact,
    Case,
    GraphSpec,
    InputRejected,
    PredictionInvalid,
    RowFault,
)
from models.pipelines.contract import FieldFault, Pipeline, Run
from models.pipelines.side_files import no_files
from models.pipelines.typed import (
    CODEC,
    NoOptions,
    TypedCase,
    TypedInput,
    TypedOptions,
    TypedPipeline,
    TypedResult,
)
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.schemas import assert_fits


class Parameters(ManifestTable):
    longest: int = 40


class Event(TypedInput):
    code: Annotated[str, Field(pattern=r"^[A-Z][0-9]{2}$")]
    day: Annotated[int, Field(ge=0, le=3650)]


class Input(TypedInput):
    text: Annotated[str, Field(title="Report", min_length=1, max_length=60, examples=["No focal lesion."])]
    sex: Annotated[Literal["female", "male"] | None, Field(examples=["female"])] = None
    dose: Annotated[float, Field(ge=0, le=50, json_schema_extra={"unit": "mg"})] = 10.0
    weight: Annotated[float | None, Field(gt=0, json_schema_extra={"unit": "kg"})] = None
    side: Literal["left"] | None = None
    smoker: bool = False
    events: Annotated[list[Event], Field(max_length=3)] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    mark: int | Annotated[str, Field(max_length=5)] = 0
    grade: Literal[1, 2] = 1
    consent: Literal[True] = True

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if [event.day for event in self.events] != sorted(event.day for event in self.events):
            raise PydanticCustomError("events_unordered", "Send the events in order of their days.")
        if self.smoker and self.sex is None:
            raise ValueError("a smoker needs a sex")
        return self


class Options(TypedOptions):
    top: Annotated[int, Field(title="How many", ge=1, le=5)] = 3


class Result(TypedResult):
    type: Literal["echo"] = "echo"
    length: float
    top: int


class Scoring:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def score(
        self, run: Run, cases: Sequence[TypedCase[Input, Options]]
    ) -> list[Result | tuple[Result, Sequence[Artifact]]]:
        lengths = [len(case.input.text) * self.factor for case in cases]
        results = [
            Result(length=length, top=case.options.top) for length, case in zip(lengths, cases, strict=True)
        ]
        note = Artifact("note.txt", "text/plain", b"long")
        return [(each, [note]) if each.length > 20 else each for each in results]


class Echo(TypedPipeline[Parameters, Input, Result, Options]):
    factor = 1.0

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        return {}

    def open_bundle(self, folder: Path) -> Scoring:
        return Scoring(self.factor)

    def check(self, value: Input) -> None:
        if len(value.text) > self.parameters.longest:
            advice = f"The report may have at most {self.parameters.longest} characters here."
            raise InputRejected(FieldFault("/text", FieldCode.TOO_LONG, advice))


def manifest(**parameters: Any) -> ModelManifest:
    return ModelManifest.model_validate(manifest_table() | {"pipeline": "echo", "parameters": parameters})


ECHO = Echo.load(manifest(longest=60), no_files)
SCHEMA = ECHO.input_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def faults(value: object, pipeline: Echo = ECHO) -> list[FieldFault]:
    try:
        pipeline.encode(value)
    except InputRejected as rejected:
        return list(rejected.faults)
    return []


def fault(value: object) -> FieldFault:
    [found] = faults(value)
    return found


def no_run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    raise AssertionError("there is no graph")


NUMBERS = st.one_of(st.integers(-2, 4000), st.floats(-2, 60), st.sampled_from([5.0, 10**30, 1e300, -0.0]))
LEAVES = st.one_of(NUMBERS, st.booleans(), st.none(), st.text(max_size=3), st.sampled_from(["female", "A12"]))
EVENTS = st.fixed_dictionaries(
    {"code": st.sampled_from(["A12", "B01", "a12", "A123"]) | LEAVES, "day": NUMBERS | LEAVES},
    optional={"note": LEAVES},
)
VALUES = st.fixed_dictionaries(
    {"text": st.text(max_size=70) | LEAVES},
    optional={
        "sex": st.sampled_from(["female", "male", None, "other"]) | LEAVES,
        "dose": NUMBERS | LEAVES,
        "smoker": st.booleans() | LEAVES,
        "weight": NUMBERS | LEAVES,
        "side": st.sampled_from(["left", "right", None]),
        "events": st.lists(EVENTS, max_size=4) | LEAVES,
        "scores": st.dictionaries(st.text(max_size=3), NUMBERS | LEAVES, max_size=3),
        "mark": LEAVES,
        "extra": LEAVES,
    },
)
# Of the author's own rules, which no JSON Schema tells.
BEYOND = {"events_unordered", "invalid_value"}


@given(VALUES | LEAVES | st.lists(LEAVES, max_size=2))
def test_an_input_is_accepted_exactly_where_its_schema_accepts_it(value: object) -> None:
    found = {each.code for each in faults(value)}
    assert VALIDATOR.is_valid(value) == (found <= BEYOND)


@given(VALUES)
def test_a_stored_input_is_read_back_as_it_was_sent(value: dict[str, Any]) -> None:
    if faults(value):
        return
    payload = ECHO.encode(value)
    decoded = ECHO.decode(payload)
    assert {key: decoded[key] for key in value} == value
    assert ECHO.encode(decoded) == payload
    assert VALIDATOR.is_valid(decoded)


@given(VALUES)
def test_no_fault_holds_a_value(value: dict[str, Any]) -> None:
    secret = "Mrs Q. Secret"
    told = json.loads(json.dumps(value).replace('"female"', f'"{secret}"').replace('"A12"', f'"{secret}"'))
    told |= {"text": secret * 9, "sex": secret}
    found = faults(told)
    assert found
    assert secret not in "".join(f"{each.pointer}{each.code}{each.detail}" for each in found)


@pytest.mark.parametrize(
    ("value", "pointer", "code", "detail"),
    [
        ({}, "/text", "missing_field", "text is missing: send a text of 1 to 60 characters."),
        ([], "", "not_an_object", "Send a JSON object."),
        ({"text": 3}, "/text", "wrong_type", "text must be a text of 1 to 60 characters."),
        ({"text": ""}, "/text", "too_short", "text must be a text of 1 to 60 characters."),
        ({"text": "x" * 61}, "/text", "too_long", "text must be a text of 1 to 60 characters."),
        ({"sex": "other"}, "/sex", "not_allowed", "sex must be one of female, male, null."),
        ({"weight": 0}, "/weight", "out_of_range", "weight must be a number greater than 0 kg."),
        ({"dose": 51}, "/dose", "out_of_range", "dose must be a number between 0 and 50 mg."),
        ({"dose": "5"}, "/dose", "wrong_type", "dose must be a number between 0 and 50 mg."),
        ({"dose": float("inf")}, "/dose", "not_finite", "dose must be a number between 0 and 50 mg."),
        ({"smoker": 1}, "/smoker", "wrong_type", "smoker must be true or false."),
        ({"mark": 1.5}, "/mark", "wrong_type", "mark must be an integer or a text of at most 5 characters."),
        ({"mark": "x" * 6}, "/mark", "too_long", "mark must be an integer or a text of at most 5 characters."),
        ({"events": [{}] * 4}, "/events", "too_long", "events must be a list of at most 3 elements."),
        ({"events": [3]}, "/events/0", "wrong_type", "each of events must be an object."),
        (
            {"events": [{"code": "A12", "day": 1}, {"code": "b", "day": 2}]},
            "/events/1/code",
            "wrong_format",
            "code must be a text that matches ^[A-Z][0-9]{2}$.",
        ),
        ({"scores": {"a": None}}, "/scores/a", "wrong_type", "each of scores must be a number."),
        ({"Dose": 3}, "/Dose", "unknown_field", "The model does not take this field: remove it. Did you mean dose?"),
        (
            {"events": [{"code": "A12", "day": 2}, {"code": "A12", "day": 1}]},
            "",
            "events_unordered",
            "Send the events in order of their days.",
        ),
        ({"smoker": True}, "", "invalid_value", "a smoker needs a sex"),
        ({"grade": True}, "/grade", "not_allowed", "grade must be one of 1, 2."),
        ({"consent": 1}, "/consent", "not_allowed", "consent must be True."),
    ],
)  # fmt: skip
def test_a_fault_says_where_which_rule_and_what_to_send(
    value: Any, pointer: str, code: str, detail: str
) -> None:
    whole = {"text": "x"} | value if isinstance(value, dict) and value and "text" not in value else value
    assert fault(whole) == FieldFault(pointer, OtherCode(code), detail)


def test_every_fault_is_found_at_once() -> None:
    found = faults({"text": "", "dose": 99, "extra": 1, "events": [{"code": "x", "day": -1}]})
    assert {each.pointer for each in found} == {
        "/text", "/dose", "/extra", "/events/0/code", "/events/0/day",
    }  # fmt: skip


def test_at_most_a_hundred_faults_are_told() -> None:
    assert len(faults({"text": "x", "scores": {str(number): None for number in range(1000)}})) == 100


@pytest.mark.parametrize(("examples", "shown"), [(["x"], [{"text": "x"}]), (None, None)])
def test_an_example_of_an_input_is_made_where_each_needed_field_has_one(examples: Any, shown: Any) -> None:
    class Made(Echo):
        def prepare(self, read: Any) -> None:
            fields: Any = {"text": (Annotated[str, Field(examples=examples)], ...)}
            base: Any = TypedInput
            self.input_type = create_model("Made", __base__=base, **fields)

    assert Made.load(manifest(), no_files).input_schema().get("examples") == shown


def test_a_rule_of_the_parameters_is_checked_beside_the_type() -> None:
    short = Echo.load(manifest(longest=3), no_files)
    [found] = faults({"text": "four"}, short)
    assert (found.pointer, found.code) == ("/text", "too_long")
    assert faults({"text": "one"}, short) == []


@pytest.mark.parametrize("value", [{"text": "\ud800"}, {"text": b"\xff"}])
def test_what_is_no_json_is_refused(value: object) -> None:
    assert fault(value).code == "not_json"


def test_an_input_is_stored_with_its_codec_version_and_its_defaults_in_one_form() -> None:
    payload = ECHO.encode({"dose": 5, "text": "é"})
    assert payload == ECHO.encode({"text": "é", "dose": 5.0})
    assert payload[:1] == CODEC == b"\x01"
    stored = (
        '{"consent":true,"dose":5.0,"events":[],"grade":1,"mark":0,"scores":{},"sex":null,"side":null,"smoker":false,'
        '"text":"é","weight":null}'
    )
    assert payload[1:].decode() == stored


def test_a_stored_input_is_read_by_a_release_whose_type_has_a_new_field() -> None:
    payload = CODEC + b'{"text":"x"}'
    assert ECHO.decode(payload) == Input(text="x").model_dump(mode="json")


@pytest.mark.parametrize("payload", [b"\x02{}", b"\x00", b'{"text": "x"}'])
def test_a_stored_input_of_another_codec_version_is_refused_by_its_number(payload: bytes) -> None:
    with pytest.raises(InputRejected) as caught:
        ECHO.decode(payload)
    [found] = caught.value.faults
    assert found.code == "stored_input_codec"
    assert f"codec version {payload[0]}" in found.detail


@pytest.mark.parametrize("payload", [CODEC, CODEC + b"{", CODEC + b'{"text":3}', CODEC + b"\xff"])
def test_a_damaged_input_is_refused(payload: bytes) -> None:
    with pytest.raises(InputRejected) as caught:
        ECHO.decode(payload)
    assert caught.value.faults[0].code == "stored_input_damaged"
    with pytest.raises(RowFault) as row:
        ECHO.open(Path()).score(no_run, [Case(ECHO.encode({"text": "x"})), Case(payload)])
    assert row.value.index == 1


def test_options_are_checked_by_their_type_and_only_those_chosen_are_stored() -> None:
    assert ECHO.check_options({}) == {}
    assert ECHO.check_options({"top": 5.0}) == {"top": 5}
    for wrong, code in (({"top": 6}, "out_of_range"), ({"tip": 1}, "unknown_option"), ([], "not_an_object")):
        with pytest.raises(InputRejected) as caught:
            ECHO.check_options(wrong)
        assert [each.code for each in caught.value.faults] == [code]
    properties: Any = ECHO.options_schema()["properties"]
    assert properties["top"]["title"] == "How many"


def test_a_pipeline_without_options_refuses_any() -> None:
    class Plain(TypedPipeline[Parameters, Input, Result, NoOptions]):
        pass

    plain = Plain.load(manifest(), no_files)
    assert plain.check_options({}) == {}
    with pytest.raises(InputRejected):
        plain.check_options({"top": 1})


def test_cases_are_scored_with_their_input_and_options_typed() -> None:
    payloads = [ECHO.encode({"text": "x" * length}) for length in (3, 30)]
    first, second = ECHO.open(Path()).score(no_run, [Case(payloads[0], {"top": 1}), Case(payloads[1])])
    assert first.result == {"type": "echo", "length": 3.0, "top": 1}
    assert first.artifacts == ()
    assert second.result == {"type": "echo", "length": 30.0, "top": 3}
    assert second.artifacts == (Artifact("note.txt", "text/plain", b"long"),)
    for each in (first, second):
        assert_fits(each.result, ECHO.result_schema())


def test_a_result_that_does_not_fit_its_type_is_no_prediction() -> None:
    class Broken(Echo):
        factor = float("nan")

    cases = [Case(ECHO.encode({"text": "x"}))] * 2
    with pytest.raises(PredictionInvalid) as caught:
        Broken.load(manifest(), no_files).open(Path()).score(no_run, cases)
    assert caught.value.rows == (0, 1)
    assert "length (finite_number)" in caught.value.reason


def test_a_result_that_was_made_without_a_check_is_checked() -> None:
    class Careless(Scoring):
        def score(
            self, run: Run, cases: Sequence[TypedCase[Input, Options]]
        ) -> list[Result | tuple[Result, Sequence[Artifact]]]:
            good, bad = Result(length=1, top=1), Result.model_construct(length="x", top=1)
            return [bad if case.input.smoker else good for case in cases]

    class Broken(Echo):
        def open_bundle(self, folder: Path) -> Scoring:
            return Careless(1)

    smoker = {"text": "x", "sex": "male", "smoker": True}
    cases = [Case(ECHO.encode(each)) for each in ({"text": "x"}, smoker)]
    with pytest.raises(PredictionInvalid) as caught:
        Broken.load(manifest(), no_files).open(Path()).score(no_run, cases)
    assert caught.value.rows == (1,)


def test_a_typed_pipeline_is_a_pipeline_and_its_schemas_are_schemas() -> None:
    pipeline: Pipeline = ECHO
    assert isinstance(pipeline, Pipeline)
    for schema in (pipeline.input_schema(), pipeline.result_schema(), pipeline.options_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["examples"] == [{"text": "No focal lesion.", "sex": "female"}]
    properties: Any = SCHEMA["properties"]
    assert properties["dose"]["unit"] == "mg"
    assert properties["text"]["title"] == "Report"
    assert properties["weight"]["type"] == ["number", "null"]
    assert properties["weight"]["exclusiveMinimum"] == 0


def test_a_pipeline_can_make_its_input_type_of_the_parameters() -> None:
    class Made(Echo):
        def prepare(self, read: Any) -> None:
            text = Annotated[str, Field(max_length=self.parameters.longest)]
            self.input_type = create_model("Made", __base__=Input, text=(text, ...))

    made = Made.load(manifest(longest=2), no_files)
    properties: Any = made.input_schema()["properties"]
    assert properties["text"]["maxLength"] == 2
    assert [each.code for each in faults({"text": "xxx"}, made)] == ["too_long"]
