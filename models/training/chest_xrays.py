"""Children's chest X-rays of 28 x 28 grey pixels: PneumoniaMNIST of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023), CC BY 4.0.

`train_val.npz` holds `train_images`, `train_labels`, `val_images` and `val_labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name

Ints = NDArray[np.int64]

SIDE = 28


@dataclass(frozen=True)
class Split:
    """Images float32 [n, 1, 28, 28] in 0..1 and labels float32 [n], 1 = pneumonia."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, keep: NDArray[np.bool_]) -> Split:
        chosen = torch.from_numpy(keep)
        return Split(self.images[chosen], self.labels[chosen])

    @property
    def truth(self) -> Ints:
        return self.labels.numpy().astype(np.int64)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images as they were stored, uint8 [n, 28, 28]."""
        return self.images[:, 0].mul(255).round().byte().numpy()


def read_splits(folder: Path) -> tuple[Split, Split]:
    """Train and val; train loses its repeats and every image that also stands in val, compared by bytes."""
    with np.load(folder / "train_val.npz") as arrays:
        train, val = ((arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "val"))
    seen = {image.tobytes() for image in val[0]}
    fresh = []
    for image in train[0]:
        fresh.append(image.tobytes() not in seen)
        seen.add(image.tobytes())
    keep = np.array(fresh)
    return _as_split(train[0][keep], train[1][keep]), _as_split(*val)


def _as_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    return Split(grey, torch.from_numpy(labels[:, 0]).float())


def random_folds(split: Split, count: int, seed: int) -> Ints:
    """Fold number of each image: stratified by label, otherwise by chance."""
    folds = np.zeros(len(split), dtype=np.int64)
    cut = StratifiedKFold(count, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(cut.split(folds, split.truth)):
        folds[held_out] = number
    return folds


def shift_folds(split: Split, count: int, seed: int) -> Ints:
    """Fold number of each image: by exposure and framing, so that a fold's images look unlike all others.

    k-means inside each class on ten principal components of the 7x7 thumbnail. The official test split comes
    from other patients than train and val; random folds flatter the model, these folds do not.
    """
    thumbnails = F.avg_pool2d(split.images, 4).flatten(1).numpy()
    parts = PCA(10, random_state=seed).fit_transform(thumbnails)
    folds = np.zeros(len(split), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(split.truth == label)
        folds[rows] = KMeans(count, n_init=5, random_state=seed).fit_predict(parts[rows])
    return folds


def drawn_chest(width: int, height: int, haze: float, seed: int) -> Image.Image:
    """A grey picture made up here: dark lungs, the fainter and softer the more `haze` (0 to 1), with spine, heart and belly."""
    down, across = np.mgrid[0:height, 0:width]
    x, y = across / (width - 1) * 2 - 1, down / (height - 1) * 2 - 1
    away = ((np.abs(x) - 0.49 - 0.35 * y) / 0.28) ** 2 + ((y + 0.03) / (0.71 - 0.08 * haze)) ** 2
    lungs = np.exp(-(away ** (6.5 - 5 * haze)))
    ribs = 0.03 * lungs * np.cos(14 * (y - 0.38 * np.abs(x)))
    collarbones = 0.15 * (1 - haze) * np.exp(-(((y + 0.6 - 0.2 * np.abs(x)) / 0.08) ** 2)) * (np.abs(x) < 0.8)
    spine = 0.26 * np.exp(-((x / (0.06 + 0.2 * haze)) ** 2))
    heart = 0.15 * haze * np.exp(-((((x - 0.2) / 0.35) ** 2 + ((y - 0.25) / 0.4) ** 2) ** 2))
    neck = 0.12 * np.exp(-((x / 0.3) ** 2 + ((y + 1.05) / 0.2) ** 2))
    belly = 0.4 / (1 + np.exp(-(y - 0.9 + 0.3 * haze - 0.15 * x**2) / 0.07))
    beside = 0.3 * np.exp(-(((1 - np.abs(x)) / 0.09) ** 2)) / (1 + np.exp(-(y + 0.7) / 0.1))
    grain = np.random.default_rng(seed).normal(0, 0.004, (height, width))
    bright = collarbones + spine + heart + neck + belly + ribs
    grey = 0.5 + bright - (0.26 - 0.12 * haze) * lungs - beside + grain
    return Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8))
