"""Who reads image files: this process itself, unless it was given another reader when it started.

Servers give one that lets child processes do it, since files are strangers'; the command line and training read their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from models.lazy import np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from models.pipelines.contract import Array, InputRejected
    from models.pipelines.image_fitting import Fitting
    from models.pipelines.image_intake import ImageIntake


class Header(NamedTuple):
    """What a file says of its image: how many pixels it has, and whether a model or a program made it up."""

    pixels: int
    synthetic: bool


NO_IMAGE = Header(0, synthetic=False)


class ImageReader(Protocol):
    """Reads files within the limits of an intake. Called by several threads at once."""

    def header(self, content: bytes) -> Header:
        """What a file says; NO_IMAGE of one that cannot be read. No pixel is decoded."""

    def pixel_count(self, content: bytes) -> int:
        """How many pixels a file says that it has; 0 of one that is no image."""

    def check(self, content: bytes, intake: ImageIntake) -> None:
        """Decode all of a file. Raises InputRejected."""

    def pixels(self, content: bytes, intake: ImageIntake) -> Image.Image:
        """The upright pixels of a file, 8-bit grey ("L") or RGB. Raises InputRejected."""

    def fitted(
        self, contents: Sequence[bytes], intake: ImageIntake, fitting: Fitting
    ) -> list[Array | InputRejected]:
        """Of the first files, as many as are read at once and at least one: uint8 [height,width,channels], or why not."""


class ReadHere:
    """Reads files in this process."""

    def header(self, content: bytes) -> Header:
        """See ImageReader."""
        from models.pipelines.image_file import ImageRefused, read_image  # Pillow, when there is a file

        try:
            image = read_image(content)
        except ImageRefused:
            return NO_IMAGE
        return Header(image.width * image.height, image.synthetic)

    def pixel_count(self, content: bytes) -> int:
        """See ImageReader."""
        return self.header(content).pixels

    def check(self, content: bytes, intake: ImageIntake) -> None:
        """See ImageReader."""
        intake.decoded(content)

    def pixels(self, content: bytes, intake: ImageIntake) -> Image.Image:
        """See ImageReader."""
        return intake.decoded(content)

    def fitted(
        self, contents: Sequence[bytes], intake: ImageIntake, fitting: Fitting
    ) -> list[Array | InputRejected]:
        """See ImageReader."""
        from models.pipelines.contract import InputRejected

        try:
            pixels = fitting(intake.decoded(contents[0]))
        except InputRejected as rejected:
            return [rejected]
        return [np.asarray(pixels).reshape(fitting.height, fitting.width, intake.channels)]


_reader: ImageReader = ReadHere()


def reader() -> ImageReader:
    """The reader of this process."""
    return _reader


def read_by(given: ImageReader) -> None:
    """Have files read by another reader from now on."""
    global _reader  # noqa: PLW0603 - set once, when a process starts
    _reader = given
