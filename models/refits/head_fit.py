"""A step of the last layer's weights, fitted to new rows: logistic regression from where the parent stands.

The parent's logits are the start of each row (an offset), and a ridge penalty draws the step to 0, that is the weights to the
parent's: convex, with one minimum. How strongly is chosen by cross-validation, in which recalibration alone competes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.refits.calibrating import calibrated_to
from models.training.calibration import softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS: Final = 5
STRENGTHS: Final = (1.0, 10.0, 100.0, 1000.0)  # of the penalty, on features of spread 1
SEED: Final = 20261130
SURE: Final = 1e-12


@dataclass(frozen=True)
class Step:
    """What is added to the weights [D,F] and the offset [F] of the free columns, and the strength that was chosen.

    `unseen` are the probabilities [N,C] of the rows by steps that did not see them.
    """

    weights: Floats
    offset: Floats
    strength: float
    unseen: Floats


@dataclass(frozen=True)
class Fitted:
    """The rows of a fit: features [N,D], the parent's logits [N,C], truth [N], and the groups that folds do not divide."""

    features: Floats
    logits: Floats
    truth: Ints
    groups: Sequence[object]

    def part(self, rows: NDArray[np.bool_]) -> Fitted:
        """Some of the rows."""
        groups = [group for group, chosen in zip(self.groups, rows, strict=True) if chosen]
        return Fitted(self.features[rows], self.logits[rows], self.truth[rows], groups)


def folds_of(groups: Sequence[object]) -> Ints:
    """The fold [N] of each row; those of one group are in one fold."""
    names, places = np.unique(np.array([str(each) for each in groups]), return_inverse=True)
    return np.random.default_rng(SEED).permutation(len(names))[places] % FOLDS


def best_step(rows: Fitted, free: tuple[int, ...], *, offset: bool, positive: int | None) -> Step | None:
    """The step of the least cross-validated cross-entropy.

    None unless it is less than that of recalibration alone by more than a standard error (Breiman et al., CART, 1984).
    """
    folds = folds_of(rows.groups)
    recalibrated = np.zeros_like(rows.logits)
    unseen = {strength: np.zeros_like(rows.logits) for strength in STRENGTHS}
    for fold in range(FOLDS):
        seen, out = rows.part(folds != fold), rows.part(folds == fold)
        found = calibrated_to(softmax(seen.logits), seen.truth, positive)
        recalibrated[folds == fold] = found.probabilities(softmax(out.logits))
        for strength, probabilities in unseen.items():
            weights, shift = _minimum(seen, free, strength, offset=offset)
            probabilities[folds == fold] = stepped(out.logits, out.features, free, weights, shift)
    losses = {strength: _losses(each, rows.truth) for strength, each in unseen.items()}
    strength = min(losses, key=lambda each: float(losses[each].mean()))
    gains = _losses(recalibrated, rows.truth) - losses[strength]
    if gains.mean() <= gains.std() / np.sqrt(len(gains)):
        return None
    return Step(*_minimum(rows, free, strength, offset=offset), strength, unseen[strength])


def stepped(
    logits: Floats, features: Floats, free: tuple[int, ...], weights: Floats, shift: Floats
) -> Floats:
    """The probabilities [N,C] after a step."""
    moved = logits.copy()
    moved[:, free] += features @ weights + shift
    return softmax(moved)


def _minimum(rows: Fitted, free: tuple[int, ...], strength: float, *, offset: bool) -> tuple[Floats, Floats]:
    """The weights [D,F] and the offset [F] of the least penalised cross-entropy."""
    mean = rows.features.mean(0) if offset else np.zeros(rows.features.shape[1])
    spread = rows.features.std(0)
    spread[spread == 0] = np.inf  # a feature that never changes teaches nothing
    known = np.hstack([(rows.features - mean) / spread, np.full((len(rows.truth), 1), float(offset))])
    shape = (known.shape[1], len(free))
    truth = np.eye(rows.logits.shape[1])[rows.truth][:, free]

    def loss(flat: Floats) -> tuple[float, Floats]:
        step = flat.reshape(shape)
        moved = rows.logits.copy()
        moved[:, free] += known @ step
        probabilities = softmax(moved)
        penalised = step * np.r_[np.ones(shape[0] - 1), 0][:, None]
        slope = known.T @ (probabilities[:, free] - truth) + strength * penalised
        value = float(_losses(probabilities, rows.truth).sum())
        return value + strength / 2 * float((penalised**2).sum()), slope.ravel()

    step = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B").x.reshape(shape)
    weights = step[:-1] / spread[:, None]
    return weights, (step[-1] - mean @ weights) * float(offset)


def _losses(probabilities: Floats, truth: Ints) -> Floats:
    """The cross-entropy [N] of each row."""
    return -np.log(probabilities[np.arange(len(truth)), truth] + SURE)
