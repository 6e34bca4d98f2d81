"""One PNG or JPEG file: what its header says, and its pixels.

The header is read here rather than by a decoder, so that size, depth and colour are checked before a decoder sees a byte, and
so that the decoder gets a copy without metadata: no EXIF, ICC or text parser of Pillow ever runs on an untrusted file, none
of its warnings can appear, and no global (such as MAX_IMAGE_PIXELS) needs to be set. See png_file and jpeg_file for the
formats, and orientation for turning an image upright.
"""

from typing import Final, Literal

from PIL import Image

from models.field_codes import FieldCode
from models.pipelines import jpeg_file, png_file
from models.pipelines.image_header import ImageFile, ImageRefused

__all__ = ["ImageFile", "ImageRefused", "decode_image", "read_image"]

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
    if content.startswith(png_file.SIGNATURE):
        return png_file.read_png(content)
    if content.startswith(jpeg_file.SIGNATURE):
        return jpeg_file.read_jpeg(content)
    raise ImageRefused(FieldCode.NOT_AN_IMAGE, "The file is neither PNG nor JPEG: send one of these.")


def decode_image(image: ImageFile, mode: Literal["L", "RGB"]) -> Image.Image:
    """The pixels of `image` as 8-bit grey (ITU-R 601 luma) or RGB, turned upright. Raises ImageRefused."""
    pixels = _decoded(image)
    if image.orientation in _TURNS:
        pixels = pixels.transpose(_TURNS[image.orientation])
    return pixels.convert(mode)


def _decoded(image: ImageFile) -> Image.Image:
    """Every pixel as stored, except for alpha. Not by Image.open, which tries other formats and warns by a global limit."""
    decode = png_file.decode_png if image.format == "PNG" else jpeg_file.decode_jpeg
    try:
        return _opaque(decode(image))
    except (ImageRefused, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - decoders raise what they like; all of it is the fault of this file alone
        raise ImageRefused(FieldCode.DAMAGED_IMAGE, "The image cannot be decoded: export it again.") from None


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
