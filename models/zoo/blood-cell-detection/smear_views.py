"""Photographs of blood smears as the detector is fed them, and as others may look: moved, mirrored, nearer, relit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.detection_figures import Boxes
from models.pipelines.image_fitting import Fitting
from models.training.smears import smears

WIDTH, HEIGHT = 480, 360  # of what the graph takes
FIT = Fitting(WIDTH, HEIGHT, fit="stretch", filter="bilinear")
SMALLEST = 6  # pixels of a side of a box; two boxes of the source have none
KEPT = 0.3  # the share of a box that must be left where a view cuts it
ZOOMS = (0.75, 1.3)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photographs:
    """Photographs, and their boxes in pixels of each."""

    pictures: tuple[Image.Image, ...]
    boxes: tuple[Boxes, ...]

    def fed(self) -> Pixels:
        """As the pipeline feeds them: uint8 [n,360,480,3]."""
        return np.stack([np.asarray(FIT(picture)) for picture in self.pictures])

    def scales(self) -> NDArray[np.float64]:
        """From pixels of the graph to those of each photograph: [n,4]."""
        sizes = np.array([picture.size for picture in self.pictures], float)
        return np.tile(sizes / [WIDTH, HEIGHT], 2)

    def only(self, rows: NDArray[np.int64]) -> "Photographs":
        """Some of them."""
        return Photographs(tuple(self.pictures[row] for row in rows), tuple(self.boxes[row] for row in rows))

    def smaller(self, share: float) -> "Photographs":
        """The same at a lower resolution."""
        return Photographs(
            tuple(picture.resize((round(picture.width * share), round(picture.height * share))) for picture in self.pictures),
            tuple(Boxes(boxes.edges * share, boxes.labels) for boxes in self.boxes),
        )  # fmt: skip


def read_photographs(folder: Path, part: str) -> Photographs:
    """Those of a part of BCCD, without boxes that have no area."""
    pictures, boxes = [], []
    for smear in smears(folder, part):
        cells = [
            (kind, box) for kind, box in smear.cells if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST
        ]
        pictures.append(smear.photograph)
        edges = np.array([box for _, box in cells], float).reshape(-1, 4)
        boxes.append(Boxes(edges, np.array([kind for kind, _ in cells], np.int64)))
    return Photographs(tuple(pictures), tuple(boxes))


def view(picture: Image.Image, boxes: Boxes, chance: np.random.Generator) -> tuple[Tensor, Boxes]:
    """A photograph by chance: a part of it, or all of it on a larger ground, mirrored, in another light.

    Float32 [3,360,480] in 0..1, and the boxes of which enough is left.
    """
    zoom = chance.uniform(*ZOOMS)
    sides = np.round(np.array(picture.size) / zoom).astype(int)
    spare = np.array(picture.size) - sides
    left, top = (int(chance.integers(min(0, each), max(0, each) + 1)) for each in spare)
    across, down = sides.tolist()
    if zoom >= 1:
        seen = picture.resize(
            (WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=(left, top, left + across, top + down)
        )
    else:
        ground = np.median(np.asarray(picture.resize((40, 30))).reshape(-1, 3), 0)
        frame = Image.new("RGB", (across, down), tuple(int(level) for level in ground))
        frame.paste(picture, (-left, -top))
        seen = frame.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    edges = (boxes.edges - [left, top] * 2) * np.tile([WIDTH / across, HEIGHT / down], 2)
    kept = _cut(edges, boxes.labels)
    image = torch.from_numpy(np.array(seen)).permute(2, 0, 1).float() / 255
    return _relit(*_mirrored(image, kept, chance), chance)


def _cut(edges: NDArray[np.float64], labels: NDArray[np.int64]) -> Boxes:
    inside = np.clip(edges, 0, np.tile([WIDTH, HEIGHT], 2))
    whole, left = ((each[:, 2:] - each[:, :2]).prod(1) for each in (edges, inside))
    enough = (left > KEPT * whole) & ((inside[:, 2:] - inside[:, :2]).min(1, initial=WIDTH) > SMALLEST / 2)
    return Boxes(inside[enough], labels[enough])


def _mirrored(image: Tensor, boxes: Boxes, chance: np.random.Generator) -> tuple[Tensor, Boxes]:
    for axis, length in ((0, WIDTH), (1, HEIGHT)):
        if chance.random() < 0.5:
            image = image.flip(2 - axis)
            edges = boxes.edges.copy()
            edges[:, [axis, axis + 2]] = length - edges[:, [axis + 2, axis]]
            boxes = Boxes(edges, boxes.labels)
    return image, boxes


def _relit(image: Tensor, boxes: Boxes, chance: np.random.Generator) -> tuple[Tensor, Boxes]:
    """Another contrast, tint and brightness."""
    mean = image.mean((1, 2), keepdim=True)
    image = mean + (image - mean) * float(np.exp(chance.uniform(-0.25, 0.25)))
    tint = torch.from_numpy(np.exp(chance.uniform(-0.12, 0.12, 3))).float()[:, None, None]
    return (image * tint + float(chance.uniform(-0.08, 0.08))).clamp(0, 1), boxes
