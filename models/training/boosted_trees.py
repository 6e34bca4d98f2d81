"""Gradient-boosted trees of scikit-learn as an operator of an ONNX graph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = NDArray[np.float64]

_NODES = ("treeids", "nodeids", "featureids", "values", "truenodeids", "falsenodeids")
_LEAVES = ("treeids", "nodeids", "ids", "weights")


def trees_of(
    members: Sequence[HistGradientBoostingClassifier],
    *,
    columns: Sequence[int] | None = None,
    scale: float = 1.0,
) -> dict[str, list[object]]:
    """The attributes of a TreeEnsembleRegressor that gives the mean of the members' log odds, times `scale`.

    Their baselines are left out. It has a target for each class, or one of two classes. `columns` are the graph's columns that
    the members were fitted to; all if omitted.

    scikit-learn compares float32 features with float64 thresholds; the next smaller float32 compares alike.
    """
    nodes: dict[str, list[object]] = {
        f"nodes_{name}": [] for name in (*_NODES, "modes", "missing_value_tracks_true")
    }
    leaves: dict[str, list[object]] = {f"target_{name}": [] for name in _LEAVES}
    trees = [
        (target, tree.nodes)
        for member in members
        for step in member._predictors
        for target, tree in enumerate(step)
    ]
    for number, (target, table) in enumerate(trees):
        for place, node in enumerate(table):
            leaf = bool(node["is_leaf"])
            feature = int(node["feature_idx"])
            split = (feature if columns is None else columns[feature], floor32(float(node["num_threshold"])))
            row = (number, place, *((0, 0.0) if leaf else split))
            ends = (0, 0) if leaf else (int(node["left"]), int(node["right"]))
            for name, each in zip(_NODES, (*row, *ends), strict=True):
                nodes[f"nodes_{name}"].append(each)
            nodes["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["nodes_missing_value_tracks_true"].append(int(not leaf and node["missing_go_to_left"]))
            if leaf:
                weight = float(node["value"]) / len(members) * scale
                for name, each in zip(_LEAVES, (number, place, target, weight), strict=True):
                    leaves[f"target_{name}"].append(each)
    return nodes | leaves


def baseline_of(members: Sequence[HistGradientBoostingClassifier]) -> Floats:
    """The mean of the members' baselines in log odds: [C], or [1] of two classes."""
    return np.asarray(np.mean([np.ravel(member._baseline_prediction) for member in members], axis=0))


def floor32(value: float) -> float:
    """The greatest float32 that is at most `value`, so that no float32 changes sides."""
    near = np.float32(value)
    return float(near if near <= value else np.nextafter(near, np.float32(-np.inf)))
