"""The refit of a classifier: of a table by a step of its last layer where that helps, else by recalibration alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx

from models.bundle import Bundle
from models.manifest import MODEL
from models.pipelines import Array, TensorSpec
from models.refits.calibrating import SUREST, Floats, Ints, fitted
from models.refits.head_fit import Fitted, Step, best_step, stepped
from models.refits.linear_head import features_of, head_of, output_of
from models.refits.making import Change
from models.refits.recalibration import recalibration
from models.training.calibration import softmax, threshold_for
from models.training.figures import operating_point

TABLES: Final = "tabular-classification"
ROUNDING: Final = 1e-3  # of a probability: float32, and those that were clipped


@dataclass(frozen=True)
class Answered:
    """Rows that a parent answered: what the graph of a table was fed, probabilities [N,C], truth [N], groups.

    `positive` is the place of the positive label.
    """

    feeds: Sequence[Mapping[str, Array]]
    probabilities: Floats
    truth: Ints
    groups: Sequence[object]
    positive: int | None


def refit_classifier(bundle: Bundle, scores: TensorSpec, rows: Answered) -> Change:
    """What is fitted to the rows, and says why no more. Raises BundleRefused."""
    fitted(rows.probabilities, rows.truth, rows.positive)  # refuses exchanged labels
    recalibrated = recalibration(bundle, scores, rows.probabilities, rows.truth, rows.positive)
    if bundle.manifest.pipeline != TABLES:
        return recalibrated
    moved = _moved(bundle, scores, rows)
    return replace(recalibrated, said=f"{recalibrated.said}: {moved}") if isinstance(moved, str) else moved


def _moved(bundle: Bundle, scores: TensorSpec, rows: Answered) -> Change | str:
    """A step of the last layer, or why there is none."""
    table = bundle.manifest.graph_tables[MODEL]
    output = table.outputs.get(scores.name, scores.name)
    model = onnx.load(str(bundle.folder / table.file), load_external_data=False)
    head = head_of(model, output, scores.name, rows.positive)
    if head is None:
        return "the graph does not end in one linear layer"
    logits = np.log(np.clip(rows.probabilities, SUREST, 1 - SUREST))
    features = features_of(model, head, rows.feeds)
    if features.shape[:1] != rows.truth.shape or features.ndim != 2:
        return "the last linear layer is not of a form that is known"
    known = Fitted(features, logits, rows.truth, rows.groups)
    step = best_step(known, head.free, offset=head.has_offset, positive=rows.positive)
    if step is None:
        return "a step of the last layer was no better in cross-validation"
    head.move(model, step.weights, step.offset)
    wanted = stepped(logits, known.features, head.free, step.weights, step.offset)
    given = _probabilities(output_of(model, output, rows.feeds), scores.name, rows.positive)
    if np.abs(given - wanted).max() > ROUNDING:
        return "the last linear layer is not of a form that is known"
    return Change(
        said=(
            f"last linear layer moved by a ridge regression that starts at the parent's weights (strength {step.strength:g}, "
            "chosen by 5-fold cross-validation, where it was better than recalibration)"
        ),
        graphs={table.file: model},
        parameters=_limits(bundle.manifest.parameters, step, rows) if rows.positive is not None else {},
    )


def _probabilities(given: Floats, form: str, positive: int | None) -> Floats:
    """The scores of a graph in one of the forms, as probabilities [N,C]."""
    if form == "logits":
        return softmax(given)
    if form == "logit":
        given = 1 / (1 + np.exp(-given))
    if form == "probabilities":
        return given
    given = given.reshape(-1, 1)
    return np.hstack([1 - given, given] if positive == 1 else [given, 1 - given])


def _limits(parameters: Mapping[str, Any], step: Step, rows: Answered) -> dict[str, dict[str, float]]:
    """The threshold that keeps the parent's sensitivity, on rows that the step did not see; the grey zone moves with it."""
    assert rows.positive is not None
    truth, old = (rows.truth == rows.positive).astype(np.int64), parameters["threshold"]["value"]
    kept = operating_point(rows.probabilities[:, rows.positive], truth, old)["sensitivity"]
    new = threshold_for(step.unseen[:, rows.positive], truth, kept)
    found = {"threshold": {"value": new}}
    if "abstain" in parameters:
        zone = parameters["abstain"]
        found["abstain"] = {
            key: round(min(max(zone[key] + new - old, 0.0), 1.0), 6) for key in ("lower", "upper")
        }
    return found
