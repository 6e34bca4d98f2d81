"""Fields of a typed input that stand for parts that are stored apart: what follows from them, and golden cases with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field, create_model

from models.field_codes import OtherCode
from models.golden import check_inputs
from models.golden_cases import encode_cases, parse_golden
from models.golden_parts import golden_part
from models.manifest import BundleRefused, ManifestTable
from models.pipelines import (
    Answer,
    FieldFault,
    GraphSpec,
    InputRejected,
    Part,
    PartKind,
    TensorSpec,
    no_files,
)
from models.pipelines.parts import result_type, take_apart
from models.pipelines.typed import NoOptions, TypedInput, TypedPipeline, TypedResult
from models.pipelines.typed_parts import (
    FilePart,
    OptionalFilePart,
    OptionalResultPart,
    ResultOf,
    ResultPart,
    parts_of,
)

ID = "01a20178-34e2-71dd-924c-9e5807b634d9"


class Parameters(ManifestTable):
    """None."""


class Input(TypedInput):
    age: Annotated[float, Field(examples=[61.0])]
    scan: Annotated[FilePart, Field(title="Scan of the chest")]
    prior: OptionalFilePart
    finding: Annotated[ResultPart, ResultOf("classification", "segmentation")]
    other: Annotated[OptionalResultPart, Field(alias="second opinion")]


class Result(TypedResult):
    type: Literal["looked"] = "looked"


class Looking(TypedPipeline[Parameters, Input, Result, NoOptions]):
    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        return {"model": GraphSpec((TensorSpec("x", "float32", (1,)),), ())}

    def check_file(self, name: str, content: bytes) -> None:
        if not content.startswith(b"SCAN"):
            raise InputRejected(FieldFault("", OtherCode("not_a_scan"), f"{name} must be a scan."))

    def open_bundle(self, folder: Path) -> Any:
        raise NotImplementedError


PIPELINE = Looking(Parameters(), no_files)
GOOD: dict[str, Any] = {
    "input": {
        "age": 61.0,
        "scan": {"data": "U0NBTiAx"},
        "finding": {"result": {"type": "classification", "label": "ill", "score": 0.5}},
    },
    "expected": {},
}


def golden(*changed: Mapping[str, Any]) -> Any:
    """Five cases; each of the first has an input of its own where it is `changed`."""
    cases = [GOOD | {"input": GOOD["input"] | {"age": 50.0 + number}} for number in range(5)]
    for number, change in enumerate(changed):
        cases[number] = GOOD | {"input": change}
    return parse_golden(json.dumps({"cases": cases}))


def test_the_parts_follow_from_the_fields() -> None:
    kinds = ("classification", "segmentation")
    assert PIPELINE.parts == {
        "scan": Part(PartKind.FILE),
        "prior": Part(PartKind.FILE, required=False),
        "finding": Part(PartKind.RESULT, types=kinds),
        "second opinion": Part(PartKind.RESULT, required=False),
    }


def test_the_schema_tells_how_parts_are_sent() -> None:
    schema = PIPELINE.input_schema(1_000)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["age", "scan", "finding"]
    assert "examples" not in schema  # the example of the age alone is no input
    good = {"age": 61.0, "scan": {"data": "U0NBTg=="}, "finding": {"job": ID}, "prior": {"upload_id": ID}}
    jsonschema.validate(good, schema)
    assert schema["properties"]["scan"]["title"] == "Scan of the chest"  # type: ignore[index]
    wrong: tuple[dict[str, object], ...] = (
        {"scan": {"data": "U0NBTg==", "upload_id": ID}},
        {"scan": "U0NBTg=="},
        {"scan": {"data": "x" * 1_337}},
        {"finding": {"result": {}}},
        {"finding": ID},
    )
    for bad in wrong:
        assert not jsonschema.Draft202012Validator(schema).is_valid(good | bad), bad


def test_an_input_is_stored_and_read_back_without_its_parts() -> None:
    rest, sent = take_apart({"age": 61.0, "scan": {"data": "x"}, "prior": None, "more": 1}, PIPELINE.parts)
    assert (rest, sent) == ({"age": 61.0, "more": 1}, {"scan": {"data": "x"}, "finding": None})
    stored = PIPELINE.encode({"age": 61.0})
    assert stored == b'\x02{"age":61.0}'
    assert PIPELINE.decode(stored) == {"age": 61.0}
    assert PIPELINE.read_input(stored).scan is None


@pytest.mark.parametrize("value", ["text", 3, None, ["scan"]])
def test_what_is_no_object_is_left_to_the_pipeline(value: object) -> None:
    assert take_apart(value, PIPELINE.parts) == (value, {})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (PIPELINE.result_schema(), "looked"),
        ({}, None),
        ({"properties": {"type": {"enum": ["a", "b"]}}}, None),
    ],
)
def test_the_type_of_results_is_what_their_schema_fixes(schema: dict[str, Any], told: str | None) -> None:
    assert result_type(schema) == told


def test_golden_cases_hold_files_and_results() -> None:
    cases = golden()
    assert check_inputs(cases, PIPELINE) == []
    first = encode_cases(cases, PIPELINE)[0]
    assert first.payload == b'\x02{"age":50.0}'
    assert first.parts["scan"] == b"SCAN 1"
    assert json.loads(first.parts["finding"]) == {"type": "classification", "label": "ill", "score": 0.5}


@pytest.mark.parametrize(
    ("part", "given", "place"),
    [
        ("scan", None, "/scan"),
        ("scan", {"data": "***"}, "/scan"),
        ("scan", {"upload_id": ID}, "/scan"),
        ("scan", {"data": "R0lG"}, "/scan scan must be a scan."),
        ("finding", {"job": ID}, "/finding"),
        ("finding", {"result": "ill"}, "/finding"),
        ("finding", {"result": {"type": "regression"}}, "/finding/result/type"),
        ("finding", {"result": {}}, "/finding/result/type"),
    ],
)
def test_a_golden_case_whose_part_is_wrong_is_refused(part: str, given: object, place: str) -> None:
    cases = golden(GOOD["input"] | {part: given})
    (fault,) = check_inputs(cases, PIPELINE)
    assert (fault.place, fault.code) == ("golden.json: case 0", "golden_input_rejected")
    assert fault.detail.startswith(place)
    with pytest.raises(BundleRefused):
        encode_cases(cases, PIPELINE)


@pytest.mark.parametrize(
    ("part", "given", "code"),
    [
        ("scan", {"upload_id": ID}, "wrong_type"),
        ("scan", {"data": "*U0NBTg=="}, "wrong_type"),
        ("scan", {"data": "R0lG"}, "not_a_scan"),
        ("finding", {"job": ID}, "wrong_type"),
        ("finding", {"result": {"type": "classification", "score": float("nan")}}, "wrong_type"),
        ("finding", {"result": {"type": "classification"}, "job": ID}, "wrong_type"),
        ("finding", {"result": {"type": "regression"}}, "not_allowed"),
    ],
)
def test_a_part_of_a_golden_case_is_refused_with_the_code_that_a_job_gets(
    part: str, given: object, code: str
) -> None:
    with pytest.raises(InputRejected) as refused:
        golden_part(PIPELINE, part, given)
    assert [fault.code for fault in refused.value.faults] == [code]


def test_all_that_is_wrong_with_a_golden_case_is_named_together() -> None:
    case = {"input": {"age": "old"}, "options": {"top": 3}, "expected": {}}
    with pytest.raises(BundleRefused) as refused:
        encode_cases(parse_golden(json.dumps({"cases": [case]})), PIPELINE)
    (fault,) = refused.value.faults
    places = [part.split()[0] for part in fault.detail.split("; ")]
    assert places == ["/scan", "/finding", "/age", "/options/top"]


class Alone(TypedInput):
    age: float


class Blind(TypedPipeline[Parameters, Alone, Result, NoOptions]):
    """A later release of the pipeline, which has no parts any more."""


def test_an_input_with_parts_is_never_read_without_them() -> None:
    stored = Looking(Parameters(), no_files).encode({"age": 61.0})
    with pytest.raises(InputRejected) as refused:
        Blind(Parameters(), no_files).read_input(stored)
    assert [fault.code for fault in refused.value.faults] == ["stored_input_codec"]


class Nested(TypedInput):
    scan: FilePart
    more: "list[Nested] | None" = None


@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
@pytest.mark.parametrize(
    "declared",
    [
        FilePart | None,
        Annotated[FilePart, Field(title="Scan")] | None,
        list[FilePart],
        dict[str, ResultPart],
        Nested,
        list[Nested] | None,
    ],
)
def test_a_part_within_another_type_is_refused(declared: Any) -> None:
    model = create_model("Wrapped", __base__=TypedInput, scan=(declared, ...))
    with pytest.raises(TypeError, match=r"the field 'scan' .* use OptionalFilePart"):
        parts_of(model)


def test_models_that_hold_themselves_hold_no_part() -> None:
    class Tree(TypedInput):
        branches: "list[Tree] | None" = None

    assert parts_of(create_model("Wood", __base__=TypedInput, tree=(Tree, ...))) == {}


def test_an_input_of_before_a_pipeline_had_parts_is_read() -> None:
    stored = Blind(Parameters(), no_files).encode({"age": 61.0})
    assert Looking(Parameters(), no_files).decode(stored) == {"age": 61.0}


def test_scoring_gets_the_parts(tmp_path: Path) -> None:
    class Open(Looking):
        def open_bundle(self, folder: Path) -> Any:
            class Scoring:
                def score(self, run: Any, cases: Any) -> list[Any]:
                    assert [case.parts["scan"] for case in cases] == [b"SCAN 1"] * 5
                    return [Result() for _ in cases]

            return Scoring()

    opened = Open(Parameters(), no_files)
    answers = opened.open(tmp_path).score(lambda *_: {}, encode_cases(golden(), opened))
    assert answers == [Answer({"type": "looked"})] * 5
