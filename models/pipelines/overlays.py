"""Files of results that are pictures: what a model found, drawn on a copy of the image."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from models.pipelines.contract import Artifact

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]

OVERLAY: Final = "overlay.png"
LONGEST: Final = 2048  # pixels of the longer side of an overlay
# Told apart by colour-blind readers, too (Okabe and Ito 2008, Color Universal Design), without black.
_COLOURS: Final[tuple[Colour, ...]] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip


def colour_of(index: int) -> Colour:
    """The colour of a class or an instance; they repeat after seven."""
    return _COLOURS[index % len(_COLOURS)]


def overlay_canvas(pixels: Image.Image, longest: int = LONGEST) -> tuple[Image.Image, float]:
    """A copy of `pixels` in RGB to draw on, and its scale: its longer side has at most `longest` pixels."""
    scale = min(1.0, longest / max(pixels.size))
    if scale == 1.0:
        return pixels.convert("RGB") if pixels.mode != "RGB" else pixels.copy(), scale
    width, height = (max(1, round(side * scale)) for side in pixels.size)
    return pixels.resize((width, height), reducing_gap=2.0).convert("RGB"), scale


def png_artifact(name: str, image: Image.Image) -> Artifact:
    """A PNG file of a result, without metadata."""
    file = BytesIO()
    image.save(file, "PNG")
    return Artifact(name, "image/png", file.getvalue())
