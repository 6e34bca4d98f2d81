"""A detector of inputs unlike the training data, as a part of the graph."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]

SHRINKAGE = 0.1


class Mahalanobis(nn.Module):
    """How far features [N, F] are from those of known rows: Mahalanobis distance [N, 1] (Lee et al. 2018).

    The covariance is shrunk by a tenth towards a multiple of the identity (Ledoit and Wolf 2004).
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, known: Floats) -> None:
        super().__init__()
        width = known.shape[1]
        covariance = np.cov(known.astype(np.float64).T).reshape(width, width)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(width) * covariance.trace() / width
        self.register_buffer("mean", torch.from_numpy(known.mean(0)).float())
        self.register_buffer("whitening", torch.from_numpy(np.linalg.cholesky(np.linalg.inv(shrunk))).float())

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) @ self.whitening).pow(2).sum(1, keepdim=True).sqrt()


def novelty_figures(known: Floats, foreign: Floats, false_alarms: float = 0.01) -> dict[str, float]:
    """Limit, false-alarm rate and catch rate of a detector.

    `known` [N] is the novelty of rows of the intended kind that the detector was not fitted to, `foreign` [M] that of
    rows that it should find; `false_alarms` is the share of `known` that it may take for foreign.
    """
    limit = round(float(np.quantile(known, 1 - false_alarms)), 3)
    return {
        "novelty_limit": limit,
        "false_alarm_rate": float((known >= limit).mean()),
        "catch_rate": float((foreign >= limit).mean()),
    }
