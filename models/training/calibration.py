"""Probabilities that mean what they say, and limits below which a model abstains. Fitted to rows that the model did not see."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.training.figures import operating_point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def softmax(logits: Floats) -> Floats:
    """Logits [N, C] to probabilities [N, C]."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


def temperature(logits: Floats, truth: Ints) -> float:
    """The temperature of the least cross-entropy (Guo et al. 2017), in hundredths from 0.3 to 5. Logits [N, C]."""
    steps = np.arange(30, 501) / 100
    losses = [-np.log(softmax(logits / step)[np.arange(len(truth)), truth] + 1e-12).mean() for step in steps]
    return float(steps[int(np.argmin(losses))])


def platt(logits: Floats, truth: Ints) -> tuple[float, float]:
    """Slope and offset of Platt's scaling (1999) of log odds [N] with truth 0 or 1."""
    fitted = LogisticRegression(C=1e6).fit(logits[:, None], truth)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def threshold_for(probabilities: Floats, truth: Ints, sensitivity: float) -> float:
    """The highest threshold, in hundredths, that reaches a sensitivity."""
    for hundredth in range(99, 0, -1):
        if operating_point(probabilities, truth, hundredth / 100)["sensitivity"] >= sensitivity:
            return hundredth / 100
    return 0.01


def least_probability(probabilities: Floats, truth: Ints, wanted: float = 0.6) -> float:
    """The end of the grey zone: from which probability of the most probable class answers are right often enough.

    The least hundredth around which (five hundredths on either side, ten rows or more) at least `wanted` of the answers
    are right. Probabilities [N, C].
    """
    chosen, right = probabilities.max(1), probabilities.argmax(1) == truth
    for hundredth in range(int(100 / probabilities.shape[1]) + 1, 100):
        near = np.abs(chosen - hundredth / 100) <= 0.05
        if near.sum() >= 10 and right[near].mean() >= wanted:
            return hundredth / 100
    return 0.5
