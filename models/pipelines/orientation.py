"""The orientation of an image from all places of its metadata: Exif (TIFF), XMP, and the texts of PNG.

An image is turned upright or refused; an orientation that cannot be read is never ignored. Refused are unreadable
orientations, Exif that is damaged before the orientation, and places that contradict each other. A missing or empty place,
and a value outside of 1 to 8 (reserved in Exif; 0 is written for "unknown"), count as no orientation.

Sources: Exif 2.32, tag 0x0112; TIFF 6.0, section 2; XMP part 1 (ISO 16684-1) and part 3; PNG eXIf and iTXt; "Raw profile
type" texts as ImageMagick writes them (coders/png.c).
"""

import re
import struct
import zlib
from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from models.field_codes import FieldCode
from models.pipelines.image_header import ImageRefused

UPRIGHT: Final = 1
_VALUES: Final = range(1, 9)
_TAG: Final = 0x0112
# TIFF type -> how a value of it is written: integers and floats of every width, and rationals as two integers.
_NUMBERS: Final = {
    1: "B",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    8: "h",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
}
# Some writers swap the bytes of 42 alone; viewers read that.
_TIFF_HEADS: Final = {b"II*\0": "<", b"MM\0*": ">", b"II\0*": "<", b"MM*\0": ">"}
_TIFF_HEAD_BYTES: Final = 8
_BYTE_ORDERS: Final = (b"II", b"MM")
_ASCII: Final = 2
_IN_PLACE_BYTES: Final = 4

_TIFF_SPACE: Final = "http://ns.adobe.com/tiff/1.0/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# RDF"
_XMP_NAME: Final = f"{_TIFF_SPACE} Orientation"
_RAW_PROFILE: Final = re.compile(rb"Raw profile type (exif|app1|xmp)", re.IGNORECASE)
_RAW_TEXT: Final = re.compile(rb"\s*\w+\s+(\d{1,10})\s+([0-9a-fA-F\s]*)\0*")
_ORIENTATION_KEYWORDS: Final = (b"exif:orientation", b"tiff:orientation", b"orientation")
_XMP_KEYWORD: Final = b"XML:com.adobe.xmp"
_XMP_HEAD: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF_HEAD: Final = b"Exif\0"  # and one byte that fills it up; some writers put it before eXIf, or twice
_MOST_TEXT_BYTES: Final = 1 << 24


def unclear() -> ImageRefused:
    """The refusal of a file with an orientation that cannot be read."""
    return ImageRefused(
        FieldCode.UNCLEAR_ORIENTATION,
        "The image's metadata say how it is to be turned in a form that cannot be read: "
        "turn it upright and export it without metadata.",
    )


def agreed(statements: Iterable[int | None]) -> int:
    """The orientation on which all places agree, each None or 1 to 8; UPRIGHT if all are None. Raises ImageRefused."""
    return _only(statements) or UPRIGHT


def _only(statements: Iterable[int | None]) -> int | None:
    """The only value that is stated; None if there is none."""
    found = {statement for statement in statements if statement is not None}
    if len(found) > 1:
        raise ImageRefused(
            FieldCode.CONFLICTING_ORIENTATION,
            "The image's metadata contradict each other on how it is to be turned: "
            "turn it upright and export it without metadata.",
        )
    return found.pop() if found else None


def in_tiff(block: bytes) -> int | None:
    """What the first directory of a TIFF block says, as Exif is one, with its head or without. Raises ImageRefused."""
    block = _without_heads(block)
    if not block.strip(b"\0"):
        return None
    order = _TIFF_HEADS.get(block[:4])
    if order is None:
        raise unclear()
    found: set[int | None] = set()
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        if directory < _TIFF_HEAD_BYTES:
            raise unclear()
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for place in range(directory + 2, directory + 2 + 12 * entries, 12):
            if struct.unpack_from(f"{order}H", block, place)[0] == _TAG:
                found.add(_tiff_value(block, place, order))
    except struct.error:  # damaged from here on: what was found holds
        if not found:
            raise unclear() from None
    return _only(found)


def in_exif_segments(blocks: Iterable[bytes]) -> list[int | None]:
    """What Exif says that was cut into pieces: each block that starts a TIFF, with those behind it that start none."""
    wholes: list[bytes] = []
    for block in blocks:
        if wholes and _without_heads(block)[:2] not in _BYTE_ORDERS:
            wholes[-1] += block
        else:
            wholes.append(block)
    return [in_tiff(whole) for whole in wholes]


