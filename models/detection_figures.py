"""How well boxes agree with those that were drawn: average precision and errors of counts. Pure; no graph is run here.

A box that was found is right if it overlaps a drawn box of its class, which no better scored one has taken, by an
intersection over union of at least 0.5 (Everingham et al., IJCV 88:303, 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LEAST_OVERLAP: Final = 0.5


class Boxes(NamedTuple):
    """The boxes of one image: edges [n,4] as left, top, right, bottom, class of each [n], and score [n] if they were found."""

    edges: Floats
    labels: Ints
    scores: Floats | None = None


class Matches(NamedTuple):
    """One image compared: class, score and whether right of each box found [n], and the class of each drawn box [m]."""

    labels: Ints
    scores: Floats
    right: Flags
    drawn: Ints


def overlaps(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes [n,4] with boxes [m,4]: [n,m]; 0 where neither has an area."""
    start = np.maximum(one[:, None, :2], other[None, :, :2])
    end = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(end - start, 0, None).prod(2)
    union = _areas(one)[:, None] + _areas(other)[None] - shared
    shares: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)
    return areas


def matched(found: Boxes, drawn: Boxes, least: float = LEAST_OVERLAP) -> Matches:
    """Compare the boxes found in one image with those drawn. The best score chooses first, the box that it overlaps most."""
    scores = np.ones(len(found.labels)) if found.scores is None else found.scores
    right, free = np.zeros(len(scores), np.bool_), np.ones(len(drawn.labels), np.bool_)
    shares = overlaps(found.edges, drawn.edges)
    for row in np.argsort(-scores, kind="stable"):
        fits = np.where(free & (drawn.labels == found.labels[row]), shares[row], 0)
        if fits.size and fits.max() >= least:
            right[row], free[fits.argmax()] = True, False
    return Matches(found.labels, scores, right, drawn.labels)


def precision_by_recall(scores: Floats, right: Flags, drawn: int) -> tuple[Floats, Floats]:
    """Recall and precision [n] as boxes of lower scores are taken in: the best precision at that recall or beyond.

    As in VOC from 2010 on. Scores and whether right [n] of all boxes of a class, of which `drawn` (not 0) were to be found.
    """
    hits = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = hits / np.arange(1, len(hits) + 1)
    return hits / drawn, np.maximum.accumulate(precision[::-1])[::-1]


def average_precision(scores: Floats, right: Flags, drawn: int) -> float:
    """Area under the curve of precision_by_recall; NaN if no box was to be found."""
    if not drawn:
        return float("nan")
    recall, precision = precision_by_recall(scores, right, drawn)
    return float(np.diff(recall, prepend=0.0) @ precision)


def precision_curves(images: Sequence[Matches], classes: int) -> dict[int, tuple[Floats, Floats]]:
    """The precision_by_recall of each class that was drawn and found in the images, by its number."""
    labels, scores, right, drawn = _joined(images)
    return {
        kind: precision_by_recall(scores[labels == kind], right[labels == kind], int((drawn == kind).sum()))
        for kind in range(classes)
        if (drawn == kind).any() and (labels == kind).any()
    }


def average_precisions(images: Sequence[Matches], classes: int) -> Floats:
    """Average precision of each class [C] over the images; its mean over the classes that occur is mAP@.5."""
    labels, scores, right, drawn = _joined(images)
    return np.array(
        [
            average_precision(scores[labels == kind], right[labels == kind], int((drawn == kind).sum()))
            for kind in range(classes)
        ]
    )


def _joined(images: Sequence[Matches]) -> tuple[Ints, Floats, Flags, Ints]:
    labels, scores, right, drawn = (np.concatenate([each[place] for each in images]) for place in range(4))
    return labels, scores, right, drawn


def counts(labels: Sequence[Ints], classes: int) -> Ints:
    """How many boxes of each class [C] each image has: [I,C]."""
    return np.stack([np.bincount(each, minlength=classes) for each in labels])


def count_errors(found: Ints, drawn: Ints) -> Floats:
    """Mean absolute error of the counts of each class [C]. Counts [I,C]."""
    errors: Floats = np.abs(found - drawn).mean(0)
    return errors
