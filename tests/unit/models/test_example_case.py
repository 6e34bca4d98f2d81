"""The golden case that a manifest names as the example of an input."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from models.bundle import read_bundle, seal_bundle
from models.checking import check_bundle
from models.example_case import example_faults
from models.pipelines import Pipeline, load_pipeline
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import told, write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good, sealed bundle."""
    return write_bundle(tmp_path / "dose-effect")


def named(folder: Path, number: int) -> set[tuple[str, str]]:
    """The faults, by place and code, once the manifest names a case."""
    manifest = folder / "manifest.toml"
    text = re.sub(r"^(example_case = \d+\n)?", "", manifest.read_text())
    manifest.write_text(f"example_case = {number}\n{text}")
    return told(check_bundle(folder, CpuRun()))


def test_an_example_is_one_of_the_golden_cases(folder: Path) -> None:
    count = len(json.loads((folder / "golden.json").read_text())["cases"])
    assert named(folder, count - 1) == set()
    assert named(folder, count) == {("manifest.toml: example_case", "example_unknown")}


def test_no_example_is_one_from_which_the_model_abstains(folder: Path) -> None:
    table = json.loads((folder / "golden.json").read_text())
    table["cases"][1]["expected"] = {"abstained": True}
    (folder / "golden.json").write_text(json.dumps(table))
    seal_bundle(folder)
    assert ("manifest.toml: example_case", "example_abstained") in named(folder, 1)


@pytest.mark.parametrize(
    ("example", "faults"), [("Cough.", []), ("", ["example_unfit"]), (7, ["example_unfit"])]
)
def test_without_such_a_case_the_examples_of_fields_fit_the_schema(
    folder: Path, example: object, faults: list[str]
) -> None:
    field = {"type": "string", "minLength": 1, "examples": [example]}
    pipeline = SimpleNamespace(input_schema=lambda: {"type": "object", "properties": {"text": field}})
    bundle = read_bundle(folder)
    found = example_faults(bundle.manifest, bundle.golden, cast(Pipeline, pipeline))
    assert [(each.place, each.code) for each in found] == [
        ("manifest.toml: parameters", code) for code in faults
    ]


def test_no_example_is_one_that_a_caller_could_not_send(folder: Path) -> None:
    """As a result of another job, which a golden case has itself and a caller names."""
    bundle = read_bundle(folder)
    manifest = bundle.manifest.model_copy(update={"example_case": 0})
    pipeline = load_pipeline(manifest)
    assert example_faults(manifest, bundle.golden, pipeline) == []
    unlike = bundle.golden[0].model_copy(update={"input": {"dose": {"result": {}}}})
    [fault] = example_faults(manifest, [unlike], pipeline)
    assert (fault.place, fault.code) == ("manifest.toml: example_case", "example_unfit")
