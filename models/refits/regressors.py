"""The refit of a regression of a table: a step of its last linear layer, and the half width of its interval.

The step is a ridge regression of what the parent is off on the inputs of the layer, so that a penalty draws the weights to the
parent's; its strength is chosen by cross-validation, in which no step competes. The half width is that of split conformal
prediction (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005) on errors of steps that did not see the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import onnx

from models.bundle import Bundle, BundleRefused, Fault
from models.manifest import MANIFEST_NAME, MODEL
from models.pipelines import Array
from models.refits.head_fit import FOLDS, STRENGTHS, Floats, Ints, folds_of
from models.refits.linear_head import VALUE, features_of, head_of, output_of
from models.refits.making import Change

METHOD: Final = "split conformal prediction on errors of 5-fold cross-validation"
ROUNDING: Final = 1e-4  # of the value, as a share of the spread of values: float32


@dataclass(frozen=True)
class Measured:
    """Rows that a parent answered: what its graph was fed, its values [N], the true ones [N], groups."""

    feeds: Sequence[Mapping[str, Array]]
    values: Floats
    truth: Floats
    groups: Sequence[object]


@dataclass(frozen=True)
class _Step:
    weights: Floats
    shift: float
    strength: float


def refit_regression(bundle: Bundle, rows: Measured) -> Change:
    """What is fitted to the rows, and says why no more. Raises BundleRefused where nothing can be."""
    interval = bundle.manifest.parameters.get("interval")
    if interval is not None and interval.get("half_width") is None:
        reason = "the graph computes the limits of the interval, which would not move with its values: train the model again"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: parameters.interval", "refit_unsuited", reason))
    table = bundle.manifest.graph_tables[MODEL]
    output = table.outputs.get(VALUE, VALUE)
    model = onnx.load(str(bundle.folder / table.file), load_external_data=False)
    errors = rows.truth - rows.values
    head = head_of(model, output, VALUE, None)
    said, graphs = "the graph does not end in one linear layer, whose weights could move", {}
    if head is not None:
        features = features_of(model, head, rows.feeds)
        step, unseen = _best(features, errors, folds_of(rows.groups), offset=head.has_offset)
        said = "a step of the last layer was no better in cross-validation"
        if step is not None:
            head.move(model, step.weights[:, None], np.array([step.shift]))
            wanted = rows.values + features @ step.weights + step.shift
            _check_moved(output_of(model, output, rows.feeds).ravel(), wanted)
            errors, graphs = unseen, {table.file: model}
            said = (
                "last linear layer moved by a ridge regression that starts at the parent's weights (strength "
                f"{step.strength:g}, chosen by 5-fold cross-validation)"
            )
    if interval is None and not graphs:
        raise BundleRefused(Fault("data", "refit_gains_nothing", f"{said}: keep the parent"))
    return Change(f"{said}{_told(interval)}", graphs=graphs, parameters=_interval(interval, errors))


def _told(interval: Mapping[str, Any] | None) -> str:
    return "" if interval is None else "; half width of the interval calibrated again"


def _interval(interval: Mapping[str, Any] | None, errors: Floats) -> dict[str, dict[str, object]]:
    """The half width that held the coverage of the errors [N] and one more. Raises BundleRefused for too few rows."""
    if interval is None:
        return {}
    rank = ceil((len(errors) + 1) * interval["coverage"])
    if rank > len(errors):
        reason = (
            f"a coverage of {interval['coverage']:g} needs more rows to fit than {len(errors)}: give more"
        )
        raise BundleRefused(Fault("data", "refit_too_few", reason))
    return {"interval": {"half_width": float(f"{np.sort(np.abs(errors))[rank - 1]:.6g}"), "method": METHOD}}


def _best(features: Floats, errors: Floats, folds: Ints, *, offset: bool) -> tuple[_Step | None, Floats]:
    """The step that leaves the least squared errors, and the errors [N] of the rows that it did not see.

    No step unless it is better by more than a standard error.
    """
    unseen = {strength: np.zeros(len(errors)) for strength in STRENGTHS}
    for fold in range(FOLDS):
        seen, out = folds != fold, folds == fold
        for strength, left in unseen.items():
            step = _ridge(features[seen], errors[seen], strength, offset=offset)
            left[out] = errors[out] - (features[out] @ step.weights + step.shift)
    strength = min(unseen, key=lambda each: float((unseen[each] ** 2).mean()))
    gains = errors**2 - unseen[strength] ** 2
    if gains.mean() <= gains.std() / np.sqrt(len(gains)):
        return None, errors
    return _ridge(features, errors, strength, offset=offset), unseen[strength]


def _ridge(features: Floats, errors: Floats, strength: float, *, offset: bool) -> _Step:
    mean = features.mean(0) if offset else np.zeros(features.shape[1])
    shift = float(errors.mean()) if offset else 0.0
    spread = features.std(0)
    spread[spread == 0] = np.inf  # a feature that never changes teaches nothing
    known = (features - mean) / spread
    penalised = known.T @ known + strength * np.eye(known.shape[1])
    weights = np.linalg.solve(penalised, known.T @ (errors - shift)) / spread
    return _Step(weights, float(shift - mean @ weights), strength)


def _check_moved(given: Floats, wanted: Floats) -> None:
    """Raises BundleRefused where the moved graph does not give what was fitted."""
    if np.abs(given - wanted).max() > ROUNDING * max(1.0, float(np.abs(wanted).max())):
        reason = "the graph does not answer as its moved last linear layer should: train the model again"
        raise BundleRefused(Fault(MANIFEST_NAME, "refit_unsuited", reason))
