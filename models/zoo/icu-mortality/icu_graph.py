"""Boosted trees of scikit-learn and a detector of unlike patients as an ONNX graph."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

OPSET = 20


def trees_of(members: list[HistGradientBoostingClassifier]) -> dict[str, list[object]]:
    """The attributes of a TreeEnsembleRegressor whose sum is the members' mean, without their baselines."""
    names = ("treeids", "nodeids", "featureids", "values", "truenodeids", "falsenodeids")
    nodes: dict[str, list[object]] = {
        f"nodes_{name}": [] for name in (*names, "modes", "missing_value_tracks_true")
    }
    leaves: dict[str, list[object]] = {
        f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")
    }
    trees = [tree.nodes for member in members for (tree,) in member._predictors]
    for number, table in enumerate(trees):
        for place, node in enumerate(table):
            leaf = bool(node["is_leaf"])
            limit = 0.0 if leaf else floor32(float(node["num_threshold"]))
            row = (number, place, 0 if leaf else int(node["feature_idx"]), limit)
            for name, each in zip(
                names,
                (*row, 0 if leaf else int(node["left"]), 0 if leaf else int(node["right"])),
                strict=True,
            ):
                nodes[f"nodes_{name}"].append(each)
            nodes["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["nodes_missing_value_tracks_true"].append(int(not leaf and node["missing_go_to_left"]))
            if leaf:
                for name, each in zip(("treeids", "nodeids", "ids"), (number, place, 0), strict=True):
                    leaves[f"target_{name}"].append(each)
                leaves["target_weights"].append(float(node["value"]) / len(members))
    return nodes | leaves


def floor32(value: float) -> float:
    """The greatest float32 that is at most `value`, so that no float32 changes sides."""
    near = np.float32(value)
    return float(near if near <= value else np.nextafter(near, np.float32(-np.inf)))


def graph_of(
    members: list[HistGradientBoostingClassifier],
    slope: float,
    offset: float,
    center: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> onnx.ModelProto:
    """`summary` float32 [N,P,8] to `probability` [N,1] and `novelty` [N,1]."""
    measures = len(center)
    base = float(np.mean([np.ravel(member._baseline_prediction)[0] for member in members]))
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
