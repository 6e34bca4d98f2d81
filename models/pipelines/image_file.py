"""One PNG or JPEG file: what its header says, and its pixels.

The header is read here and not by Pillow, so that size, depth and colour are judged before a decoder sees a
byte, and so that the decoder gets a copy without metadata: no EXIF, ICC or text parser of Pillow ever runs on
a stranger's file, none of its warnings can appear, and no global (such as MAX_IMAGE_PIXELS) needs setting.
Formats: PNG, W3C Recommendation 3rd edition; JPEG, ITU-T T.81; orientation, Exif 2.32 tag 0x0112.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

Format = Literal["PNG", "JPEG"]
Colour = Literal["grey", "rgb", "palette", "cmyk"]

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS: Final[dict[int, Colour]] = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}
_PNG_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# The seven passes of an interlaced PNG: left, top, step across, step down.
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PNG_PIXELS: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))

_JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
_JPEG_COLOURS: Final[dict[int, Colour]] = {1: "grey", 3: "rgb", 4: "cmyk"}
_JPEG_FRAMES: Final = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}  # C4, C8, CC start no frame
_JPEG_HUFFMAN: Final = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive: what decoders read
_JPEG_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_JPEG_SCAN: Final = 0xDA
# Application segments and comments, but for JFIF (E0) and Adobe (EE), which say how colours are stored.
_JPEG_METADATA: Final = (frozenset(range(0xE0, 0xF0)) | {0xFE}) - {0xE0, 0xEE}

# Honest files have some thousand parts and a dozen scans; a scan costs a pass over all pixels.
_MOST_PARTS: Final = 100_000
_MOST_SCANS: Final = 100

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageRefused(Exception):
    """The file is not an image that can be decoded. `code` and `detail` are as in a FieldFault."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(code)


@dataclass(frozen=True)
class ImageFile:
    """What a file's header says. `content` is the file without metadata; `orientation` is Exif's, 1 to 8."""

    format: Format
    width: int
    height: int
    bit_depth: int
    colour: Colour
    animated: bool
    orientation: int
    content: bytes
    scanline_bytes: int = 0  # of a PNG: how long its pixel stream must be, decompressed


def read_image(content: bytes) -> ImageFile:
    """The header of the image file `content`; no pixel is decoded. Raises ImageRefused."""
    if content.startswith(_PNG_SIGNATURE):
        return _read_png(content)
    if content.startswith(_JPEG_SIGNATURE):
        return _read_jpeg(content)
    raise ImageRefused("not_an_image", "The file is neither PNG nor JPEG: send one of these.")


def decode_image(image: ImageFile, mode: Literal["L", "RGB"]) -> Image.Image:
    """The pixels of `image` as 8-bit grey (ITU-R 601 luma) or RGB, turned upright. Raises ImageRefused."""
    pixels = _opaque(_decode(image))
    if image.orientation in _TURNS:
        pixels = pixels.transpose(_TURNS[image.orientation])
    return pixels.convert(mode)


def _decode(image: ImageFile) -> Image.Image:
    """Every pixel, as stored. Not by Image.open: it tries other formats and warns by a global limit."""
    plugin = PngImageFile if image.format == "PNG" else JpegImageFile
    if image.format == "PNG":
        _check_scanlines(image)
    try:
        pixels = plugin(BytesIO(image.content))
        if pixels.size != (image.width, image.height):
            raise ImageRefused("damaged_image", "The image's headers contradict each other: export it again.")
        pixels.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        raise ImageRefused("damaged_image", "The image cannot be decoded: export it again.") from None
    return pixels


def _opaque(pixels: Image.Image) -> Image.Image:
    """`pixels` without their alpha, which must hide nothing: what lies behind is not ours to guess."""
    if not pixels.has_transparency_data:
        return pixels
    with_alpha = pixels.convert("RGBA")
    if with_alpha.getchannel("A").getextrema() != (255, 255):
        raise ImageRefused(
            "transparent_image", "The image has transparent pixels: flatten it on its background."
        )
    return with_alpha.convert("RGB")


def _truncated() -> ImageRefused:
    return ImageRefused("truncated_image", "The image ends too early: send the whole file.")


def _damaged(what: str) -> ImageRefused:
    return ImageRefused("damaged_image", f"The image is damaged ({what}): export it again.")


def _read_png(content: bytes) -> ImageFile:
    chunks = _png_chunks(content)
    header = chunks[0].body
    if [chunk.kind for chunk in chunks].count(b"IHDR") != 1 or chunks[0].kind != b"IHDR" or len(header) != 13:
        raise _damaged("not exactly one header")
    width, height, bit_depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if not (width and height and colour in _PNG_COLOURS):
        raise _damaged("a header without meaning")
    return ImageFile(
        format="PNG",
        width=width,
        height=height,
        bit_depth=bit_depth,
        colour=_PNG_COLOURS[colour],
        animated=any(chunk.kind == b"acTL" for chunk in chunks),
        orientation=_orientation(next((chunk.body for chunk in chunks if chunk.kind == b"eXIf"), b"")),
        scanline_bytes=_scanline_bytes(width, height, bit_depth * _PNG_SAMPLES[colour], bool(interlaced)),
        content=_PNG_SIGNATURE + b"".join(chunk.whole for chunk in chunks if chunk.kind in _PNG_PIXELS),
    )


