"""An image to start from, for the schemas of models that take one. Made without Pillow, which the API leaves out."""

import struct
import zlib
from functools import cache


@cache
def gray_png(side: int) -> bytes:
    """A PNG of 8 bits gray, `side` pixels square, which grows brighter from left to right."""
    row = bytes(255 * column // max(1, side - 1) for column in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * side)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@cache
def gray_jpeg(side: int) -> bytes:
    """The like as JPEG, for models that take nothing else: this one needs Pillow."""
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(gray_png(side))).save(written, "JPEG")
    return written.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
