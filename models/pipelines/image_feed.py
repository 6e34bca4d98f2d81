"""How the pixels of an image become what a graph is fed: size, layout, mean and standard deviation of a manifest.

Samples from 0 to 255 become (sample / 255 - mean) / std, so 0 to 1 unless the manifest says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from models.lazy import np
from models.pipelines.image_intake import ImageFileParameters

if TYPE_CHECKING:
    from typing import Self

    from PIL import Image

    from models.pipelines.contract import Array

Side = Annotated[int, Field(ge=1, le=2048)]
Numbers = Annotated[tuple[float, ...], Field(min_length=1, max_length=3, strict=False)]


class ImageFeedParameters(ImageFileParameters):
    """The parameters of a graph that takes an image of one size."""

    size: Side | Annotated[tuple[Side, Side], Field(strict=False)] = Field(
        description="side of the square the graph takes, in pixels, or [height, width]"
    )
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bicubic"
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if any(len(values) not in {1, self.channels} for values in (self.mean, self.std)):
            raise ValueError("mean and std: give one number, or one for each channel")
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the graph's image."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def channels_last(self) -> bool:
        """Whether the graph takes [N,H,W,C]."""
        return self.layout == "NHWC"

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: [C,H,W], or [H,W,C]."""
        height, width = self.sides
        return (height, width, self.channels) if self.channels_last else (self.channels, height, width)

    def samples(self, pixels: Image.Image) -> Array:
        """`pixels` ("L" or "RGB") of the graph's size as uint8 of `shape`."""
        return self.laid_out(np.asarray(pixels).reshape(pixels.height, pixels.width, self.channels))

    def laid_out(self, image: Array) -> Array:
        """Samples [height,width,channels] in `shape`."""
        return image if self.channels_last else image.transpose(2, 0, 1)

    def standardize(self, images: Array) -> None:
        """Float32 [N, *shape] in 0..255 -> (x / 255 - mean) / std, in place."""
        images /= 255
        for values, change in ((self.mean, np.subtract), (self.std, np.divide)):
            if set(values) != {0.0 if change is np.subtract else 1.0}:
                number = np.array(values, dtype=np.float32)
                change(images, number if self.channels_last else number[:, None, None], out=images)
