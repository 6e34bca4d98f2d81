"""The detector of pictures that are no such X-rays, or a part of one: how it is fitted, what it costs, what it finds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from xray_parts import WHOLE, PartNetwork, fit_parts

from models.pipelines.image_fitting import Fitting
from models.training.chest_xrays import SIDE, Split
from models.training.cross_fitting import held_out, without_each
from models.training.figures import share_95
from models.training.foreign_pictures import foreign_pictures, turned
from models.training.grey_changes import augment
from models.training.novelty import GreyNovelty

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20
FALSE_ALARMS = 0.03  # of the distance's limit, on images that it was not fitted to
FALSE_PARTS = 0.04  # of the log odds' limit, on such images: in train hardly a normal one is among them
FOREIGN_SET = (
    "blood cells, blood smears, nuclei, photographs, CT and MR images, printed text, noise, gradients, even greys; "
    "X-rays upside down, on their side, as negatives; each kind counts the same"
)


class XrayNovelty(nn.Module):
    """How unlike whole X-rays pictures [n,1,28,28] are -> [n,1]: their distance, or the log odds that they are parts.

    The greater of both counts. `moved` is added to the log odds, so that both have one limit.
    """

    def __init__(self, distance: GreyNovelty, parts: Sequence[PartNetwork], moved: float) -> None:
        super().__init__()
        self.distance, self.parts, self.moved = distance, nn.ModuleList(parts), moved

    def forward(self, pictures: Tensor) -> Tensor:
        log_odds = torch.stack([part(pictures) for part in self.parts]).mean(0)
        return torch.maximum(self.distance(pictures), log_odds + self.moved)


def fit_novelty(train: Split, folds: Ints) -> tuple[XrayNovelty, float]:
    """The detector and its limit, from images that it did not know: `folds` of train by chance."""
    parts = without_each(train, folds, fit_parts)
    distances = held_out(without_each(train, folds, distance_of), novelty_of, train.images, folds)
    limit = round(float(np.quantile(distances, 1 - FALSE_ALARMS)), 3)
    log_odds = held_out(parts, novelty_of, train.images, folds)
    moved = limit - float(np.quantile(log_odds, 1 - FALSE_PARTS))
    return XrayNovelty(distance_of(train), parts, moved).eval(), limit


def distance_of(split: Split, _: int = 0) -> GreyNovelty:
    """It knows the images as they are, and each changed twice."""
    torch.manual_seed(SEED)
    return GreyNovelty(torch.cat([split.images, *(augment(split.images, WHOLE) for _ in range(2))]))


@torch.no_grad()
def novelty_of(detector: nn.Module, images: Tensor) -> Floats:
    """[n]."""
    return torch.cat([detector(some)[:, 0] for some in torch.split(images, 256)]).double().numpy()


def novelty_report(
    data: Path, train: Split, val: Split, detector: XrayNovelty, limit: float, *, kinds: Ints, bad: Tensor
) -> dict[str, object]:
    """False alarms and catches. `kinds` are folds of train by look, `bad` badly taken images of val."""
    strangers = without_each(
        train, kinds,
        lambda rest, kind: XrayNovelty(distance_of(rest), [fit_parts(rest, kind)], detector.moved),
    )  # fmt: skip
    strange = held_out(strangers, novelty_of, train.images, kinds)
    alarms = novelty_of(detector, val.images) >= limit
    sets = foreign_pictures(data, Fitting(SIDE, SIDE), SEED) | turned(val.pixels)
    caught = {
        name: (novelty_of(detector, torch.from_numpy(pixels).unsqueeze(1) / 255) >= limit).mean()
        for name, pixels in sets.items()
    }
    return {
        "novelty_limit": limit,
        "false_alarms": int(alarms.sum()),
        "false_alarm_rate": alarms.mean(),
        "false_alarm_rate_95": share_95(alarms),
        "false_alarm_rate_normal": alarms[val.truth == 0].mean(),
        "false_alarm_rate_pneumonia": alarms[val.truth == 1].mean(),
        "false_alarm_rate_unseen_kinds": (strange >= limit).mean(),
        "false_alarm_rate_degraded": (novelty_of(detector, bad) >= limit).mean(),
        "catch_rate": np.mean(list(caught.values())),
        "catch_rates": caught,
        "foreign_pictures": {name: len(pixels) for name, pixels in sets.items()},
    }
