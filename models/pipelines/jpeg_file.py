"""JPEG files: what their segments say, and their pixels (ITU-T T.81; Exif 2.32; XMP part 3).

Pixels are decoded by libjpeg-turbo through simplejpeg, which raises libjpeg's warnings: data that end early, extra bytes,
invalid codes, missing restart markers. Pillow hides all of them. This module detects what libjpeg does not: missing scans,
invalid tables (jpeg_tables), and the seam of a loss after which the codes make sense again (jpeg_seams). Other losses of this
kind cannot be detected, because JPEG has no checksums.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from models.field_codes import FieldCode
from models.pipelines.image_header import (
    MOST_PARTS,
    Colour,
    ImageFile,
    ImageRefused,
    damaged,
    truncated,
    unsupported,
)
from models.pipelines.jpeg_seams import has_seam
from models.pipelines.jpeg_tables import check_tables
from models.pipelines.orientation import agreed, in_exif_segments, in_xmp, unclear
from models.pipelines.synthetic_marks import is_marked

_COLOURS: Final[dict[int, Colour]] = {1: "grey", 3: "rgb", 4: "cmyk"}
_FRAMES: Final = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}  # C4, C8, CC start no frame
_HUFFMAN: Final = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive: what decoders read
_PROGRESSIVE: Final = 0xC2
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_START, _END, _SCAN, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
# Application segments and comments, but for JFIF (E0) and Adobe (EE), which say how colours are stored.
_METADATA: Final = (frozenset(range(0xE0, 0xF0)) | {0xFE}) - {0xE0, 0xEE}
_AFTER_SCAN: Final = re.compile(
    rb"\xff+(?![\x00\xff\xd0-\xd7])"
)  # FF 00 and restart markers belong to the scan

_EXIF: Final = b"Exif\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE: Final = b"http://ns.adobe.com/xmp/extension/\0"
_XMP_MORE_HEAD: Final = struct.Struct(">32sII")  # whose packet, its length, where this piece stands in it

_MOST_SAMPLES: Final = 4  # of a component, across or down
_MOST_SCANS: Final = 100  # honest files have a dozen; a scan costs a pass over all pixels


class _Segment(NamedTuple):
    """A part of a JPEG file; `whole` has its marker and length too, and of a scan its pixels."""

    marker: int
    body: bytes
    whole: bytes


class _Frame(NamedTuple):
    """A frame header; `components` are their ids, `quantisation` the number of the table of each.

    `block` is how many pixels across and down are coded together where a scan has all components.
    """

    marker: int
    bit_depth: int
    height: int
    width: int
    components: tuple[int, ...]
    quantisation: tuple[int, ...]
    block: tuple[int, int]


def read_jpeg(content: bytes) -> ImageFile:
    """The header of a JPEG file; no pixel is decoded. Raises ImageRefused."""
    segments = _segments_of(content)
    if [segment.marker for segment in segments].count(_SCAN) > _MOST_SCANS:
        raise unsupported("JPEG")
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1:
        raise damaged("not exactly one header")
    frame = _frame(frames[0])
    scans = [segment.body for segment in segments if segment.marker == _SCAN]
    _check_scans(frame, scans)
    check_tables(
        ((segment.marker, segment.body) for segment in segments),
        dict(zip(frame.components, frame.quantisation, strict=True)),
        progressive=frame.marker == _PROGRESSIVE,
    )
    return ImageFile(
        format="JPEG",
        width=frame.width,
        height=frame.height,
        bit_depth=frame.bit_depth,
        colour=_COLOURS[len(frame.components)],
        animated=False,
        orientation=_orientation([segment.body for segment in segments if segment.marker == _APP1]),
        synthetic=any(is_marked(segment.body) for segment in segments if segment.marker in _METADATA),
        block=frame.block if scans[0][0] > 1 else (8, 8),
        content=b"\xff\xd8"
        + b"".join(part.whole for part in segments if part.marker not in _METADATA)
        + b"\xff\xd9",
    )


def decode_jpeg(image: ImageFile) -> Image.Image:
    """Every pixel, as stored. Raises ImageRefused, and what simplejpeg and Pillow raise."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(image.content, strict=True)
    except ValueError:
        JpegImageFile(
            BytesIO(image.content)
        ).load()  # it reads colours of any resolution, and raises of damage
        raise unsupported("JPEG") from None
    if (width, height) != (image.width, image.height):
        raise damaged("its headers contradict each other")
    grey = image.colour == "grey"
    pixels = simplejpeg.decode_jpeg(image.content, colorspace="GRAY" if grey else "RGB", strict=True)
    pixels = np.asarray(pixels)[..., 0] if grey else np.asarray(pixels)
    if has_seam(pixels, *image.block):
        raise ImageRefused(
            FieldCode.DAMAGED_IMAGE,
            "The image is damaged (from one place on its brightness or colour is shifted, as where data were lost): "
            "export it again. Where it looks right, send it as PNG.",
        )
    return Image.fromarray(pixels)


