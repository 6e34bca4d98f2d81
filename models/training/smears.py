"""Photographs of blood smears with boxes of their cells: BCCD Dataset (github.com/Shenggan/BCCD_Dataset, MIT).

Photographs of 640 x 480 pixels in `images/*.jpg`, boxes in the format of Pascal VOC in `boxes/*.xml`, and the names of the
photographs of a part in `train.txt` and `val.txt`.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom
CLASSES = {"RBC": "rbc", "WBC": "wbc", "Platelets": "platelets"}  # name in the source -> label
# Of cells made up for golden cases: colours from the centre out, where each ends (a share of the half side), how softly,
# how far the shape is from a circle, and grain.
_DRAWN = {
    "rbc": (((190, 173, 163), (180, 153, 163), (198, 191, 189)), (0.35, 0.8), 0.029, 0.0, 2.2),
    "wbc": (((142, 94, 207), (170, 158, 189), (188, 188, 181)), (0.61, 0.65), 0.045, 0.22, 4.4),
    "platelets": (((128, 113, 199), (168, 156, 207), (193, 189, 188)), (0.46, 0.71), 0.05, 0.1, 2.3),
}


@dataclass(frozen=True)
class Smear:
    """A photograph, and the kind (its place in CLASSES) and box of each cell on it."""

    photograph: Image.Image
    cells: tuple[tuple[int, Box], ...]

    def crop(self, box: Box, margins: Sequence[float] = (0, 0, 0, 0)) -> Image.Image:
        """A box with margins (left, top, right, bottom) that are shares of its sides, within the photograph."""
        left, top, right, bottom = box
        across, down = right - left, bottom - top
        return self.photograph.crop((
            max(0, round(left - margins[0] * across)), max(0, round(top - margins[1] * down)),
            min(self.photograph.width, round(right + margins[2] * across)),
            min(self.photograph.height, round(bottom + margins[3] * down)),
        ))  # fmt: skip

    def is_cut(self, box: Box) -> bool:
        """Whether the edge of the photograph cuts the cell of a box."""
        left, top, right, bottom = box
        return left <= 1 or top <= 1 or right >= self.photograph.width or bottom >= self.photograph.height

    def empty_box(self, chance: np.random.Generator) -> Box | None:
        """A square of the size of a cell that touches no box, found by chance."""
        for _ in range(200):
            side = int(chance.integers(30, 110))
            x, y = (int(chance.integers(0, length - side)) for length in self.photograph.size)
            apart = (
                right <= x or left >= x + side or bottom <= y or top >= y + side
                for _, (left, top, right, bottom) in self.cells
            )  # fmt: skip
            if all(apart):
                return x, y, x + side, y + side
        return None


def smears(folder: Path, part: str) -> Iterator[Smear]:
    """The photographs of a part, `train` or `val`."""
    for name in (folder / f"{part}.txt").read_text().split():
        photograph = Image.open(folder / "images" / f"{name}.jpg").convert("RGB")
        yield Smear(photograph, tuple(_cells(folder / "boxes" / f"{name}.xml")))


def _cells(path: Path) -> Iterator[tuple[int, Box]]:
    for cell in ET.parse(path).getroot().iter("object"):  # noqa: S314 - a file of a published data set
        left, top, right, bottom = (
            int(cell.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
        )
        yield list(CLASSES).index(cell.findtext("name", "")), (left, top, right, bottom)


def shrunk(crop: Image.Image, share: float) -> Image.Image:
    """The crop at a lower resolution, if `share` is less than 1."""
    if share >= 1:
        return crop
    return crop.resize((round(crop.width * share), round(crop.height * share)), Image.Resampling.BICUBIC)


def drawn_cell(kind: str, radius: float, seed: int) -> Image.Image:
    """A cell of a label made up here, in a square of twice the radius."""
    colours, ends, softness, lobes, grain = _DRAWN[kind]
    down, across = np.indices((round(2 * radius),) * 2) + 0.5
    distance = np.hypot(down / radius - 1, across / radius - 1)
    distance *= 1 + lobes * np.cos(3 * np.arctan2(down - radius, across - radius))
    picture = np.ones((*down.shape, 1)) * np.array(colours[0])
    for colour, end in zip(colours[1:], ends, strict=True):
        outside = 1 / (1 + np.exp((end - distance) / softness))[..., None]
        picture = picture * (1 - outside) + np.array(colour) * outside
    picture += np.random.default_rng(seed).normal(0, grain, (*down.shape, 1))
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
