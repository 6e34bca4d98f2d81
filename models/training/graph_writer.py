"""Writes ONNX graphs operator by operator, for models that no exporter knows: blends of linear models and trees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.training.export import OPSET

ML_OPSET = 3
IR_VERSION = 10


class GraphWriter:
    """Collects operators; each of its methods returns the name of a tensor."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: type[np.generic] = np.float32) -> str:
        """A tensor of the file."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(
        self, operator: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: Any
    ) -> str:
        """An operator of one output, called `name` if that is one of the graph's."""
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def top(self, values: str, count: str, *, largest: int) -> str:
        """The `count` largest or smallest values of each row, in that order."""
        output = f"topk_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node("TopK", [values, count], [output, f"{output}_places"], largest=largest, sorted=1)
        )
        return output

    def model(self, inputs: Mapping[str, int], outputs: Sequence[str] | Mapping[str, int]) -> onnx.ModelProto:
        """The graph: float32 inputs [rows, width] by name, and float32 outputs, of width 1 if not given."""
        widths = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs, 1)
        graph = helper.make_graph(
            self._nodes,
            "model",
            [_matrix(name, width) for name, width in inputs.items()],
            [_matrix(name, width) for name, width in widths.items()],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _matrix(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])


def add_trees(
    graph: GraphWriter,
    features: str,
    trees: Sequence[Any],
    leaves: Sequence[NDArray[np.float64]],
    base: float,
) -> str:
    """The sum of scikit-learn's trees (`tree_` of each) and `base`, [N, 1]. `leaves` are the values of each tree's nodes.

    scikit-learn compares float32 features with float64 thresholds; the next smaller float32 compares alike.
    """
    found: dict[str, list[Any]] = {
        key: [] for key in ("tree", "node", "feature", "mode", "value", "yes", "no")
    }
    ends: dict[str, list[Any]] = {key: [] for key in ("tree", "node", "weight")}
    for number, (tree, values) in enumerate(zip(trees, leaves, strict=True)):
        is_leaf = tree.children_left < 0
        found["tree"] += [number] * tree.node_count
        found["node"] += range(tree.node_count)
        found["feature"] += np.where(is_leaf, 0, tree.feature).tolist()
        found["mode"] += np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist()
        found["value"] += np.where(is_leaf, 0, _float32_below(tree.threshold)).tolist()
        found["yes"] += np.where(is_leaf, 0, tree.children_left).tolist()
        found["no"] += np.where(is_leaf, 0, tree.children_right).tolist()
        places = np.flatnonzero(is_leaf)
        ends["tree"] += [number] * len(places)
        ends["node"] += places.tolist()
        ends["weight"] += values[places].tolist()
    return graph.add(
        "TreeEnsembleRegressor", features, domain="ai.onnx.ml", n_targets=1, aggregate_function="SUM",
        post_transform="NONE", base_values=[base],
        nodes_treeids=found["tree"], nodes_nodeids=found["node"], nodes_featureids=found["feature"],
        nodes_modes=found["mode"], nodes_values=found["value"], nodes_truenodeids=found["yes"],
        nodes_falsenodeids=found["no"], nodes_missing_value_tracks_true=[0] * len(found["tree"]),
        target_treeids=ends["tree"], target_nodeids=ends["node"], target_ids=[0] * len(ends["tree"]),
        target_weights=ends["weight"],
    )  # fmt: skip


def _float32_below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is no more than each threshold."""
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf), dtype=np.float32)
    return np.where(nearest.astype(np.float64) > thresholds, below, nearest)
