"""Figures of label maps beside those drawn by people, by kind of image and with intervals; and a baseline without learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.mask_agreement import dice, matches
from models.pipelines.instances import components, without_small
from models.training.figures import interval

Labels = NDArray[Any]


def mask_figures(
    found: Sequence[Labels],
    truth: Sequence[Labels],
    kinds: Sequence[str],
    groups: NDArray[np.int64],
    *,
    seed: int,
) -> dict[str, object]:
    """Dice and average precision at an overlap of one half: means over images, of all and by kind, with intervals over groups.

    Also recall and positive predictive value of all instances together, and by how much the number of instances of an image is
    wrong, the median as a share of the right one.
    """
    pairs = list(zip(found, truth, strict=True))
    same = [matches(ours, theirs) for ours, theirs in pairs]
    figures = {
        "dice": np.array([dice(ours, theirs) for ours, theirs in pairs]),
        "ap50": np.array([each.precision for each in same]),
    }
    hits, false, missed = (sum(part) for part in zip(*same, strict=True))
    wrong = [abs(each.false - each.missed) / max(1, each.found + each.missed) for each in same]
    table: dict[str, object] = {
        "recall": hits / max(1, hits + missed),
        "ppv": hits / max(1, hits + false),
        "count_error": float(np.median(wrong)),
    }
    for kind in ("", *dict.fromkeys(kinds)):
        rows = np.array([place for place, each in enumerate(kinds) if kind in {"", each}])
        for name, values in figures.items():
            key, some = f"{name}_{kind}".rstrip("_"), values[rows]
            table[key] = some.mean()
            table[f"{key}_95"] = interval(_mean_of(some), groups[rows].tolist(), seed=seed)
    return table


def _mean_of(values: NDArray[np.float64]) -> Any:
    return lambda drawn: float(values[drawn].mean())


def otsu(grey: NDArray[np.uint8], min_area: int) -> NDArray[np.int32]:
    """A baseline: components above the threshold that parts an image best (Otsu 1979), of at least `min_area` pixels."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (sums[-1] * below - sums * below[-1]) ** 2 / (below * (below[-1] - below))
    found, count = components(grey > np.nanargmax(between))
    return np.asarray(without_small(found, count, min_area)[0], np.int32)
