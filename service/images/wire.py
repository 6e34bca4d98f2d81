"""The words of messages between a child that reads images and the process that asks, and what a reading may cost."""

from typing import Final

from models.pipelines.image_header import ImageFile
from service.parsing.channel import Header

# Of a request: how many bytes the file has, how many of memory the child may take for it, the intake's limits as JSON (only
# the header is read without), and whether its pixels are wanted.
BYTES: Final = "bytes"
MEMORY: Final = "memory"
INTAKE: Final = "intake"
WANTED: Final = "wanted"
# Of an answer: what the header says, width and height upright, faults; or what became of the reading.
PIXELS: Final = "pixels"
SYNTHETIC: Final = "synthetic"
SIZE: Final = "size"
FAULTS: Final = "faults"
COSTLY: Final = "costly"
FAILED: Final = "failed"
# Before an image of more than QUICK_PIXELS is decoded, its number of pixels.
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
