"""The detector of measurements that do not belong together: how it is fitted, what it costs, what it finds."""

from collections.abc import Sequence

import numpy as np
import torch
from breast_measures import measure_of, plausible_maximum
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from models.training.novelty import Mahalanobis, novelty_figures

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20261122
FOLDS = 5
FALSE_ALARMS = 0.02  # of the novelty's limit, on rows that the detector was not fitted to
SHRINKAGE = 0.01  # of its covariance: little, so that it sees a perimeter that does not belong to its radius
FOREIGN_ROWS = 600  # of each kind at most
POWERS = {"radius": 1, "perimeter": 1, "area": 2}  # of a length
FOREIGN_SET = (
    "rows drawn at random from the accepted ranges, values of different patients put together, two measurements exchanged, "
    "means exchanged with worst values, a point slipped by one digit, another scale; each kind counts the same"
)


class Novelty(nn.Module):
    """How far measurements [N,30] are from those of known rows -> [N,1]: Mahalanobis distance of their logarithms.

    In logarithms an area belongs to its radius along a straight line. A tenth of the mean is added to each: some dents are 0.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, known: Matrix) -> None:
        super().__init__()
        logs = np.log(known / known.mean(0) + 0.1)
        self.register_buffer("mean", torch.from_numpy(known.mean(0)).float())
        self.register_buffer("scale", torch.from_numpy(logs.std(0)).float())
        self.distance = Mahalanobis(logs / logs.std(0), SHRINKAGE)

    def forward(self, features: Tensor) -> Tensor:
        distance: Tensor = self.distance((features / self.mean + 0.1).log() / self.scale)
        return distance


@torch.no_grad()
def novelty_of(novelty: Novelty, rows: Matrix) -> Vector:
    """[N,30] -> [N]."""
    return novelty(torch.tensor(rows, dtype=torch.float32))[:, 0].double().numpy()


def measure_novelty(
    rows: Matrix, malignant: Ints, names: Sequence[str], shipped: Novelty
) -> dict[str, object]:
    """The limit, from rows that the detector was not fitted to, and what the shipped one finds."""
    known = np.zeros(len(rows))
    for seen, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(rows, malignant):
        known[held_out] = novelty_of(Novelty(rows[seen]), rows[held_out])
    caught = {kind: novelty_of(shipped, some) for kind, some in foreign_rows(rows, names).items()}
    figures = novelty_figures(known, np.concatenate(list(caught.values())), FALSE_ALARMS)
    limit = figures["novelty_limit"]
    rates = {kind: float((some >= limit).mean()) for kind, some in caught.items()}
    return {
        **figures,
        "false_alarm_rate_benign": float((known[malignant == 0] >= limit).mean()),
        "false_alarm_rate_malignant": float((known[malignant == 1] >= limit).mean()),
        "catch_rate": float(np.mean(list(rates.values()))),
        "catch_rates": rates,
    }


def foreign_rows(rows: Matrix, names: Sequence[str]) -> dict[str, Matrix]:
    """See FOREIGN_SET: by kind [n,30], as far as the ranges accept them."""
    chance = np.random.default_rng(SEED)
    limits = np.array([plausible_maximum(float(column.max())) for column in rows.T])
    places = np.arange(rows.shape[1])
    exchanged = []
    slipped = [rows * np.where(places == one, factor, 1) for one in places for factor in (0.1, 10)]
    for one in places:
        for other in places[:one]:
            order = places.copy()
            order[[one, other]] = other, one
            exchanged.append(rows[:, order])
    kinds = {
        "random": chance.uniform(0, limits, (FOREIGN_ROWS, len(limits))),
        "put_together": np.stack([chance.permutation(column) for column in rows.T], axis=1),
        "two_exchanged": np.concatenate(exchanged),
        "means_for_worst": rows[:, places.reshape(3, -1)[::-1].ravel()],
        "point_slipped": np.concatenate(slipped),
        "other_scale": rows * [0.05 ** POWERS.get(measure_of(name), 0) for name in names],
    }
    accepted = {kind: some[(some <= limits).all(1)] for kind, some in kinds.items()}
    return {kind: some[chance.permutation(len(some))[:FOREIGN_ROWS]] for kind, some in accepted.items()}
