"""Boosted trees of scikit-learn and a detector of unlike patients as an ONNX graph."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

from models.training.boosted_trees import baseline_of, trees_of

OPSET = 20


def graph_of(
    members: list[HistGradientBoostingClassifier],
    slope: float,
    offset: float,
    center: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> onnx.ModelProto:
    """`summary` float32 [N,P,8] to `probability` [N,1] and `novelty` [N,1]."""
    measures = len(center)
    [base] = baseline_of(members).tolist()
    constants = {
        "flat": np.array([-1, measures * 8], np.int64), "slope": np.float32(slope), "offset": np.float32(offset + slope * base),
        "mean": np.array(4, np.int64), "center": center.astype(np.float32)[None], "spread": spread.astype(np.float32)[None],
        "along": np.array([1], np.int64), "one": np.float32(1),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Reshape", ["summary", "flat"], ["rows"]),
        node(
            "TreeEnsembleRegressor", ["rows"], ["sum"], domain="ai.onnx.ml", n_targets=1, **trees_of(members)
        ),
        node("Add", ["scaled", "offset"], ["odds"]),
        node("Sigmoid", ["odds"], ["probability"]),
        node("Gather", ["summary", "mean"], ["means"], axis=2),
        node("IsNaN", ["means"], ["absent"]),
        node("Where", ["absent", "center", "means"], ["known"]),
        node("Sub", ["known", "center"], ["apart"]),
        node("Div", ["apart", "spread"], ["deviations"]),
        node("ReduceSumSquare", ["deviations", "along"], ["total"], keepdims=1),
        node("Not", ["absent"], ["present"]),
        node("Cast", ["present"], ["ones"], to=TensorProto.FLOAT),
        node("ReduceSum", ["ones", "along"], ["counted"], keepdims=1),
        node("Max", ["counted", "one"], ["number"]),
        node("Div", ["total", "number"], ["share"]),
        node("Sqrt", ["share"], ["novelty"]),
    ]
    nodes.insert(2, node("Mul", ["sum", "slope"], ["scaled"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("summary", ["n", measures, 8]), ("probability", ["n", 1]), ("novelty", ["n", 1]))
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "icu", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