def _segments_of(content: bytes) -> list[_Segment]:
    """The segments of the image. Too many scans are reported as such even if they are damaged."""
    try:
        return list(_segments(content))
    except ImageRefused:
        if content.count(b"\xff\xda") > _MOST_SCANS:
            raise unsupported("JPEG") from None
        raise


def _segments(content: bytes) -> Iterator[_Segment]:
    """The segments up to the end of the image, scans with their pixels. Later bytes do not belong to the image."""
    start = 2
    for _ in range(MOST_PARTS):
        start = _skip_padding(content, start)
        marker = content[start]
        if marker == _END:
            return
        if marker == _START:
            raise damaged("a second image within the first")
        length = 0 if marker in _ALONE else int.from_bytes(content[start + 1 : start + 3], "big")
        if length == 1 or (length == 0 and marker not in _ALONE):
            raise damaged("a segment without a length") if start + 3 <= len(content) else truncated()
        body_end = end = start + 1 + length
        if marker == _SCAN:
            following = _AFTER_SCAN.search(content, end)
            end = following.start() if following is not None else len(content) + 1
        if end > len(content):
            raise truncated()
        yield _Segment(marker, content[start + 3 : body_end], content[start - 1 : end])
        start = end
    raise damaged("too many parts")


def _skip_padding(content: bytes, start: int) -> int:
    """Where the second byte of the marker at `start` is: any number of FF bytes may come first."""
    if start < len(content) and content[start] != 0xFF:
        raise damaged("a segment where none can be")
    while start < len(content) and content[start] == 0xFF:
        start += 1
    if start == len(content):
        raise truncated()
    return start


def _frame(segment: _Segment) -> _Frame:
    body = segment.body
    if segment.marker not in _HUFFMAN:
        raise unsupported("JPEG")
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise damaged("a header of another length")
    bit_depth, height, width, _ = struct.unpack_from(">BHHB", body)
    components = tuple(body[6::3])
    if not (width and height and len(components) in _COLOURS and len(set(components)) == len(components)):
        raise damaged("a header without meaning")
    samplings, quantisation = body[7::3], tuple(body[8::3])
    if not all(1 <= factor <= _MOST_SAMPLES for both in samplings for factor in divmod(both, 16)):
        raise damaged("a header without meaning")
    block = (8 * max(both >> 4 for both in samplings), 8 * max(both & 0x0F for both in samplings))
    if len(components) == 1:
        block = (8, 8)  # T.81, A.2.2: its samples are not interleaved
    return _Frame(segment.marker, bit_depth, height, width, components, quantisation, block)


def _check_scans(frame: _Frame, scans: Sequence[bytes]) -> None:
    """Refuse an image with missing scans: libjpeg replaces their content without a warning.

    A progressive image is complete if each coefficient of each component was sent to its last bit (T.81, G.1.1.1).
    """
    missing = dict.fromkeys(((name, place) for name in frame.components for place in range(64)), True)
    for body in scans:
        count = body[0] if body else 0
        names = body[1 : 1 + 2 * count : 2]
        known = len(set(names)) == count and set(names) <= set(frame.components)
        if not count or len(body) != 4 + 2 * count or not known:
            raise damaged("a scan without meaning")
        first, last, bits = body[-3:]
        if frame.marker != _PROGRESSIVE:
            first, last, bits = 0, 63, 0
        for name in names:
            missing |= dict.fromkeys(((name, place) for place in range(first, last + 1)), bool(bits & 0x0F))
    if any(missing.values()):
        raise damaged("some of its scans are missing")


def _orientation(bodies: Sequence[bytes]) -> int:
    blocks = [body[6:] for body in bodies if body.startswith(_EXIF)]
    statements = in_exif_segments(blocks)  # a block that does not fit into one segment goes on in the next
    statements += [in_xmp(body[len(_XMP) :]) for body in bodies if body.startswith(_XMP)]
    statements += [in_xmp(packet) for packet in _extended_xmp(bodies)]
    return agreed(statements)


def _extended_xmp(bodies: Sequence[bytes]) -> list[bytes]:
    """The packets that do not fit into one segment, put together from their pieces."""
    packets: dict[bytes, dict[int, bytes]] = {}
    for body in bodies:
        if body.startswith(_XMP_MORE):
            piece = body[len(_XMP_MORE) :]
            if len(piece) < _XMP_MORE_HEAD.size:
                raise unclear()
            name, _, place = _XMP_MORE_HEAD.unpack_from(piece)
            packets.setdefault(name, {})[place] = piece[_XMP_MORE_HEAD.size :]
    return [b"".join(pieces[place] for place in sorted(pieces)) for pieces in packets.values()]
