"""The refit of a classifier whose weights stay as they are: its probabilities, and the limits that were set on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from models.bundle import Bundle
from models.manifest import MODEL
from models.pipelines import Pipeline, TensorSpec
from models.refits.calibrating import SCORES, Calibration, Floats, Ints, calibrate_graph, fitted
from models.refits.making import Change


def scores_of(pipeline: Pipeline) -> TensorSpec | None:
    """The output of the pipeline's graph that holds the scores of a case's classes; None if there is none."""
    graph = pipeline.graphs.get(MODEL)
    outputs = () if graph is None else graph.outputs
    return next((each for each in outputs if each.name in SCORES), None)


def recalibration(
    bundle: Bundle, scores: TensorSpec, probabilities: Floats, truth: Ints, positive: int | None
) -> Change:
    """Fit to the answers of the bundle for rows: probabilities [N, C], truth [N], the places of labels. Raises BundleRefused.

    The threshold and the grey zone of a positive label move with its probability, so that the same cases reach them; without
    one the grey zone moves so that as many of the rows lie in it.
    """
    found = fitted(probabilities, truth, positive)
    table = bundle.manifest.graph_tables[MODEL]
    model = onnx.load(str(bundle.folder / table.file), load_external_data=False)
    output = calibrate_graph(model, table.outputs.get(scores.name, scores.name), scores.name, found)
    return Change(
        said=f"probabilities recalibrated ({found}), weights unchanged",
        graphs={table.file: model},
        outputs={scores.name: output},
        parameters=_moved(bundle.manifest.parameters, found, probabilities),
    )


def _moved(
    parameters: Mapping[str, Any], found: Calibration, probabilities: Floats
) -> dict[str, dict[str, float]]:
    limits = {"threshold": ("value",), "abstain": ("lower", "upper")}
    old, new = probabilities.max(1), np.sort(found.probabilities(probabilities).max(1))

    def moved(limit: float) -> float:
        if found.positive is not None:
            return found.threshold(limit)
        below = int((old < limit).sum())
        if below == len(new):
            return limit
        least = float(np.floor(new[below] * 1e4) / 1e4)
        return least if below else min(limit, least)

    return {
        name: {key: moved(parameters[name][key]) for key in keys}
        for name, keys in limits.items()
        if name in parameters
    }
