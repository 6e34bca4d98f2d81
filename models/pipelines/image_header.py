"""The header of an image file, and the reasons for which a file is refused. Reads no format itself."""

from dataclasses import dataclass
from typing import Final, Literal

from models.field_codes import FieldCode

Format = Literal["PNG", "JPEG", "DICOM"]
Colour = Literal["grey", "rgb", "palette", "cmyk"]

# With what a PNG and a JPEG file begin, and where and what a DICOM file has behind its preamble (PS3.10, 7.1).
PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff"
DICOM: Final = b"DICM"
DICOM_AT: Final = 128

# Genuine files have some thousand parts.
MOST_PARTS: Final = 100_000


class ImageRefused(Exception):
    """The file is not an image that can be decoded. `code` and `detail` are as in a FieldFault."""

    def __init__(self, code: FieldCode, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(code)


@dataclass(frozen=True)
class ImageFile:
    """The header of a file. `content` is the file without metadata; `orientation` is Exif's, 1 to 8.

    For a PNG, `scanline_bytes` is the required length of the decompressed pixel stream, and `palette_size` the number of
    colours in the palette. For a JPEG, `block` is the number of pixels, across and down, that are coded together. For a DICOM
    file, `modality` is its Modality (0008,0060) and `content` the whole file, because its pixels are an element of it.
    `synthetic`: the metadata of a PNG or JPEG file say that a model or a program made its picture up.
    """

    format: Format
    width: int
    height: int
    bit_depth: int
    colour: Colour
    animated: bool
    orientation: int
    content: bytes
    scanline_bytes: int = 0
    palette_size: int = 0
    block: tuple[int, int] = (8, 8)
    modality: str = ""
    synthetic: bool = False


def format_of(content: bytes) -> Format | None:
    """The format that a file's first bytes are of; None of a file that is no image."""
    if content.startswith(PNG):
        return "PNG"
    if content.startswith(JPEG):
        return "JPEG"
    return "DICOM" if content[DICOM_AT : DICOM_AT + len(DICOM)] == DICOM else None


def truncated() -> ImageRefused:
    """The refusal of a file that ends too early."""
    return ImageRefused(FieldCode.TRUNCATED_IMAGE, "The image ends too early: send the whole file.")


def damaged(what: str) -> ImageRefused:
    """The refusal of a file that breaks its format."""
    return ImageRefused(FieldCode.DAMAGED_IMAGE, f"The image is damaged ({what}): export it again.")


def unsupported(kind: str) -> ImageRefused:
    """The refusal of a valid file of an unsupported kind."""
    return ImageRefused(
        FieldCode.UNSUPPORTED_ENCODING, f"This rare kind of {kind} is not read: export it as plain PNG."
    )
