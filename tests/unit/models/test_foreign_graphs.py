"""ONNX files as other people's exporters write them: published unchanged, by a manifest of a few lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from models.bundle import renew_golden, seal_bundle
from models.checking import publishable
from models.fitting import Fitting
from models.golden import answer
from models.manifest import BundleRefused, GraphTable, ManifestInvalid, ModelManifest
from models.pipelines import Array, Case, GraphSpec, TensorSpec
from models.sandbox import CpuRun
from models.signature import Signature, Tensor, signature_of
from tests.unit.models.example_bundles import single_pass

FILES = Path(__file__).parent / "foreign"
MOST_LINES = 15
MASS = 'labels = ["malignant", "benign"]'
FLOWER = 'labels = ["setosa", "versicolor", "virginica"]'
LOGITS = 'output = "logits"'
MAPS = 'inputs.features = "X"\noutputs.probabilities = "output_probability"'

# File -> its [graph] table, its own parameters.
FOREIGN = {
    "sklearn-zipmap": ('inputs.features = "float_input"\noutputs.probabilities = "output_probability"', MASS),
    "sklearn-tensor": ('inputs.features = "X"', MASS),
    "sklearn-double": ('inputs.features = "X"', MASS),
    "sklearn-strings": ('inputs.features = "X"\noutputs.probabilities = "output_probability"', FLOWER),
    "sklearn-signed": (f"{MAPS}\nclasses = [-1, 1]", 'labels = ["benign", "malignant"]'),
    "sklearn-gaps": (f"{MAPS}\nclasses = [1, 2, 4]", FLOWER),
    "sklearn-digits": (f'{MAPS}\nclasses = ["0", "1", "2"]', FLOWER),
    "lightgbm": ('inputs.features = "input"', MASS),
    "xgboost": ('inputs.features = "input"', MASS),
    "torch-legacy": ('inputs.features = "x"', f"{MASS}\n{LOGITS}"),
    "torch-dynamo": ('inputs.features = "x"', f"{MASS}\n{LOGITS}"),
    "torch-fixed": ('inputs.features = "onnx::Gemm_0"\noutputs.logits = "7"', f"{MASS}\n{LOGITS}"),
    "torch-int8": ('inputs.features = "x"\nrow_by_row = true', f"{MASS}\n{LOGITS}"),
    "contrib": ('inputs.features = "x"', f"{MASS}\n{LOGITS}"),
}
ROWS: list[list[float]] = [
    [6.0, 2.5, 4.5, 1.5],
    [5.1, 3.5, 1.4, 0.2],
    [17.0, 10.0, 122.0, 1001.0],
    [12.0, 15.0, 80.0, 450.0],
    [0, 0, 0, 0],
]


def manifest_of(name: str, graph: str, parameters: str) -> str:
    return f"""\
