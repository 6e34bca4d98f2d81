"""What the shipped model answers to X-rays that are squashed or coarse, and to parts of them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from xray_parts import without_detail

from models.pipelines.image_fitting import Fitting
from models.training.chest_xrays import SIDE, Split
from models.training.figures import share_95

Floats = NDArray[np.float64]
Images = NDArray[np.float32]
Score = Callable[[Images], tuple[Floats, Floats]]  # images [n,1,28,28] to probabilities and novelty [n]

SEED = 20
ENLARGED = 224  # pixels a side, before a picture is squashed or cut
SQUASHED = {"whole": (224, 224), "wide": (224, 180), "wider": (224, 120), "narrow": (180, 224)}
MIDDLES = (85, 70, 60, 50, 40)  # the side of what is left around the middle, in per cent
ANYWHERE = (70, 60, 50, 40, 30)  # and of what is left at a place drawn by chance
FIT = Fitting(SIDE, SIDE)


def framing_report(score: Score, val: Split, threshold: float, limit: float) -> dict[str, object]:
    """Of each way of framing: what is withheld, and false alarms and misses among all images of a class of val.

    `coarse` are whole images of 14 pixels a side; `detailed` the parts anywhere with the fine detail of another image of val,
    as parts of files with more pixels have.
    """
    enlarged = [
        Image.fromarray(each).resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC) for each in val.pixels
    ]
    framed = {name: fitted([each.resize(size) for each in enlarged]) for name, size in SQUASHED.items()}
    framed["coarse"] = without_detail(val.images, torch.full((len(val),), 0.5)).numpy()
    for share in MIDDLES:
        framed[f"part_{share}"] = fitted([part_of(each, share, 0.5, 0.5) for each in enlarged])
    chance = np.random.default_rng(SEED)
    for share in ANYWHERE:
        parts = fitted([part_of(each, share, *chance.random(2)) for each in enlarged])
        coarse = without_detail(val.images, torch.full((len(val),), share / 100)).numpy()
        detail = np.roll(val.images.numpy() - coarse, 1, axis=0)
        framed |= {f"anywhere_{share}": parts, f"detailed_{share}": np.clip(parts + detail, 0, 1)}
    return {f"framed_{name}": _figures(score, each, val, threshold, limit) for name, each in framed.items()}


def part_of(picture: Image.Image, share: int, across: float, down: float) -> Image.Image:
    """The square with this share of each side, in per cent; its place is 0 at the left or upper edge and 1 at the other."""
    side = round(ENLARGED * share / 100)
    left, top = round((ENLARGED - side) * across), round((ENLARGED - side) * down)
    return picture.crop((left, top, left + side, top + side))


def fitted(pictures: Sequence[Image.Image]) -> Images:
    """As the pipeline feeds them, [n,1,28,28] in 0..1."""
    return np.stack([np.asarray(FIT(each)) for each in pictures])[:, None].astype(np.float32) / 255


def _figures(score: Score, images: Images, val: Split, threshold: float, limit: float) -> dict[str, object]:
    probabilities, novelty = score(images)
    withheld, positive, ill = novelty >= limit, probabilities >= threshold, val.truth == 1
    return {
        "withheld": withheld.mean(),
        "withheld_95": share_95(withheld),
        "withheld_normal": withheld[~ill].mean(),
        "false_alarms": (positive & ~withheld)[~ill].mean(),
        "false_alarms_95": share_95((positive & ~withheld)[~ill]),
        "missed": (~positive & ~withheld)[ill].mean(),
    }
