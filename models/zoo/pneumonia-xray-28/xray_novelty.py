"""The detector of pictures that are no such X-rays: how it is fitted, what it costs, what it finds."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.pipelines.image_fitting import Fitting
from models.training.chest_xrays import SIDE, Split
from models.training.cross_fitting import held_out, without_each
from models.training.foreign_pictures import foreign_pictures, turned
from models.training.grey_changes import Ranges, augment
from models.training.novelty import GreyNovelty

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20
FALSE_ALARMS = 0.03  # of the limit, on images that the detector was not fitted to
FAMILIAR = Ranges(  # what it is to accept
    even=False, zoom=0.2, stretch=0.1, rotate_deg=10, shift=0.08, gamma=0.3, shading=0.2, contrast=0.35,
    brightness=0.15, blur=0.7, noise=0.02, erase=0.0,
)  # fmt: skip
FOREIGN_SET = (
    "blood cells, blood smears, nuclei, photographs, CT and MR images, printed text, noise, gradients, even greys; "
    "X-rays upside down, on their side, as negatives; each kind counts the same"
)


def detector_of(split: Split, _: int = 0) -> GreyNovelty:
    """It knows the images as they are, and each changed twice."""
    torch.manual_seed(SEED)
    return GreyNovelty(torch.cat([split.images, *(augment(split.images, FAMILIAR) for _ in range(2))]))


@torch.no_grad()
def novelty_of(detector: nn.Module, images: Tensor) -> Floats:
    """[n]."""
    return torch.cat([detector(some)[:, 0] for some in torch.split(images, 256)]).double().numpy()


def novelty_report(
    data: Path, train: Split, val: Split, detector: GreyNovelty, *, usual: Ints, kinds: Ints, bad: Tensor
) -> dict[str, object]:
    """The limit, from images of train that the detector did not know; false alarms and catches of the shipped one.

    `usual` and `kinds` are folds of train by chance and by look, `bad` badly taken images of val.
    """
    known = held_out(without_each(train, usual, detector_of), novelty_of, train.images, usual)
    strange = held_out(without_each(train, kinds, detector_of), novelty_of, train.images, kinds)
    limit = round(float(np.quantile(known, 1 - FALSE_ALARMS)), 3)
    unseen = novelty_of(detector, val.images)
    sets = foreign_pictures(data, Fitting(SIDE, SIDE), SEED) | turned(val.pixels)
    caught = {
        name: (novelty_of(detector, torch.from_numpy(pixels).unsqueeze(1) / 255) >= limit).mean()
        for name, pixels in sets.items()
    }
    return {
        "novelty_limit": limit,
        "false_alarm_rate": (unseen >= limit).mean(),
        "false_alarm_rate_normal": (unseen[val.truth == 0] >= limit).mean(),
        "false_alarm_rate_pneumonia": (unseen[val.truth == 1] >= limit).mean(),
        "false_alarm_rate_unseen_kinds": (strange >= limit).mean(),
        "false_alarm_rate_degraded": (novelty_of(detector, bad) >= limit).mean(),
        "catch_rate": np.mean(list(caught.values())),
        "catch_rates": caught,
        "foreign_pictures": {name: len(pixels) for name, pixels in sets.items()},
    }
