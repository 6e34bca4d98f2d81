"""Which files are read together: a message to a child costs as much as decoding a small one."""

import struct
from collections.abc import Sequence
from typing import Final

from models.pipelines.image_header import format_of
from service.images import wire
from service.images.owned import OwnedFile

TOGETHER: Final = 32
# Few files of so many bytes have more pixels than are read together, which a child sees when it has read all of a header.
TOGETHER_BYTES: Final = 128 * 1024

# Where a PNG file has its width and height (W3C Recommendation, 3rd edition, 5.2 and 11.2.1).
PNG_SIZE: Final = struct.Struct(">II")
PNG_SIZE_AT: Final = 16


def first_together(contents: Sequence[bytes]) -> list[OwnedFile]:
    """The first files that one message may have: small, of one owner, and none that is to be read alone."""
    files, size_bytes, pixels = list[OwnedFile](), 0, 0
    for file in contents[:TOGETHER]:
        size_bytes += len(file)
        pixels += png_pixels(file) if format_of(file) == "PNG" else 0  # of others the child sees how many
        if (
            not isinstance(file, OwnedFile)
            or file.is_alone
            or file.refused is not None
            or (files and file.owner != files[0].owner)
            or size_bytes > TOGETHER_BYTES
            or pixels > wire.QUICK_PIXELS
        ):
            break
        files.append(file)
    return files


def png_pixels(content: bytes) -> int:
    """How many pixels a PNG file says that it has, at a fixed place of it."""
    start = content[: PNG_SIZE_AT + PNG_SIZE.size].ljust(PNG_SIZE_AT + PNG_SIZE.size, b"\0")
    width, height = PNG_SIZE.unpack_from(start, PNG_SIZE_AT)
    return int(width * height)
