"""A regression is served by `tabular-regression`, of several numbers by `tensor`: its number is no probability."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from models.manifest import FILL_IN, ModelManifest
from models.skeleton import write_skeleton

LINEAR: dict[str, Any] = {"coefficients": [1.0, 2.0], "intercepts": [0.5]}


def skeleton_of(
    folder: Path, nodes: list[Any], output: str, numbers: int = 1
) -> tuple[ModelManifest, list[str]]:
    """The manifest that is started, and what is left to do."""
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 2])
    answered = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", numbers])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [answered]), opset_imports=opsets, ir_version=10
    )
    onnx.save(model, folder / "m.onnx")
    left = write_skeleton(folder / "m.onnx", folder / "own", "own").left
    return ModelManifest.parse((folder / "own" / "manifest.toml").read_text()), [what for _, what in left]


def node(operator: str, *names: str, **attributes: Any) -> Any:
    domain = "ai.onnx.ml" if operator.endswith("Regressor") else ""
    return helper.make_node(operator, [names[0]], [names[1]], domain=domain, **attributes)


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ([node("LinearRegressor", "X", "score", **LINEAR)], "score"),
        ([node("LinearRegressor", "X", "score", post_transform="NONE", **LINEAR)], "score"),
        ([node("LinearRegressor", "X", "y", **LINEAR), node("Identity", "y", "score")], "score"),
        ([node("ReduceSum", "X", "variable")], "variable"),
    ],
)
def test_a_regression_of_a_table_is_one(nodes: list[Any], output: str, tmp_path: Path) -> None:
    manifest, left = skeleton_of(tmp_path, nodes, output)
    assert manifest.pipeline == "tabular-regression"
    assert manifest.graph_tables["model"].outputs == {"value": output}
    assert manifest.parameters["title"] == FILL_IN
    assert any("no scores of classes" in what for what in left)


def test_a_regression_of_several_numbers_is_one_of_tensors(tmp_path: Path) -> None:
    manifest, left = skeleton_of(tmp_path, [node("Identity", "X", "variable")], "variable", numbers=2)
    assert manifest.pipeline == "tensor"
    assert manifest.parameters["outputs"] == [{"name": "variable", "dtype": "float32", "shape": [2]}]
    assert any("as a regression does" in what for what in left)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("LinearRegressor", "X", "y", **LINEAR), node("Sigmoid", "y", "score")],
        [node("LinearRegressor", "X", "score", post_transform="LOGISTIC", **LINEAR)],
        [node("ReduceSum", "X", "score")],
    ],
)
def test_a_regressor_whose_numbers_become_scores_is_a_classifier(nodes: list[Any], tmp_path: Path) -> None:
    manifest, left = skeleton_of(tmp_path, nodes, "score")
    assert manifest.pipeline == "tabular-classification"
    assert not any("regression" in what for what in left)
