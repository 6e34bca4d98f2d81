"""Detectors of inputs unlike the training data, as a part of the graph."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

Floats = NDArray[np.float64]

SHRINKAGE = 0.1
CUT = 4.0  # spreads from the mean, beyond which ForeignOdds cuts features off
STRENGTH = 0.01  # of ForeignOdds: the inverse of the penalty on squared weights (scikit-learn's C)
FOLDS = 5


class Mahalanobis(nn.Module):
    """How far features [N, F] are from those of known rows: Mahalanobis distance [N, 1] (Lee et al. 2018).

    The covariance is shrunk by a share, a tenth if omitted, towards a multiple of the identity (Ledoit and Wolf 2004).
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, known: Floats, shrinkage: float = SHRINKAGE) -> None:
        super().__init__()
        width = known.shape[1]
        covariance = np.cov(known.astype(np.float64).T).reshape(width, width)
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.eye(width) * covariance.trace() / width
        self.register_buffer("mean", torch.from_numpy(known.mean(0)).float())
        self.register_buffer("whitening", torch.from_numpy(np.linalg.cholesky(np.linalg.inv(shrunk))).float())

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) @ self.whitening).pow(2).sum(1, keepdim=True).sqrt()


class GreyNovelty(nn.Module):
    """How far grey pictures [n,1,H,W] in 0..1 are from known ones, all of one kind and framing -> [n,1].

    Mahalanobis distance of a picture's scores on the principal components of the known, what these leave over (Moghaddam and
    Pentland, IEEE TPAMI 19:696, 1997), and its brightness, contrast and sharpness at three scales. Exposure is taken out
    before the components are found. H and W are multiples of 4.
    """

    middle: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, known: Tensor, parts: int = 40) -> None:
        super().__init__()
        flat = without_exposure(known).flatten(1)
        self.register_buffer("middle", flat.mean(0))
        spread = torch.cov((flat - self.middle).T.double())
        self.register_buffer("components", torch.linalg.eigh(spread)[1][:, -parts:].float())
        self.register_buffer("scale", torch.ones(()))
        features = self._features(known)
        self.scale = features.std(0)
        self.distance = Mahalanobis((features / self.scale).double().numpy())

    def forward(self, pictures: Tensor) -> Tensor:
        distance: Tensor = self.distance(self._features(pictures) / self.scale)
        return distance

    def _features(self, pictures: Tensor) -> Tensor:
        """[n,1,H,W] -> [n, parts + 6]."""
        mean = pictures.mean((2, 3))
        contrast = (pictures - mean[:, :, None, None]).pow(2).mean((2, 3)).sqrt()
        even = without_exposure(pictures)
        centred = even.flatten(1) - self.middle
        scores = centred @ self.components
        left = (centred - scores @ self.components.T).pow(2).mean(1, keepdim=True)
        sharp = [_edges(even), _edges(F.avg_pool2d(even, 2)), _edges(F.avg_pool2d(even, 4))]
        return torch.cat([scores, (left + 1e-3).log(), mean, (contrast + 0.02).log(), *sharp], 1)


def without_exposure(pictures: Tensor) -> Tensor:
    """Z-scores over each picture; an even one becomes 0."""
    centred = pictures - pictures.mean((2, 3), keepdim=True)
    return centred / (centred.pow(2).mean((2, 3), keepdim=True).sqrt() + 0.02)


def _edges(grey: Tensor) -> Tensor:
    """How much neighbours differ: [n,1,H,W] -> [n,1]."""
    down = (grey[:, :, 1:] - grey[:, :, :-1]).abs().mean((2, 3))
    across = (grey[:, :, :, 1:] - grey[:, :, :, :-1]).abs().mean((2, 3))
    return (down + across + 1e-2).log()


class ForeignOdds(nn.Module):
    """The probability [N, 1] that features [N, F] are of something foreign, were it as frequent as what is known.

    A logistic regression learned from known rows and from several sets of foreign ones, each of the same weight (outlier
    exposure: Hendrycks et al. 2019, arXiv 1812.04606). Features are standardized by the known rows, and cut off.
    """

    mean: Tensor
    spread: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, known: Floats, foreign: Sequence[Floats]) -> None:
        super().__init__()
        mean, spread = known.mean(0), known.std(0) + 1e-3
        rows = np.concatenate([known, *foreign])
        share = [1.0, *(1 / len(foreign) for _ in foreign)]
        weights = [
            np.full(len(each), part / len(each)) for each, part in zip([known, *foreign], share, strict=True)
        ]
        model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(
            np.clip((rows - mean) / spread, -CUT, CUT), np.arange(len(rows)) >= len(known),
            sample_weight=np.concatenate(weights) * len(rows) / 2,
        )  # fmt: skip
        for name, value in {
            "mean": mean, "spread": spread, "weights": model.coef_.T, "offset": model.intercept_,
        }.items():  # fmt: skip
            self.register_buffer(name, torch.from_numpy(value).float())

    def forward(self, features: Tensor) -> Tensor:
        cut = ((features - self.mean) / self.spread).clamp(-CUT, CUT)
        return torch.sigmoid(cut @ self.weights + self.offset)


@torch.no_grad()
def foreign_limit(
    known: Floats, groups: NDArray[np.int64], foreign: Sequence[Floats], false_alarms: float
) -> float:
    """From which probability of ForeignOdds on a share `false_alarms` of known rows [N,F] is taken for foreign.

    By cross-validation: each row is judged by a detector that was not fitted to its group [N].
    """
    apart = np.zeros(len(known))
    for fold in range(FOLDS):
        rows = groups % FOLDS == fold
        apart[rows] = ForeignOdds(known[~rows], foreign)(torch.from_numpy(known[rows]).float())[:, 0].numpy()
    return round(float(np.quantile(apart, 1 - false_alarms)), 3)


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