def _without_heads(block: bytes) -> bytes:
    while block.startswith(_EXIF_HEAD):
        block = block[len(_EXIF_HEAD) + 1 :]
    return block


def _tiff_value(block: bytes, place: int, order: str) -> int | None:
    """The value of the entry at `place`, whatever type of number or text it has."""
    if place + 12 > len(block):
        raise unclear()
    kind, count = struct.unpack_from(f"{order}HI", block, place + 2)
    form = _NUMBERS.get(kind)
    size = count if kind == _ASCII else struct.calcsize(f"{order}{form}") if form else 0
    if count < 1 or size < 1:
        raise unclear()
    at = place + 8
    if size * (1 if kind == _ASCII else count) > _IN_PLACE_BYTES:
        (at,) = struct.unpack_from(f"{order}I", block, at)
    if at + size > len(block):
        raise unclear()
    if form is None:
        return _stated(block[at : at + size].rstrip(b"\0").decode("ascii", "replace"))
    value, *divisor = struct.unpack_from(f"{order}{form}", block, at)
    if divisor:
        if not divisor[0]:
            raise unclear()
        value /= divisor[0]
    return _whole(value)


def _stated(text: str) -> int | None:
    """What a text says."""
    if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", text, re.ASCII):
        raise unclear()
    return _whole(int(text))


def _whole(value: float) -> int | None:
    if value != value or value in (float("inf"), float("-inf")) or int(value) != value:  # noqa: PLR0124 - NaN
        raise unclear()
    return int(value) if value in _VALUES else None


def in_xmp(packet: bytes) -> int | None:
    """What an XMP packet says, as an attribute or an element of its top descriptions. Raises ImageRefused.

    A packet that is no well-formed XML says nothing, unless the word stands in it.
    """
    reader = _XmpReader()
    try:
        reader.read(packet.strip(b"\0 \t\r\n"))
    except expat.ExpatError:
        if b"Orientation" in packet.replace(b"\0", b""):
            raise unclear() from None
        return None
    return _only(_stated(text) for text in reader.found)


class _XmpReader:
    """Collects the texts of tiff:Orientation. A packet with a document type is not read: XMP has none."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self, packet: bytes) -> None:
        """Raises ExpatError, ImageRefused."""
        self._parser.Parse(packet, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._path[-1:] == [_RDF] and _XMP_NAME in attributes:
            self.found.append(attributes[_XMP_NAME])
        if self._path[-2:-1] == [_RDF] and name == _XMP_NAME:
            self._text = []
        self._path.append(name)

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._text is not None and name == _XMP_NAME:
            self.found.append("".join(self._text))
            self._text = None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _refuse(self, *_: object) -> None:
        raise unclear()


def in_png_text(kind: bytes, body: bytes) -> int | None:
    """What a chunk tEXt, zTXt or iTXt says, if it is one of those that hold Exif or XMP. Raises ImageRefused."""
    keyword, _, rest = body.partition(b"\0")
    raw = _RAW_PROFILE.fullmatch(keyword)
    if keyword != _XMP_KEYWORD and raw is None:
        return None
    text = png_text(kind, rest)
    if raw is None:
        return in_xmp(text)
    shape = _RAW_TEXT.fullmatch(text)
    if shape is None:
        raise unclear()
    digits = b"".join(shape[2].split())
    if len(digits) != 2 * int(shape[1]):
        raise unclear()
    profile = bytes.fromhex(digits.decode())
    if profile.startswith(_XMP_HEAD) or raw[1].lower() == b"xmp":
        return in_xmp(profile.removeprefix(_XMP_HEAD))
    return in_tiff(profile)


def in_png_property(kind: bytes, body: bytes) -> int | None:
    """What a chunk tEXt, zTXt or iTXt says whose keyword is the orientation itself. Raises ImageRefused."""
    keyword, _, rest = body.partition(b"\0")
    if keyword.strip().lower() not in _ORIENTATION_KEYWORDS:
        return None
    return _stated(png_text(kind, rest).decode("ascii", "replace"))


def png_text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk, behind its keyword, decompressed."""
    packed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        *_, rest = rest[2:].split(b"\0", 2) if rest[2:].count(b"\0") >= 2 else [b""]  # language, keyword
    if not packed:
        return rest
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(rest, _MOST_TEXT_BYTES)
    except zlib.error:
        raise unclear() from None
    if not inflate.eof:
        raise unclear()
    return text