class _Chunk(NamedTuple):
    """A part of a PNG file; `whole` has its length, kind, body and checksum."""

    kind: bytes
    body: bytes
    whole: bytes


def _png_chunks(content: bytes) -> list[_Chunk]:
    """The chunks up to IEND, each with its checksum proved."""
    chunks: list[_Chunk] = []
    start = len(_PNG_SIGNATURE)
    while len(chunks) < _MOST_PARTS:
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            raise _truncated()
        whole = content[start:end]
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            raise _damaged("a checksum is wrong")
        chunks.append(_Chunk(whole[4:8], whole[8:-4], whole))
        if chunks[-1].kind == b"IEND":
            return chunks
        start = end
    raise _damaged("too many parts")


def _scanline_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Length of the pixel stream: a filter byte a row, rows of `bits` a pixel filled up to whole bytes."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-((left - width) // across), -((top - height) // down)) for left, top, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _check_scanlines(image: ImageFile) -> None:
    """Refuse a PNG with too few rows: Pillow would fill the rest with black and say nothing."""
    inflate = zlib.decompressobj()
    packed = b"".join(chunk.body for chunk in _png_chunks(image.content) if chunk.kind == b"IDAT")
    found = 0
    try:
        while packed and found < image.scanline_bytes:
            found += len(inflate.decompress(packed, 1 << 20))
            packed = inflate.unconsumed_tail
    except zlib.error:
        raise _damaged("its pixels do not decompress") from None
    if found < image.scanline_bytes:
        raise _truncated()


def _read_jpeg(content: bytes) -> ImageFile:
    segments = _jpeg_segments(content)
    frames = [segment for segment in segments if segment.marker in _JPEG_FRAMES]
    if len(frames) != 1 or len(frames[0].body) < 6:
        raise _damaged("not exactly one header")
    if frames[0].marker not in _JPEG_HUFFMAN or segments[-1].whole.count(b"\xff\xda") > _MOST_SCANS:
        raise ImageRefused("unsupported_encoding", "This rare kind of JPEG is not read: export it as PNG.")
    bit_depth, height, width, components = struct.unpack(">BHHB", frames[0].body[:6])
    if not (width and height and components in _JPEG_COLOURS):
        raise _damaged("a header without meaning")
    exif = (segment.body for segment in segments if segment.body.startswith(b"Exif\0\0"))
    return ImageFile(
        format="JPEG",
        width=width,
        height=height,
        bit_depth=bit_depth,
        colour=_JPEG_COLOURS[components],
        animated=False,
        orientation=_orientation(next(exif, b"")[6:]),
        content=b"\xff\xd8" + b"".join(part.whole for part in segments if part.marker not in _JPEG_METADATA),
    )


class _Segment(NamedTuple):
    """A part of a JPEG file; `whole` has its marker and length too."""

    marker: int
    body: bytes
    whole: bytes


def _jpeg_segments(content: bytes) -> list[_Segment]:
    """The segments before the first scan, and as the last one everything from that scan on."""
    segments: list[_Segment] = []
    start = 2
    while len(segments) < _MOST_PARTS:
        start = _skip_padding(content, start)
        marker = content[start]
        if marker == _JPEG_SCAN:
            if content.rfind(b"\xff\xd9", start) < 0:
                raise _truncated()
            return [*segments, _Segment(marker, b"", content[start - 1 :])]
        length = 0 if marker in _JPEG_ALONE else int.from_bytes(content[start + 1 : start + 3], "big")
        end = start + 1 + length
        if end > len(content):
            raise _truncated()
        segments.append(_Segment(marker, content[start + 3 : end], content[start - 1 : end]))
        start = end
    raise _damaged("too many parts")


def _skip_padding(content: bytes, start: int) -> int:
    """Where the second byte of the marker at `start` is: any number of FF bytes may come first."""
    if start < len(content) and content[start] != 0xFF:
        raise _damaged("a segment where none can be")
    while start < len(content) and content[start] == 0xFF:
        start += 1
    if start == len(content):
        raise _truncated()
    return start


def _orientation(exif: bytes) -> int:
    """Exif's orientation in a TIFF block, 1 (upright) where there is none or it cannot be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for index in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * index)
            if (tag, kind, count) == (0x0112, 3, 1):
                return value if value in _TURNS else 1
    except struct.error:
        return 1
    return 1
