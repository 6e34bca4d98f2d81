"""What `medqueue models show` says of inputs of every kind, and the example that it gives, from the schemas of pipelines."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from models.manifest import ManifestTable
from models.pipelines import load_pipeline, no_files
from models.pipelines.tensor import TensorParameters, Tensors
from models.pipelines.typed import NoOptions, TypedInput, TypedPipeline, TypedResult
from models.pipelines.typed_parts import FilePart, OptionalFilePart, OptionalResultPart, ResultPart
from service.cli import main, model_tables
from service.cli.output import Output
from tests.unit.models.example_bundles import FEATURES, manifest, write_bundle


class Parameters(ManifestTable):
    """None."""


class Input(TypedInput):
    age: Annotated[float, Field(title="Age", ge=0, le=120, examples=[61.0])]
    scan: Annotated[FilePart, Field(title="Scan of the chest")]
    prior: Annotated[OptionalFilePart, Field(title="Earlier scan")]
    finding: Annotated[ResultPart, Field(title="First reading")]
    other: OptionalResultPart


class WithParts(TypedPipeline[Parameters, Input, TypedResult, NoOptions]):
    """A pipeline with parts, of which only the schemas are asked for."""


def tensors(*inputs: dict[str, Any]) -> dict[str, Any]:
    parameters = {"inputs": inputs, "outputs": [{"name": "total"}]}
    return Tensors(TensorParameters.model_validate(parameters), no_files).input_schema()


def shown(capsys: pytest.CaptureFixture[str], schema: dict[str, Any]) -> list[str]:
    """The lines of the inputs."""
    found = dict.fromkeys(model_tables.MODEL_FIELDS, "x") | {"aliases": {}, "input_schema": schema}
    Output(as_json=False).print(model_tables.model(found | {"versions": [], "labels": [], "metrics": {}}))
    return capsys.readouterr().out.split("Input\n")[1].splitlines()


@pytest.mark.parametrize("most_bytes", [None, 1000])
def test_the_example_of_a_model_with_parts_holds_what_is_required(most_bytes: int | None) -> None:
    schema = WithParts(Parameters(), no_files).input_schema(most_bytes)
    assert model_tables.example(schema) == {
        "age": 61.0,
        "scan": {"upload_id": "UPLOAD_ID"},
        "finding": {"job": "JOB_ID"},
    }


def test_parts_are_shown_with_how_they_are_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, WithParts(Parameters(), no_files).input_schema(1000)) == [
        "age      Age [0 to 120]",
        "scan     Scan of the chest [file: --part scan=PATH]",
        "prior    Earlier scan [file: --part prior=PATH] (optional)",
        "finding  First reading [result of another job]",
        "other    Other [result of another job] (optional)",
    ]


def test_tensors_are_shown_with_shape_type_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    schema = tensors(
        {"name": "ecg", "title": "ECG", "shape": [12, -1], "minimum": -5, "maximum": 5, "unit": "mV"},
        {"name": "mask", "dtype": "bool", "shape": [8]},
        {"name": "words", "dtype": "string", "shape": [2, 3]},
        {"name": "codes", "dtype": "uint8", "shape": [4]},
        {"name": "age", "minimum": 0, "maximum": 120},
    )
    assert shown(capsys, schema) == [
        "ecg    ECG [12 x (1 to 4096) numbers, -5 to 5 mV]",
        "mask   mask [8 true or false]",
        "words  words [2 x 3 texts, up to 100000 characters]",
        "codes  codes [4 whole numbers, 0 to 255]",
        "age    age [0 to 120]",
    ]


def of_table(*features: dict[str, Any]) -> dict[str, Any]:
    return load_pipeline(manifest(features=[FEATURES[0], *features])).input_schema()


def test_values_are_shown_once_with_their_codes_and_explained_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sex = {"name": "sex", "title": "Sex", "type": "category", "values": ["female", "male"]}
    codes = {"written": {"0": "female", "1": "male", "F": "female"}, "required": False, "missing": ""}
    spread = {
        "name": "spread",
        "title": "Spread",
        "type": "category",
        "values": ["I", "II"],
        "description": "Of it.",
    }
    smoker = {"name": "smoker", "title": "Smoker", "type": "boolean", "written": {"1": True, "no": False}}
    schema = of_table(sex | codes, spread | {"display": {"II": "to lymph nodes"}}, smoker)
    assert schema["properties"]["sex"]["x-values"] == [
        {"value": "female", "written": ["0", "F"]},
        {"value": "male", "written": ["1"]},
    ]
    assert shown(capsys, schema) == [
        "dose    Dose [0 to 50 mg]",
        "sex     Sex [female (0, F), male (1)] (optional)",
        "spread  Spread [I, II]",
        "          Of it.",
        "          II: to lymph nodes",
        "smoker  Smoker [true (1), false (no)]",
    ]


def test_a_picture_is_shown_with_how_it_is_sent_and_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    schema = load_pipeline(manifest("image-classification")).input_schema()
    file, data, limits, upload, *_ = shown(capsys, schema)
    assert file.startswith("FILE       the file itself: medqueue submit --model NAME FILE")
    assert data == "data       PNG or JPEG file"
    assert limits.strip().startswith("PNG or JPEG, 8 bits a sample, at least")
    assert upload == "upload_id  Upload"


def test_a_series_is_shown_with_what_each_observation_holds(capsys: pytest.CaptureFixture[str]) -> None:
    schema = load_pipeline(manifest("timeseries-classification")).input_schema()
    assert shown(capsys, schema) == [
        "observations  Observations [(1 to 50) of these]",
        "                in the order of their times",
        "  time        Time since the start, as hours and minutes",
        "  parameter   Parameter",
        "                HR: Heart rate, 0 to 350 /min, -1 if unknown",
        "                Temp: Temperature, 10 to 45 Cel",
        "  value       Value",
    ]


def test_numbers_and_texts_are_shown_with_their_limits_and_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    properties = {
        "platelets": {"title": "Platelets", "minimum": 5000, "maximum": 1500000.0, "unit": "/uL"},
        "gain": {"title": "Gain", "exclusiveMinimum": 0, "maximum": 1e6},
        "least": {"title": "Least", "minimum": 0.5, "default": 0.5},
        "most": {"title": "Most", "maximum": 3, "default": None},
        "exact": {"title": "Exact", "type": "boolean", "default": False},
        "note": {"title": "Note", "type": "string", "minLength": 1, "maxLength": 20},
        "site": {"title": "Site", "type": "string", "minLength": 3, "maxLength": 3},
        "marks": {"title": "Marks", "type": ["array", "null"], "items": {"type": "integer"}, "maxItems": 9},
    }
    assert shown(capsys, {"type": "object", "properties": properties}) == [
        "platelets  Platelets [5000 to 1500000 /uL]",
        "gain       Gain [more than 0, at most 1000000]",
        "least      Least [0.5 or more, default 0.5]",
        "most       Most [at most 3]",
        "exact      Exact [true or false, default false]",
        "note       Note [1 to 20 characters]",
        "site       Site [3 characters]",
        "marks      Marks [(0 to 9) whole numbers]",
    ]


def test_a_check_remarks_on_numbers_without_a_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "dose-effect")
    assert main(["models", "check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == []
    manifest_file = folder / "manifest.toml"
    manifest_file.write_text(re.sub(r"('|\")?maximum('|\")? = 120(\.0)?,? ?", "", manifest_file.read_text()))
    assert main(["models", "seal", str(folder)]) == 0
    assert "Remark: manifest.toml: parameters.features: age may be any number" in capsys.readouterr().err
    assert main(["models", "check", str(folder), "--json"]) == 0
    [remark] = json.loads(capsys.readouterr().out)["remarks"]
    assert remark["code"] == "range_open"
