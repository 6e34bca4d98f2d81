"""The worst mistakes on images, as small pictures: the truth beside the answer. They are made of the user's own files."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.pipelines.image_file import ImageRefused, decode_image, read_image
from service.cli.cases import FileCase

MOST: Final = 24  # pictures of a page
SIDE: Final = 240  # pixels of the longer side of a picture
MOST_PIXELS: Final = 40_000_000  # of a file that is drawn
WIDE_WINDOW: Final = (32768.0, 65536.0)  # for grey PNG files of 16 bits: all samples
COLOUR: Final = (255, 0, 200)


@dataclass(frozen=True)
class Marks:
    """What is drawn on an image: outlines of the regions of a label map [H,W], or boxes in its pixels."""

    regions: NDArray[np.int64] | None = None
    boxes: Sequence[tuple[float, float, float, float]] = ()


@dataclass(frozen=True)
class Mistake:
    """One image, what is said below it, and what is drawn by whom: `marks` of a title. Empty: the image alone."""

    source: FileCase
    caption: str
    marks: Callable[[], dict[str, Marks]] = dict


def gallery(mistakes: Sequence[Mistake]) -> str:
    """The first mistakes as HTML; nothing if there are none."""
    if not mistakes:
        return ""
    figures = "".join(map(_figure, mistakes[:MOST]))
    return f"<h2>Pictures of mistakes</h2>{figures}"


def _figure(mistake: Mistake) -> str:
    caption = html.escape(mistake.caption)
    try:
        with mistake.source.open() as opened:
            pixels = _pixels(opened.read())
    except (OSError, ImageRefused):
        return f"<figure><figcaption>{caption}</figcaption><p>The file cannot be shown.</p></figure>"
    views = mistake.marks() or {"": Marks()}
    shown = "".join(
        f"<div>{_picture(pixels, marks)}<br>{html.escape(title)}</div>" for title, marks in views.items()
    )
    return (
        f'<figure class="mistake"><figcaption>{caption}</figcaption><div class="views">{shown}</div></figure>'
    )


def _pixels(content: bytes) -> Image.Image:
    """The upright image in colours, as the service reads it. Raises ImageRefused."""
    image = read_image(content)
    if image.width * image.height > MOST_PIXELS:
        raise OSError("too large to be drawn")
    window = WIDE_WINDOW if image.format == "PNG" else None
    return decode_image(image, "RGB", window)


def _picture(pixels: Image.Image, marks: Marks) -> str:
    """A small copy with its marks, inside the page."""
    scale = min(1.0, SIDE / max(pixels.size))
    size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    small = pixels.resize(size)
    if marks.regions is not None:
        small = Image.fromarray(_outlined(np.array(small), marks.regions))
    draw = ImageDraw.Draw(small)
    for left, top, right, bottom in marks.boxes:
        draw.rectangle((left * scale, top * scale, right * scale, bottom * scale), outline=COLOUR)
    file = io.BytesIO()
    small.save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _outlined(picture: NDArray[np.uint8], regions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A picture uint8 [h,w,3] with the edges of the regions [H,W], of which each of its pixels shows one."""
    height, width = picture.shape[:2]
    rows = np.arange(height) * regions.shape[0] // height
    columns = np.arange(width) * regions.shape[1] // width
    small = regions[np.ix_(rows, columns)]
    wide = np.pad(small, 1, mode="edge")
    inner = (
        (wide[:-2, 1:-1] == small)
        & (wide[2:, 1:-1] == small)
        & (wide[1:-1, :-2] == small)
        & (wide[1:-1, 2:] == small)
    )
    return np.where((~inner & (small > 0))[..., None], np.array(COLOUR, np.uint8), picture)
