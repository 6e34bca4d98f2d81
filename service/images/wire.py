"""The words of messages between a child that reads images and the process that asks, and what a reading may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.parsing.channel import Header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.pipelines.image_fitting import Fitting
    from models.pipelines.image_header import ImageFile
    from models.pipelines.image_intake import ImageIntake

# Of a request: how many bytes each file has, how many of memory the child may take for it, the intake's limits as JSON (only
# headers are read without), whether pixels are wanted, and how they are brought to a graph's size, if they are.
BYTES: Final = "bytes"
MEMORY: Final = "memory"
INTAKE: Final = "intake"
WANTED: Final = "wanted"
FITTING: Final = "fitting"
# Of an answer, the answers to the first files; of each what its header says, width and height upright, faults; or what became
# of the reading. The pixels that are wanted lie one behind the other.
ANSWERS: Final = "answers"
PIXELS: Final = "pixels"
SYNTHETIC: Final = "synthetic"
SIZE: Final = "size"
FAULTS: Final = "faults"
COSTLY: Final = "costly"
FAILED: Final = "failed"
# Before an image of more than QUICK_PIXELS is decoded, its number of pixels. Files that are read together have no more.
BEGINS: Final = "begins"
QUICK_PIXELS: Final = 1_000_000

# Measured with ten million pixels: PNG and DICOM of 16 bits take 20 bytes a pixel, four channels 14, JPEG 7, and all twice
# the bytes of the file.
_MEMORY_BYTES: Final = 64 * 1024**2
_MEMORY_BYTES_PER_PIXEL: Final = 32
_MEMORY_BYTES_PER_BYTE: Final = 8


def memory_bytes(pixels: int, size_bytes: int) -> int:
    """How much memory may be taken to read a file of `size_bytes` and at most so many pixels."""
    return _MEMORY_BYTES + _MEMORY_BYTES_PER_PIXEL * pixels + _MEMORY_BYTES_PER_BYTE * size_bytes


def header_of(image: ImageFile) -> Header:
    """What a message says of a file's header."""
    return {PIXELS: image.width * image.height, SYNTHETIC: image.synthetic}


def request_of(
    files: Sequence[bytes],
    intake: ImageIntake | None,
    *,
    wanted: bool = False,
    fitting: Fitting | None = None,
) -> Header:
    """What a message asks of files."""
    most_pixels = 0 if intake is None else intake.most_pixels
    asked: Header = {MEMORY: memory_bytes(most_pixels, sum(map(len, files)))}
    if intake is not None:
        asked |= {INTAKE: intake.told, WANTED: wanted}
    if fitting is not None:
        asked[FITTING] = list(fitting)
    return asked
