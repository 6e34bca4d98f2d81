"""Image files drawn by code, good and bad."""

import re
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.pipelines.image_file import ImageRefused, decode_image, read_image

Pixels = NDArray[np.uint8]


def gradient(width: int, height: int) -> Pixels:
    """Grey values [height,width] without any symmetry."""
    down, across = np.mgrid[0:height, 0:width]
    values: Pixels = (across * 200 // width + down * 55 // height).astype(np.uint8)
    return values


def noise(width: int, height: int) -> Pixels:
    """Grey values [height,width] that do not compress."""
    return np.random.default_rng(7).integers(0, 256, (height, width), dtype=np.uint8)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002 - Pillow's own word
    """`image` as a file of this format."""
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(pixels: Pixels, **options: Any) -> bytes:
    """A PNG of grey or RGB `pixels`."""
    return saved(Image.fromarray(pixels), "PNG", **options)


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    """A JPEG of grey or RGB `pixels`."""
    return saved(Image.fromarray(pixels), "JPEG", **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(
    width: int, height: int, stream: bytes, *, depth: int = 8, colour: int = 0, interlaced: int = 0
) -> bytes:
    """A PNG whose header may lie about `stream`, its pixels before compression."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(stream)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def inserted(file: bytes, place: int, addition: bytes) -> bytes:
    """`file` with `addition` at byte `place`: 33 is behind a PNG's header, 2 behind a JPEG's start."""
    return file[:place] + addition + file[place:]


def refused(file: bytes) -> str:
    """The code that `file` is refused with, and why: a sentence that says what to do behind its colon."""
    with pytest.raises(ImageRefused) as caught:
        decode_image(read_image(file), "L")
    assert re.fullmatch(r"[A-Z][^:]+: [^:]+\.", caught.value.detail)
    assert str(caught.value) == caught.value.code
    return f"{caught.value.code}: {caught.value.detail}"
