"""The model of xray-generator: for each class a mixture of Gaussians, as a graph from standard normal numbers to images.

Each part of a mixture is a linear decoder: a mean, DIRECTIONS principal directions, and a rest, as in mixtures of probabilistic
PCA (Tipping and Bishop, Neural Comput 11:443, 1999), whose decoders are those of linear VAEs at their optimum (Lucas et al.,
NeurIPS 2019). The rest is no white noise: it has the variance of each spatial frequency that the directions leave over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct, dctn
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor, nn

from models.training.chest_xrays import SIDE, Split

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASSES = 2
PARTS = 6  # of each class
DIRECTIONS = 64
PIXELS = SIDE * SIDE
NOISE = 1 + DIRECTIONS + PIXELS  # which part; how far along its directions; its rest
COMPONENTS = 12  # principal ones by which the parts are told apart, beside the sharpness


@dataclass(frozen=True)
class Part:
    """Images that are alike: share of their class, mean [784], directions [K,784], spreads along these [K], and rest [784]."""

    share: float
    mean: Floats
    directions: Floats
    spreads: Floats
    rest: Floats


def fit(split: Split, *, parts: int, seed: int) -> list[list[Part]]:
    """The parts of each class."""
    greys = split.images.flatten(1).double().numpy()
    found = []
    for label in range(CLASSES):
        images = greys[split.truth == label]
        groups = _groups(images, parts, seed)
        found.append([_part(images[groups == group], len(images)) for group in range(parts)])
    return found


def _groups(images: Floats, parts: int, seed: int) -> Ints:
    """The part of each image of a class: k-means on principal components and sharpness."""
    if parts == 1:
        return np.zeros(len(images), np.int64)
    shapes = PCA(COMPONENTS, random_state=seed).fit_transform(images)
    features = np.column_stack([shapes / shapes[:, 0].std(), _sharpness(images)])
    return KMeans(parts, n_init=5, random_state=seed).fit_predict(features).astype(np.int64)


def _sharpness(images: Floats) -> Floats:
    """How much neighbours differ, and how much pixels differ from their surroundings: logarithms, standardised, [n,2]."""
    square = images.reshape(-1, SIDE, SIDE)
    steps = np.abs(np.diff(square, axis=1)).mean((1, 2)) + np.abs(np.diff(square, axis=2)).mean((1, 2))
    around = square[:, :-2, 1:-1] + square[:, 2:, 1:-1] + square[:, 1:-1, :-2] + square[:, 1:-1, 2:]
    grain = np.abs(4 * square[:, 1:-1, 1:-1] - around).mean((1, 2))
    logs = np.log(np.column_stack([steps, grain]) + 1e-4)
    standardised: Floats = (logs - logs.mean(0)) / logs.std(0)
    return standardised


def _part(images: Floats, of: int) -> Part:
    mean = images.mean(0)
    centred = images - mean
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:DIRECTIONS]
    left = centred - centred @ directions.T @ directions
    spectrum = dctn(left.reshape(-1, SIDE, SIDE), axes=(1, 2), norm="ortho")
    spreads = lengths[:DIRECTIONS] / np.sqrt(len(images) - 1)
    return Part(len(images) / of, mean, directions, spreads, spectrum.std(0).reshape(-1))


class Drawing(nn.Module):
    """What is exported: noise [n, NOISE] and labels int64 [n] -> images [n,1,28,28], about 0 to 1."""

    limits: Tensor
    mean: Tensor
    decoder: Tensor
    rest: Tensor
    waves: Tensor

    def __init__(self, mixtures: list[list[Part]]) -> None:
        super().__init__()
        every = [part for mixture in mixtures for part in mixture]
        shares = [[part.share for part in mixture] for mixture in mixtures]
        tables = {
            "limits": norm.ppf(
                np.cumsum(shares, axis=1)[:, :-1]
            ),  # of the normal number that chooses the part
            "mean": [part.mean for part in every],
            "decoder": [part.spreads[:, None] * part.directions for part in every],
            "rest": [part.rest for part in every],
            "waves": dct(np.eye(SIDE), axis=0, norm="ortho"),
        }
        for name, values in tables.items():
            self.register_buffer(name, torch.from_numpy(np.array(values)).float())

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        chosen = (noise[:, :1] > self.limits[label]).sum(1)
        part = label * (self.limits.shape[1] + 1) + chosen
        along = torch.bmm(noise[:, None, 1 : 1 + DIRECTIONS], self.decoder[part]).squeeze(1)
        spectrum = (noise[:, 1 + DIRECTIONS :] * self.rest[part]).reshape(-1, SIDE, SIDE)
        rest = self.waves.T @ spectrum @ self.waves
        return (self.mean[part] + along).reshape(-1, 1, SIDE, SIDE) + rest.unsqueeze(1)
