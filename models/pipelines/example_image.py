"""An image to start from, for the schemas of models that take one. Made without Pillow, which the API leaves out."""

import struct
import zlib
from functools import cache


@cache
def gray_png(width: int, height: int) -> bytes:
    """A PNG of 8 bits gray, which grows brighter from left to right."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + _row(width)) * height)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@cache
def gray_jpeg(width: int, height: int) -> bytes:
    """The like as JPEG, for models that take nothing else: this one needs Pillow."""
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(gray_png(width, height))).save(written, "JPEG")
    return written.getvalue()


@cache
def gray_dicom(width: int, height: int, modality: str, window: tuple[float, float] | None) -> bytes:
    """The like as a DICOM file without a patient."""
    return dicom(width, height, _row(width) * height, modality, window)


def dicom(
    width: int, height: int, samples: bytes, modality: str = "OT", window: tuple[float, float] | None = None
) -> bytes:
    """A DICOM file of 8 bits grey, or, where there are three times as many samples, RGB.

    Rescale slope and intercept spread grey over a `window` (centre and width), by which a model shows it.
    """
    grey = len(samples) == width * height
    elements = [
        (0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0"),  # Secondary Capture
        (0x0008, 0x0060, "CS", modality.encode()),
        (0x0028, 0x0002, "US", struct.pack("<H", 1 if grey else 3)),
        (0x0028, 0x0004, "CS", b"MONOCHROME2" if grey else b"RGB"),
        *([] if grey else [(0x0028, 0x0006, "US", struct.pack("<H", 0))]),
        (0x0028, 0x0010, "US", struct.pack("<H", height)),
        (0x0028, 0x0011, "US", struct.pack("<H", width)),
        (0x0028, 0x0100, "US", struct.pack("<H", 8)),
        (0x0028, 0x0101, "US", struct.pack("<H", 8)),
        (0x0028, 0x0102, "US", struct.pack("<H", 7)),
        (0x0028, 0x0103, "US", struct.pack("<H", 0)),
        *(_rescale(*window) if window is not None and grey else []),
        (0x7FE0, 0x0010, "OB", samples),
    ]
    meta = _element(0x0002, 0x0010, "UI", b"1.2.840.10008.1.2.1\0")  # Explicit VR Little Endian
    meta = _element(0x0002, 0x0000, "UL", struct.pack("<I", len(meta))) + meta
    return bytes(128) + b"DICM" + meta + b"".join(_element(*element) for element in elements)


def _rescale(center: float, width: float) -> list[tuple[int, int, str, bytes]]:
    lowest, slope = center - 0.5 - (width - 1) / 2, (width - 1) / 255
    return [
        (0x0028, 0x1052, "DS", f"{lowest:.9g}".encode()),
        (0x0028, 0x1053, "DS", f"{slope:.9g}".encode()),
    ]


def _element(group: int, number: int, kind: str, value: bytes) -> bytes:
    """A data element in Explicit VR Little Endian (PS3.5, 7.1.2), filled up to an even length."""
    value += b"" if len(value) % 2 == 0 else b"\0" if kind == "OB" else b" "
    length = struct.pack("<HI", 0, len(value)) if kind == "OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind.encode() + length + value


def _row(width: int) -> bytes:
    return bytes(255 * column // max(1, width - 1) for column in range(width))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
