"""The files of a segmentation: its label map, its classes, and an overlay for people, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.lazy import np
from models.pipelines.overlays import OVERLAY, colour_of, png_artifact

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines.contract import Array, Artifact


def label_map(found: Array) -> Artifact:
    """Regions int32 [H,W], at most 65535 of them, as grey PNG of 16 bits: 0 for none, else the number of the region."""
    from PIL import Image

    return png_artifact("labels.png", Image.fromarray(found.astype(np.uint16)))


def class_mask(classes: Array) -> Artifact:
    """Classes uint8 [H,W] as PNG with a palette: the index is the class from 1, 0 for none, and each has its colour."""
    from PIL import Image

    picture = Image.fromarray(classes.astype(np.uint8)).convert("L")
    picture.putpalette([0, 0, 0, *(part for number in range(255) for part in colour_of(number))])
    return png_artifact("mask.png", picture)


def overlay(pixels: Image.Image, found: Array) -> Artifact:
    """The image with the outline of each region of `found` int32 [H,W], the pixels of it that touch others, as RGB PNG."""
    from PIL import Image

    height, width = found.shape
    wide = np.pad(found, 1, mode="edge")
    inner = np.ones(found.shape, bool)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inner &= wide[down : down + height, across : across + width] == found
    outline = ~inner & (found > 0)
    picture = np.array(pixels.convert("RGB"))
    numbers, places = np.unique(found[outline], return_inverse=True)
    colours = np.array([colour_of(int(number)) for number in numbers], np.uint8).reshape(-1, 3)
    picture[outline] = colours[places]
    return png_artifact(OVERLAY, Image.fromarray(picture))
