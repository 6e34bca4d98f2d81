"""Brings the pixels of an image to the size that a graph takes, with Pillow's filters.

All filters but `nearest` average over the pixels that become one, as Pillow, torchvision (`antialias=True`) and
tensorflow's `tf.image.resize(antialias=True)` do.
"""

from typing import Final, Literal, NamedTuple

from PIL import Image

Fit = Literal["crop", "pad", "stretch"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

_FILTERS: Final[dict[Filter, Image.Resampling]] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Area(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Fitting(NamedTuple):
    """How an image becomes `width` x `height`.

    `crop` cuts the largest centred area of the graph's proportions and resizes it; with `shorter_side` the whole image
    is resized first, so that its shorter side has that many pixels, and the centre is cut from it. `pad` resizes the
    whole image to fit within, and fills the rest on both sides with the grey `padding`. `stretch` changes its proportions.
    """

    width: int
    height: int
    fit: Fit = "crop"
    filter: Filter = "bicubic"
    shorter_side: int | None = None
    padding: int = 0

    def __call__(self, pixels: Image.Image) -> Image.Image:
        """`pixels` ("L" or "RGB"), `width` x `height`. What has that size already is unchanged."""
        if self.fit == "crop" and self.shorter_side is not None:
            return _centre(self._resized(pixels, *self._shorter(pixels)), self.width, self.height)
        if self.fit == "crop":
            pixels = _centre(pixels, *self._proportioned(pixels))
        if self.fit == "pad":
            return self._padded(pixels)
        return self._resized(pixels, self.width, self.height)

    def _resized(self, pixels: Image.Image, width: int, height: int) -> Image.Image:
        return (
            pixels
            if pixels.size == (width, height)
            else pixels.resize((width, height), _FILTERS[self.filter])
        )

    def _shorter(self, pixels: Image.Image) -> tuple[int, int]:
        """Width and height of which the shorter is `shorter_side`; the longer is rounded down, as torchvision does."""
        assert self.shorter_side is not None, "asked for with it alone"
        least = min(pixels.size)
        width, height = (side * self.shorter_side // least for side in pixels.size)
        return width, height

    def _proportioned(self, pixels: Image.Image) -> tuple[int, int]:
        """Width and height of the largest area with the graph's proportions."""
        width, height = pixels.size
        if width * self.height >= height * self.width:
            return max(1, height * self.width // self.height), height
        return width, max(1, width * self.height // self.width)

    def area(self, size: tuple[int, int]) -> Area:
        """Where all of an image of `size` (width, height) is seen in the result: not for `crop`, which loses some of it."""
        assert self.fit != "crop", "a part is lost"
        if self.fit == "stretch":
            return Area(0, 0, self.width, self.height)
        width, height = size
        if width * self.height >= height * self.width:
            within = self.width, max(1, round(height * self.width / width))
        else:
            within = max(1, round(width * self.height / height)), self.height
        return Area((self.width - within[0]) // 2, (self.height - within[1]) // 2, *within)

    def _padded(self, pixels: Image.Image) -> Image.Image:
        area = self.area(pixels.size)
        frame = Image.new(pixels.mode, (self.width, self.height), _grey(pixels.mode, self.padding))
        frame.paste(self._resized(pixels, area.width, area.height), (area.left, area.top))
        return frame


def _grey(mode: str, level: int) -> int | tuple[int, ...]:
    return level if mode == "L" else (level,) * 3


def _centre(pixels: Image.Image, width: int, height: int) -> Image.Image:
    """The centre of `pixels`, `width` x `height`."""
    left, top = (pixels.width - width) // 2, (pixels.height - height) // 2
    return pixels.crop((left, top, left + width, top + height))
