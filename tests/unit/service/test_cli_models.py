"""What `medqueue models show` says of parts and tensors, and the example that it gives, from the schemas of pipelines."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from models.manifest import ManifestTable
from models.pipelines import no_files
from models.pipelines.tensor import TensorParameters, Tensors
from models.pipelines.typed import NoOptions, TypedInput, TypedPipeline, TypedResult
from models.pipelines.typed_parts import FilePart, OptionalFilePart, OptionalResultPart, ResultPart
from service.cli import model_tables
from service.cli.output import Output


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
        "words  words [2 x 3 texts]",
        "codes  codes [4 whole numbers, 0 to 255]",
        "age    age [0 to 120]",
    ]
