"""Labels in another order than the classes that a graph names are refused, since every answer would be another class's."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle
from models.class_order import Classes, column_classes, order_faults, sliced_class
from models.graph import read_signature
from models.manifest import Fault, GraphTable, ModelManifest
from models.pipelines import GraphSpec, TensorSpec
from models.sandbox import CpuRun
from models.skeleton import write_skeleton
from tests.unit.models.test_foreign_graphs import FILES, FLOWER, FOREIGN, ROWS, manifest_of

PLACE = "manifest.toml: parameters.labels"
SWAPPED = 'labels = ["virginica", "versicolor", "setosa"]'
ORDER = "'setosa', 'versicolor', 'virginica', in this order"


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """A graph of scikit-learn with named classes, exported without ZipMap."""
    model = onnx.load(FILES / "sklearn-strings.onnx")
    [zipmap] = [node for node in model.graph.node if node.op_type == "ZipMap"]
    model.graph.node.remove(zipmap)
    del model.graph.output[1]
    model.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3]))
    onnx.save(model, tmp_path / "flowers.onnx")
    return tmp_path / "flowers.onnx"


def faults(model: Path, labels: str, classes: Sequence[object] | None = None, feed: str = "X") -> list[Fault]:
    """Of a bundle of this graph that is good but for its labels."""
    folder = model.parent / "bundle"
    folder.mkdir()
    table = f'inputs.features = "{feed}"\n{"" if classes is None else f"classes = {json.dumps(classes)}"}'
    (folder / "manifest.toml").write_text(manifest_of("own", table, labels))
    (folder / "model.onnx").write_bytes(model.read_bytes())
    (folder / "CARD.md").write_text("# Somebody else's model\n")
    cases = [{"input": dict(zip("abcd", row, strict=True)), "expected": {}} for row in ROWS]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return check_bundle(folder, CpuRun())


def column_of(model: Path, cut: str, column: int) -> None:
    """Let a graph of two classes give the score of one, cut from those of both."""
    changed = onnx.load(model)
    for attribute in [each for node in changed.graph.node for each in node.attribute]:
        if attribute.name == "classlabels_strings":
            attribute.strings[:] = [b"setosa", b"virginica"]
    at = numpy_helper.from_array(np.array([column]), "at")
    end, axes = (
        numpy_helper.from_array(np.array([column + 1 or 2]), "end"),
        numpy_helper.from_array(np.array([1]), "axes"),
    )
    scores, halves = "probabilities", ["cut", "rest"] if column == 0 else ["rest", "cut"]
    nodes = {
        "Gather": helper.make_node(cut, [scores, "at"], ["cut"], axis=1),
        "ArrayFeatureExtractor": helper.make_node(cut, [scores, "at"], ["cut"], domain="ai.onnx.ml"),
        "Slice": helper.make_node(cut, [scores, "at", "end", "axes"], ["cut"]),
        "Split": helper.make_node(cut, [scores], halves, axis=1, num_outputs=2),
    }
    changed.graph.initializer.extend([at, end, axes])
    changed.graph.node.extend([nodes[cut], helper.make_node("Identity", ["cut"], ["probability"])])
    del changed.graph.output[1]
    changed.graph.output.append(helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1]))
    onnx.save(changed, model)


@pytest.mark.parametrize("cut", ["Gather", "ArrayFeatureExtractor", "Slice", "Split"])
@pytest.mark.parametrize(("column", "positive"), [(0, "setosa"), (1, "virginica"), (-1, "virginica")])
def test_the_positive_label_is_that_of_the_column_that_the_graph_cuts_out(
    flowers: Path, cut: str, column: int, positive: str
) -> None:
    column_of(flowers, cut, column)
    other = {"setosa": "virginica", "virginica": "setosa"}[positive]
    graph = onnx.load(flowers).graph
    assert sliced_class(graph, "probability") == (("setosa", "virginica"), column % 2)
    spec = GraphSpec(
        (), (TensorSpec("probability", "float32", (1,), one_of=("setosa", "virginica"), positive=positive),)
    )
    table, signature = GraphTable.model_validate({}), read_signature(flowers)
    assert order_faults(graph, table, spec, signature) == []
    wrong = replace(spec, outputs=(replace(spec.outputs[0], positive=other),))
    [fault] = order_faults(graph, table, wrong, signature)
    assert (fault.place, fault.code) == ("manifest.toml: parameters.positive", "classes_differ")
    assert f"that of {positive!r}: name this label as `positive`" in fault.detail


def test_labels_in_the_order_of_the_graphs_classes_are_good(flowers: Path) -> None:
    assert faults(flowers, FLOWER) == []


def test_labels_in_another_order_than_the_graphs_classes_are_refused(flowers: Path) -> None:
    [fault] = faults(flowers, SWAPPED)
    assert (fault.place, fault.code) == (PLACE, "classes_differ")
    assert ORDER in fault.detail


def test_labels_of_other_names_need_the_graphs_names_beside_them(flowers: Path) -> None:
    [fault] = faults(flowers, 'labels = ["one", "two", "three"]')
    assert (fault.place, fault.code) == (PLACE, "classes_differ")
    assert ORDER in fault.detail
    assert "copy the graph's names to `classes` in [graph]" in fault.detail


@pytest.mark.parametrize(
    ("classes", "is_good"),
    [
        (["setosa", "versicolor", "virginica"], True),
        (["setosa", "virginica", "versicolor"], False),
        (["a", "b", "c"], False),
    ],
)
def test_classes_of_columns_are_those_of_the_graph_in_its_order(
    classes: list[str],
    is_good: bool,
    flowers: Path,
) -> None:
    found = faults(flowers, 'labels = ["one", "two", "three"]', classes)
    assert [(fault.place, fault.code) for fault in found] == (
        [] if is_good else [("manifest.toml: graph.classes", "classes_differ")]
    )


@pytest.mark.parametrize(
    ("name", "labels", "is_good"),
    [
        ("sklearn-tensor", ["class_0", "class_1"], True),
        ("sklearn-tensor", ["class_1", "class_0"], False),
        ("sklearn-double", ["class_1", "class_0"], False),
        ("sklearn-tensor", ["malignant", "benign"], True),
    ],
)
def test_numbers_are_compared_with_labels_that_are_called_by_them(
    name: str,
    labels: list[str],
    is_good: bool,
    tmp_path: Path,
) -> None:
    (tmp_path / "m.onnx").write_bytes((FILES / f"{name}.onnx").read_bytes())
    found = faults(tmp_path / "m.onnx", f"labels = {json.dumps(labels)}")
    assert [(fault.place, fault.code) for fault in found] == ([] if is_good else [(PLACE, "classes_differ")])


def test_classes_of_columns_that_the_graph_does_not_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes((FILES / "torch-legacy.onnx").read_bytes())
    found = faults(tmp_path / "m.onnx", FOREIGN["torch-legacy"][1], [0, 1], "x")
    assert [(fault.place, fault.code) for fault in found] == [
        ("manifest.toml: graph.classes", "classes_differ")
    ]


def look_up(classes: Any, scores: str = "raw", feature: str = "ArrayFeatureExtractor") -> Any:
    """As scikit-learn's converter writes a classifier in plain operators: the class of the largest of `scores`."""
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["shares"]),
        helper.make_node("ArgMax", [scores], ["place"], axis=1),
        helper.make_node("Cast", ["place"], ["cast"], to=TensorProto.INT64),
        helper.make_node(feature, ["classes", "cast"], ["label"]),
    ]
    return helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(np.array(classes), "classes")])


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (look_up(np.array(["high", "low"], object)), ("high", "low")),
        (look_up(np.array(["high", "low"], object), "shares", "Gather"), ("high", "low")),
        (look_up([2, 1]), (2, 1)),
        (look_up([0.5, 1.5]), ()),
        (look_up(np.array(["high", "low"], object), "x"), ()),
    ],
)
def test_classes_are_read_from_the_look_up_of_the_largest_score(graph: Any, expected: Classes) -> None:
    assert column_classes(graph, "shares") == expected


def test_a_circle_of_operators_is_left() -> None:
    nodes = [helper.make_node("Cast", ["b"], ["a"], to=1), helper.make_node("Cast", ["a"], ["b"], to=1)]
    assert column_classes(helper.make_graph(nodes, "g", [], []), "a") == ()


def test_a_skeleton_takes_its_labels_from_the_names_of_columns(flowers: Path) -> None:
    write_skeleton(flowers, flowers.parent / "own", "own")
    manifest = ModelManifest.parse((flowers.parent / "own" / "manifest.toml").read_text())
    assert manifest.parameters["labels"] == ["setosa", "versicolor", "virginica"]
