"""Figures of a model on data that it was not fitted to, with intervals."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata
from sklearn.metrics import confusion_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1000


def interval(figure: Callable[[Ints], float], groups: Sequence[object] | int, *, seed: int) -> list[float]:
    """95 % interval of a figure by the percentile bootstrap (Efron 1979), resampling whole groups.

    `figure` takes the places of the rows drawn, int64 [n]. `groups` names the group of each row (a patient, a gene, a
    photograph), or is the number of rows where each stands for itself. A draw for which the figure is undefined (one
    class alone, say: ValueError or NaN) is left out.
    """
    drawn = []
    for rows in resamples(groups, seed=seed):
        try:
            drawn.append(figure(rows))
        except ValueError:
            continue
    return middle_95(drawn)


def resamples(groups: Sequence[object] | int, *, seed: int) -> Iterator[Ints]:
    """The rows of each resample of whole groups, int64 [n]; see interval."""
    chance = np.random.default_rng(seed)
    members = [] if isinstance(groups, int) else _members(groups)
    count = groups if isinstance(groups, int) else len(members)
    for _ in range(RESAMPLES):
        chosen = chance.integers(0, count, count)
        yield np.concatenate([members[each] for each in chosen]) if members else chosen


def middle_95(drawn: Sequence[float] | Floats) -> list[float]:
    """The limits of the middle 95 % of the figures drawn; those that are NaN do not count."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return [float(low), float(high)]


def _members(groups: Sequence[object]) -> list[Ints]:
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])


def share_95(found: NDArray[np.bool_]) -> list[float]:
    """95 % interval of the share of rows [n] that are true (Wilson, J Am Stat Assoc 22:209, 1927).

    Resamples of rows that are all true, or all false, would leave it no width.
    """
    limits = binomtest(int(found.sum()), len(found)).proportion_ci(method="wilson")
    return [float(limits.low), float(limits.high)]


def area(scores: Floats, truth: NDArray[np.bool_] | Ints) -> float:
    """Area under the ROC curve by the ranks of the positives (Hanley and McNeil 1982), quick enough to resample.

    Scores [N], truth [N], of which 1 is positive. Raises ValueError if one class is missing.
    """
    positive = np.asarray(truth) == 1
    count = int(positive.sum())
    if not 0 < count < len(positive):
        raise ValueError("an area needs both classes")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def auc_with_interval(
    scores: Floats, truth: Ints, groups: Sequence[object] | int, *, seed: int
) -> list[float]:
    """Area under the ROC curve and its 95 % interval: [area, low, high]. Scores [N], truth 0 or 1 [N]."""
    drawn = interval(lambda rows: area(scores[rows], truth[rows]), groups, seed=seed)
    return [area(scores, truth), *drawn]


def calibration_error(probabilities: Floats, truth: Ints, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017).

    Probabilities [N] of the positive class with truth 0 or 1; or [N, C], of which the most probable class counts.
    """
    if probabilities.ndim == 2:
        right = probabilities.argmax(1) == truth
        probabilities = probabilities.max(1)
    else:
        right = truth == 1
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [
        abs(right[places == place].sum() - probabilities[places == place].sum())
        for place in np.unique(places)
    ]
    return float(sum(gaps) / len(probabilities))


def brier(probabilities: Floats, truth: Ints) -> float:
    """Brier score (1950): of the positive class for [N]; summed over the classes for [N, C]."""
    if probabilities.ndim == 1:
        return float(((probabilities - truth) ** 2).mean())
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(1).mean())


def operating_point(probabilities: Floats, truth: Ints, threshold: float) -> dict[str, float]:
    """What answering the positive class from `threshold` on costs: sensitivity, specificity, predictive values; prevalence."""
    called, positive = probabilities >= threshold, truth == 1
    return {
        "sensitivity": share(called[positive]),
        "specificity": share(~called[~positive]),
        "ppv": share(positive[called]),
        "npv": share(~positive[~called]),
        "prevalence": share(positive),
    }


def share(rows: NDArray[np.bool_]) -> float:
    """The share of rows that are true; NaN of none."""
    return float(rows.mean()) if len(rows) else float("nan")


def by_class(answered: Ints, truth: Ints, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Sensitivity and positive predictive value of each class, by its name: {"sensitivity": {...}, "ppv": {...}}."""
    table = confusion_matrix(truth, answered, labels=range(len(names))).astype(float)
    with np.errstate(invalid="ignore"):
        found, right = table.diagonal() / table.sum(1), table.diagonal() / table.sum(0)
    return {
        "sensitivity": dict(zip(names, found.tolist(), strict=True)),
        "ppv": dict(zip(names, right.tolist(), strict=True)),
    }
