"""Microscope images with a label map of their nuclei: BBBC038v1 (Caicedo et al., Nat Methods 16:1247, 2019), CC0.

`images/NAME.EXT` of 8 bits, `labels/NAME.png` of 16, and `index.csv` with the columns name, kind, ext, width and height.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

ALIKE = 0.7  # correlation from which on two images, made small, show the same
CONTINUED = 0.9  # correlation from which on the edge of one image continues that of another


@dataclass(frozen=True)
class Nuclei:
    """An image uint8 [H,W,3] as Pillow reads it, its label map int32 [H,W], and which kind it is of."""

    name: str
    kind: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]

    @property
    def source(self) -> tuple[str, int, int]:
        """Kind and size: images of one experiment share it."""
        return (self.kind, *self.labels.shape)

    @property
    def diameter(self) -> float:
        """Of a circle as large as the median nucleus, in pixels; 0 without nuclei."""
        areas = np.bincount(self.labels.ravel())[1:]
        areas = areas[areas > 0]
        return float(np.sqrt(np.median(areas) * 4 / np.pi)) if len(areas) else 0.0


def read_nuclei(folder: Path) -> list[Nuclei]:
    """Every image of the index, in its order."""
    with (folder / "index.csv").open(newline="") as file:
        return [
            Nuclei(
                row["name"], row["kind"],
                np.asarray(Image.open(folder / "images" / f"{row['name']}.{row['ext']}").convert("RGB")),
                np.asarray(Image.open(folder / "labels" / f"{row['name']}.png")).astype(np.int32),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def fields_of_view(images: Sequence[Nuclei]) -> NDArray[np.int64]:
    """The number of the field of view of each image [n]: images that show the same, or continue each other, share it.

    Many of the images are cut from larger ones, so neighbours and their nuclei would be on both sides of a split at random.
    """
    pairs = [pair for places in _by_source(images).values() for pair in _related(images, places)]
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(images), len(images)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def held_out(
    images: Sequence[Nuclei], fields: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Which images are for validation [n]: whole fields of view, about `share` of the images of each kind and size."""
    chance = np.random.default_rng(seed)
    found = np.zeros(len(images), bool)
    for places in _by_source(images).values():
        wanted, taken = round(share * len(places)), 0
        for field in chance.permutation(np.unique(fields[places])):
            size = int((fields[places] == field).sum())
            if taken + size <= wanted or (taken == 0 and size <= 2 * wanted):
                found[fields == field] = True
                taken += size
    return found


def _by_source(images: Sequence[Nuclei]) -> dict[tuple[str, int, int], list[int]]:
    found = defaultdict(list)
    for place, each in enumerate(images):
        found[each.source].append(place)
    return dict(found)


def _related(images: Sequence[Nuclei], places: Sequence[int]) -> Iterator[tuple[int, int]]:
    grey = [np.asarray(Image.fromarray(images[place].image).convert("L")) for place in places]
    small = [
        np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BOX)).ravel() for each in grey
    ]
    alike = _correlations(small, small)
    np.fill_diagonal(alike, 0)
    yield from ((places[one], places[other]) for one, other in np.argwhere(alike > ALIKE))
    for end, begin in ((np.s_[:, -1], np.s_[:, 0]), (np.s_[-1], np.s_[0])):
        continued = _correlations([each[end] for each in grey], [each[begin] for each in grey])
        np.fill_diagonal(continued, 0)
        best, back = continued.argmax(1), continued.argmax(0)
        for one in range(len(places)):
            if continued[one, best[one]] > CONTINUED and back[best[one]] == one:
                yield places[one], places[best[one]]


def _correlations(
    one: Sequence[NDArray[np.uint8]], other: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Of each of `one` with each of `other`; 0 where one hardly varies."""
    return _standardized(one) @ _standardized(other).T / len(one[0])


def _standardized(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    values = np.stack(rows).astype(np.float64)
    spread = values.std(1, keepdims=True)
    return np.where(spread > 1, (values - values.mean(1, keepdims=True)) / np.maximum(spread, 1), 0)


# Drawn for golden cases: ground, nuclei and their spread of brightness, grain, and least and greatest radius.
_DRAWN: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], float, float, tuple[float, float]]] = {
    "fluorescence": ((8, 8, 8), (90, 90, 90), 0.35, 1.5, (5.0, 9.0)),
    "stained": ((215, 190, 225), (90, 55, 160), 0.12, 5.0, (7.0, 12.0)),
    "brightfield": ((235, 235, 235), (95, 95, 95), 0.1, 3.0, (1.8, 2.6)),
}


def drawn_nuclei(kind: str, width: int, height: int, seed: int) -> Image.Image:
    """A picture of nuclei that is made up here: ellipses of one kind, some of which touch."""
    ground, colour, spread, grain, radii = _DRAWN[kind]
    chance = np.random.default_rng(seed)
    down, across = np.indices((height, width)) + 0.5
    picture = np.ones((height, width, 1)) * np.array(ground, np.float64)
    for _ in range(max(4, round(width * height / (radii[1] ** 2 * 14)))):
        y, x, angle = chance.uniform(0, height), chance.uniform(0, width), chance.uniform(0, np.pi)
        long, short = radii[1] * chance.uniform(0.8, 1), radii[0] * chance.uniform(0.9, 1.1)
        along = np.cos(angle) * (across - x) + np.sin(angle) * (down - y)
        aside = np.cos(angle) * (down - y) - np.sin(angle) * (across - x)
        inside = 1 / (1 + np.exp((np.hypot(along / long, aside / short) - 1) * 2.2 * short))
        shade = np.array(colour) * (1 + spread * chance.uniform(-1, 1))
        picture = picture * (1 - inside[..., None]) + shade * inside[..., None]
    picture += chance.normal(0, grain, (height, width, 1))
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
