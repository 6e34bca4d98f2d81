"""One PNG, JPEG or DICOM file: what its header says, and its pixels.

The header is read here rather than by a decoder, so that size, depth and colour are checked before a decoder sees a byte, and
so that the decoder gets a copy without metadata: no EXIF, ICC or text parser of Pillow ever runs on an untrusted file, none
of its warnings can appear, and no global (such as MAX_IMAGE_PIXELS) needs to be set. See png_file, jpeg_file and dicom_file
for the formats, and orientation for turning an image upright.
"""

from typing import Final, Literal

import numpy as np
from PIL import Image

from models.field_codes import FieldCode
from models.pipelines import jpeg_file, png_file
from models.pipelines.image_header import ImageFile, ImageRefused, format_of

__all__ = ["ImageFile", "ImageRefused", "decode_image", "read_image"]

_BYTE: Final = 8
Window = tuple[float, float]  # centre and width

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(content: bytes) -> ImageFile:
    """The header of the image file `content`; no pixel is decoded. Raises ImageRefused."""
    match format_of(content):
        case "PNG":
            return png_file.read_png(content)
        case "JPEG":
            return jpeg_file.read_jpeg(content)
        case "DICOM":
            from models.pipelines import dicom_file

            return dicom_file.read_dicom(content)
    raise ImageRefused(
        FieldCode.NOT_AN_IMAGE, "The file is neither PNG nor JPEG nor DICOM: send one of these."
    )


def decode_image(image: ImageFile, mode: Literal["L", "RGB"], window: Window | None = None) -> Image.Image:
    """The pixels of `image` as 8-bit grey (ITU-R 601 luma) or RGB, turned upright. Raises ImageRefused.

    `window`, the centre and width of the samples that are shown, is of grey PNG files of 16 bits and of DICOM files.
    """
    pixels = _decoded(image, window)
    if image.orientation in _TURNS:
        pixels = pixels.transpose(_TURNS[image.orientation])
    return pixels if pixels.mode == mode else pixels.convert(mode)


def _decoded(image: ImageFile, window: Window | None) -> Image.Image:
    """Every pixel in 8 bits, without alpha. Not by Image.open, which tries other formats and warns by a global limit."""
    try:
        if image.format == "DICOM":
            from models.pipelines import dicom_file

            return dicom_file.decode_dicom(image, window)
        decode = png_file.decode_png if image.format == "PNG" else jpeg_file.decode_jpeg
        pixels = decode(image)
        return _opaque(pixels if image.bit_depth <= _BYTE else _windowed(pixels, window))
    except (ImageRefused, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - decoders raise what they like; all of it is the fault of this file alone
        raise ImageRefused(FieldCode.DAMAGED_IMAGE, "The image cannot be decoded: export it again.") from None


def _windowed(pixels: Image.Image, window: Window | None) -> Image.Image:
    """16-bit grey by a window. Alpha of 16 bits, and a transparent grey, are not read."""
    from models.pipelines import dicom_file

    if window is None or pixels.mode != "I;16" or pixels.has_transparency_data:
        raise ImageRefused(
            FieldCode.UNSUPPORTED_BIT_DEPTH,
            "Of images with 16 bits a sample only grey ones without transparency are read: send 8 bits.",
        )
    return Image.fromarray(dicom_file.windowed(np.asarray(pixels), window))


def _opaque(pixels: Image.Image) -> Image.Image:
    """`pixels` without alpha. No pixel may be transparent, because the background is unknown."""
    if not pixels.has_transparency_data:
        return pixels
    with_alpha = pixels.convert("RGBA")
    if with_alpha.getchannel("A").getextrema() != (255, 255):
        raise ImageRefused(
            FieldCode.TRANSPARENT_IMAGE, "The image has transparent pixels: flatten it on its background."
        )
    return with_alpha.convert("RGB")
