"""How well the masks of a segmentation agree with those drawn by people: of pixels, and of instances."""

from __future__ import annotations

from typing import NamedTuple

from models.lazy import np
from models.pipelines.contract import Array


class Matches(NamedTuple):
    """Instances that were found, found where there is none, and missed."""

    found: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """found / (found + false + missed), by Caicedo et al. 2019 the average precision at one overlap; 1 of none."""
        return self.found / sum(self) if sum(self) else 1.0


def dice(found: Array, truth: Array) -> float:
    """Twice the shared pixels over those of both masks, bool [H,W] or label maps (Dice 1945); 1 where both are empty."""
    one, other = found > 0, truth > 0
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def matches(found: Array, truth: Array, overlap: float = 0.5) -> Matches:
    """How many instances of two label maps of whole numbers [H,W], 0 for none, are the same.

    Two are the same if the pixels that they share are more than `overlap` of all their pixels (intersection over union;
    Caicedo et al., Nat Methods 16:1247, 2019). From 0.5 on no instance can match two.
    """
    if found.shape != truth.shape:
        raise ValueError("the label maps differ in size")
    if not 0.5 <= overlap < 1:
        raise ValueError("overlap must be from 0.5 to below 1")
    ours, our_places, our_areas = np.unique(found, return_inverse=True, return_counts=True)
    theirs, their_places, their_areas = np.unique(truth, return_inverse=True, return_counts=True)
    pairs, shared = np.unique(
        our_places.ravel().astype(np.int64) * len(theirs) + their_places.ravel(), return_counts=True
    )
    one, other = np.divmod(pairs, len(theirs))
    of_instances = (ours[one] > 0) & (theirs[other] > 0)
    union = our_areas[one] + their_areas[other] - shared
    same = int((of_instances & (shared > overlap * union)).sum())
    return Matches(same, int((ours > 0).sum()) - same, int((theirs > 0).sum()) - same)
