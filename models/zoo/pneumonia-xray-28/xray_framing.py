"""What the shipped model answers to X-rays that are squashed, or cut so that only the middle of the chest is left."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pipelines.image_fitting import Fitting
from models.training.chest_xrays import SIDE, Split

Floats = NDArray[np.float64]
Score = Callable[
    [NDArray[np.float32]], tuple[Floats, Floats]
]  # images [n,1,28,28] to probabilities and novelty [n]

ENLARGED = 224  # pixels a side, before a picture is squashed or cut
SQUASHED = {"whole": (224, 224), "wide": (224, 180), "wider": (224, 120), "narrow": (180, 224)}
PARTS = (85, 70, 50)  # the side of what is left, in per cent
FIT = Fitting(SIDE, SIDE)


def framing_report(score: Score, val: Split, threshold: float, limit: float) -> dict[str, object]:
    """Of each way of framing: what is withheld, and false alarms and misses among all images of a class of val."""
    framed = {name: [picture.resize(size) for picture in _enlarged(val)] for name, size in SQUASHED.items()}
    for share in PARTS:
        edge = ENLARGED * (100 - share) / 200
        framed[f"part_{share}"] = [
            picture.crop((round(edge), round(edge), round(ENLARGED - edge), round(ENLARGED - edge)))
            for picture in _enlarged(val)
        ]
    return {
        f"framed_{name}": _figures(score, pictures, val, threshold, limit)
        for name, pictures in framed.items()
    }


def _enlarged(val: Split) -> list[Image.Image]:
    size = (ENLARGED, ENLARGED)
    return [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in val.pixels]


def _figures(
    score: Score, pictures: list[Image.Image], val: Split, threshold: float, limit: float
) -> dict[str, float]:
    fed = np.stack([np.asarray(FIT(picture)) for picture in pictures])[:, None].astype(np.float32) / 255
    probabilities, novelty = score(fed)
    withheld, positive, ill = novelty >= limit, probabilities >= threshold, val.truth == 1
    return {
        "withheld": float(withheld.mean()),
        "false_alarms": float((positive & ~withheld)[~ill].mean()),
        "missed": float((~positive & ~withheld)[ill].mean()),
    }