name = "{name}"
version = "1.0.0"
kind = "diagnosis"
pipeline = "tabular-classification"
title = "Somebody else's model"
summary = "Published as it came."
license = "CC0-1.0"
[graph]
{graph}
[parameters]
{parameters}
features = ["a", "b", "c", "d"]
"""


def write(folder: Path, name: str, graph: str, parameters: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.toml").write_text(manifest_of(name, graph, parameters))
    (folder / "model.onnx").write_bytes((FILES / f"{name}.onnx").read_bytes())
    (folder / "CARD.md").write_text("# Somebody else's model\n")
    cases = [
        {"input": dict(zip("abcd", row, strict=True)), "expected": {}, "tolerance": 1e-4} for row in ROWS
    ]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_graph_is_published_unchanged(name: str, tmp_path: Path) -> None:
    assert len(manifest_of(name, *FOREIGN[name]).splitlines()) <= MOST_LINES
    bundle = publishable(write(tmp_path, name, *FOREIGN[name]), CpuRun())
    assert bundle.model_path.read_bytes() == (FILES / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_graph_gives_the_probabilities_of_a_bare_run(name: str, tmp_path: Path) -> None:
    manifest = publishable(write(tmp_path, name, *FOREIGN[name]), CpuRun()).manifest
    pipeline = single_pass(manifest)
    session = ort.InferenceSession(FILES / f"{name}.onnx", providers=["CPUExecutionProvider"])
    fitting = Fitting(manifest.graph_tables["model"], pipeline.graphs["model"], signature_of(session))

    def run(fed: Mapping[str, Array]) -> dict[str, Any]:
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(fed)), strict=True))

    cases = [Case(pipeline.encode(dict(zip("abcd", row, strict=True)))) for row in ROWS]
    answers = answer(cases, pipeline.open(tmp_path), lambda feeds, graph="model": fitting.run(run, feeds))
    for row, found in zip(ROWS, answers, strict=True):
        expected = bare(session, row, logits=LOGITS in FOREIGN[name][1])
        probabilities = found["probabilities"]
        assert isinstance(probabilities, dict)
        assert list(probabilities.values()) == pytest.approx(expected, abs=1e-6)


def bare(session: ort.InferenceSession, row: list[float], *, logits: bool) -> list[float]:
    """The scores that a session gives of one row, as probabilities."""
    given = session.get_inputs()[0]
    kind = np.float64 if "double" in given.type else np.float32
    scores = session.run(None, {given.name: np.array([row], kind)})[-1][0]
    values = np.array(list(scores.values()) if isinstance(scores, dict) else scores, np.float64)
    return list(np.exp(values) / np.exp(values).sum() if logits else values)


def test_a_graph_whose_rows_sway_each_other_is_refused_unless_it_is_run_row_by_row(tmp_path: Path) -> None:
    write(tmp_path, "torch-int8", 'inputs.features = "x"', FOREIGN["torch-int8"][1])
    with pytest.raises(BundleRefused) as caught:
        publishable(tmp_path, CpuRun())
    assert "golden_batched" in {fault.code for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("graph", "place", "code"),
    [
        ('inputs.features = "nothing"', "graph.inputs", "input_differs"),
        ('inputs.features = "X"\noutputs.probabilities = "nothing"', "graph.outputs", "output_differs"),
        ('inputs.features = "X"\noutputs.probabilities = "label"', "graph.outputs", "output_differs"),
        ('inputs.other = "X"', "graph.inputs", "graph_name_unknown"),
        ('inputs.features = "X"\noutputs.other = "label"', "graph.outputs", "graph_name_unknown"),
        ('inputs.features = ["X", "Y"]', "graph.inputs", "input_differs"),
        ('inputs.features = "X"\nclasses = [1, 0]', "graph.classes", "classes_differ"),
        ('inputs.features = "X"\nclasses = [0, 1, 2]', "graph.classes", "classes_differ"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key(graph: str, place: str, code: str, tmp_path: Path) -> None:
    write(tmp_path, "sklearn-tensor", *FOREIGN["sklearn-tensor"])
    (tmp_path / "manifest.toml").write_text(manifest_of("sklearn-tensor", graph, MASS))
    seal_bundle(tmp_path)
    with pytest.raises(BundleRefused) as caught:
        publishable(tmp_path, CpuRun())
    assert (f"manifest.toml: {place}", code) in {(fault.place, fault.code) for fault in caught.value.faults}


@pytest.mark.parametrize("classes", ["[0, 0]", "[0.5, 1]", "[true, 1]", '"ab"', '{ a = "b" }'])
def test_classes_that_are_no_list_of_different_names_are_refused(classes: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        ModelManifest.parse(manifest_of("sklearn-signed", f"{MAPS}\nclasses = {classes}", MASS))
    assert [fault.place for fault in caught.value.faults] == ["manifest.toml: graph.classes"]


def test_a_manifest_without_classes_is_stored_as_a_release_that_has_no_such_key_reads_it() -> None:
    assert "classes" not in GraphTable.model_validate({}).model_dump(mode="json")


def test_classes_that_the_manifest_does_not_know_are_refused(tmp_path: Path) -> None:
    labels = 'labels = ["setosa", "versicolor", "other"]'
    with pytest.raises(
        BundleRefused,
        match="classes are 'setosa', 'versicolor', 'virginica': write them as the ids of `labels`",
    ):
        write(tmp_path, "sklearn-strings", FOREIGN["sklearn-strings"][0], labels)


@pytest.mark.parametrize(
    ("wanted", "given", "is_read"),
    [
        ("float32", "float64", True),
        ("float32", "float16", True),
        ("float32", "int64", False),
        ("float64", "int32", False),
        ("int64", "int32", True),
        ("int32", "int64", False),
        ("int64", "float32", False),
        ("bool", "float32", False),
        ("bool", "bool", True),
    ],
)
def test_an_output_is_read_as_its_own_kind_of_number(wanted: str, given: str, is_read: bool) -> None:
    """A label is no score, a fraction is never cut."""
    spec = GraphSpec((), (TensorSpec("scores", wanted, (1,)),))
    table = GraphTable.model_validate({})
    signature = Signature((), (Tensor("scores", given, (None,)),))
    if is_read:
        Fitting(table, spec, signature)
        return
    with pytest.raises(ManifestInvalid, match=f"'scores' has another element type, {given}"):
        Fitting(table, spec, signature)
