"""PNG files: what their chunks say, and their pixels (W3C Recommendation, 3rd edition).

Everything that libpng would warn about is refused: checksums, order, number and length of chunks, and a pixel stream that is
not exactly as long as the header says. Pillow, which decodes the pixels, ignores most of this.
"""

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Final, NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from models.pipelines.image_header import (
    MOST_PARTS,
    PNG,
    Colour,
    ImageFile,
    ImageRefused,
    damaged,
    truncated,
    unsupported,
)
from models.pipelines.orientation import agreed, in_png_property, in_png_text, in_tiff, png_text, unclear
from models.pipelines.png_colour import check_colour
from models.pipelines.synthetic_marks import is_marked

_COLOURS: Final[dict[int, Colour]] = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_TRANSPARENCY_BYTES: Final = {0: 2, 2: 6}
_PALETTE: Final = 3
# The seven passes of an interlaced image: left, top, step across, step down.
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_CRITICAL: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_KEPT: Final = _CRITICAL | {b"tRNS"}
_TEXTS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_BLOCK_BYTES: Final = 1 << 20
_UNPACKED_BYTES: Final = 16 << 20  # of pixels that are held decompressed, and so are decompressed once


class _Chunk(NamedTuple):
    """A part of a PNG file; `whole` has its length, kind, body and checksum."""

    kind: bytes
    body: bytes
    whole: bytes


class _Header(NamedTuple):
    """The fields of IHDR."""

    width: int
    height: int
    bit_depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int


def read_png(content: bytes) -> ImageFile:
    """The header of a PNG file; no pixel is decoded. Raises ImageRefused."""
    chunks = _chunks(content)
    header = _header(chunks)
    _check_order(chunks)
    palette_size = _palette_size(chunks, header)
    check_colour((chunk.kind, chunk.body) for chunk in chunks)
    return ImageFile(
        format="PNG",
        width=header.width,
        height=header.height,
        bit_depth=header.bit_depth,
        colour=_COLOURS[header.colour],
        animated=any(chunk.kind == b"acTL" for chunk in chunks),
        orientation=_orientation(chunks),
        scanline_bytes=_scanline_bytes(header),
        palette_size=palette_size,
        synthetic=any(map(is_marked, _texts(chunks))),
        content=PNG + b"".join(chunk.whole for chunk in chunks if chunk.kind in _KEPT),
    )


def decode_png(image: ImageFile) -> Image.Image:
    """Every pixel, as stored. Raises ImageRefused, and what Pillow raises."""
    pixels = PngImageFile(BytesIO(_counted(image)))
    pixels.load()
    if image.colour == "palette":
        _, most = pixels.getextrema()
        if not isinstance(most, int | float) or most >= image.palette_size:
            raise damaged("pixels outside of its palette")
    return pixels


def _chunks(content: bytes) -> list[_Chunk]:
    """The chunks up to IEND. Checks the checksum of each."""
    chunks: list[_Chunk] = []
    start = len(PNG)
    while len(chunks) < MOST_PARTS:
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            raise truncated()
        whole = content[start:end]
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            raise damaged("a checksum is wrong")
        chunks.append(_Chunk(whole[4:8], whole[8:-4], whole))
        if chunks[-1].kind == b"IEND":
            return chunks
        start = end
    raise damaged("too many parts")


def _header(chunks: list[_Chunk]) -> _Header:
    if [chunk.kind for chunk in chunks].count(b"IHDR") != 1 or chunks[0].kind != b"IHDR":
        raise damaged("not exactly one header")
    if len(chunks[0].body) != 13:
        raise damaged("a header of another length")
    header = _Header(*struct.unpack(">IIBBBBB", chunks[0].body))
    if not (header.width and header.height) or header.bit_depth not in _DEPTHS.get(header.colour, ()):
        raise damaged("a header without meaning")
    if header.compression or header.filtering or header.interlace > 1:
        raise unsupported("PNG")
    return header


def _check_order(chunks: list[_Chunk]) -> None:
    """Refuse chunks at a wrong place, and unknown chunks that decoders must not skip."""
    kinds = [chunk.kind for chunk in chunks]
    if any(kind not in _CRITICAL and kind[:1].isupper() for kind in kinds):
        raise unsupported("PNG")
    if b"IDAT" not in kinds:
        raise damaged("no pixels")
    first = kinds.index(b"IDAT")
    if kinds[first : first + kinds.count(b"IDAT")].count(b"IDAT") != kinds.count(b"IDAT"):
        raise damaged("its pixels are not in one piece")
    for kind in (b"PLTE", b"tRNS"):
        if kinds.count(kind) > 1 or kind in kinds[first:]:
            raise damaged("a palette at the wrong place")
    if chunks[-1].body:
        raise damaged("an end that is not empty")


def _palette_size(chunks: list[_Chunk], header: _Header) -> int:
    """How many colours the palette has; 0 without one. Refuses a palette or transparency of a wrong length."""
    bodies = {chunk.kind: chunk.body for chunk in chunks}
    kinds = [chunk.kind for chunk in chunks]
    palette, clear = bodies.get(b"PLTE"), bodies.get(b"tRNS")
    size = 0 if palette is None else len(palette) // 3
    if header.colour == _PALETTE and palette is None:
        raise damaged("its palette is missing")
    if palette is not None and (len(palette) % 3 or not 1 <= size <= 256):
        raise damaged("a palette of a wrong length")
    if header.colour == _PALETTE and size > 2**header.bit_depth:
        raise damaged("a palette of a wrong length")
    if clear is None:
        return size
    if header.colour == _PALETTE:
        sound = 0 < len(clear) <= size and kinds.index(b"PLTE") < kinds.index(b"tRNS")
    else:
        sound = len(clear) == _TRANSPARENCY_BYTES.get(header.colour, -1)
    if not sound:
        raise damaged("its transparency does not fit it")
    return size


def _texts(chunks: list[_Chunk]) -> Iterator[bytes]:
    """What the chunks of text say: keyword, a zero byte, and the text, but for one that cannot be read."""
    for chunk in chunks:
        if chunk.kind in _TEXTS:
            keyword, _, rest = chunk.body.partition(b"\0")
            with suppress(ImageRefused):
                yield keyword + b"\0" + png_text(chunk.kind, rest)


def _orientation(chunks: list[_Chunk]) -> int:
    """The orientation on which the chunks agree. Raises ImageRefused.

    A text named Orientation by itself is ignored: viewers ignore it, and ImageMagick keeps it after turning the pixels.
    """
    texts = [chunk for chunk in chunks if chunk.kind in _TEXTS]
    statements = [in_tiff(chunk.body) for chunk in chunks if chunk.kind == b"eXIf"]
    statements += [in_png_text(chunk.kind, chunk.body) for chunk in texts]
    orientation = agreed([*statements, *(in_png_property(chunk.kind, chunk.body) for chunk in texts)])
    if orientation != agreed(statements):
        raise unclear()
    return orientation


def _scanline_bytes(header: _Header) -> int:
    """Length of the pixel stream: a filter byte a row, rows of `bits` a pixel filled up to whole bytes."""
    bits = header.bit_depth * _SAMPLES[header.colour]
    passes = _ADAM7 if header.interlace else ((0, 0, 1, 1),)
    sizes = (
        (-((left - header.width) // across), -((top - header.height) // down))
        for left, top, across, down in passes
    )
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _counted(image: ImageFile) -> bytes:
    """The file, once its pixel stream is as long as the header says; a small one without compression, to be read faster.

    Raises ImageRefused.
    """
    chunks = _chunks(image.content)
    packed = b"".join(chunk.body for chunk in chunks if chunk.kind == b"IDAT")
    if image.scanline_bytes > _UNPACKED_BYTES:
        deque(_scanlines(image, packed), maxlen=0)
        return image.content
    store = zlib.compressobj(0)
    pixels = b"".join([*map(store.compress, _scanlines(image, packed)), store.flush()])
    others = [chunk.whole for chunk in chunks[:-1] if chunk.kind != b"IDAT"]
    no_checksum = bytes(4)  # Pillow does not compare that of pixels
    written = (len(pixels).to_bytes(4, "big"), b"IDAT", pixels, no_checksum, chunks[-1].whole)
    return b"".join([PNG, *others, *written])


def _scanlines(image: ImageFile, packed: bytes) -> Iterator[bytes]:
    """The pixel stream in blocks. Refuses one that is shorter or longer than the header says, or whose checksum is wrong.

    Pillow fills missing pixels with black without a warning.
    """
    inflate = zlib.decompressobj()
    found = 0
    try:
        while not inflate.eof:
            block = inflate.decompress(packed, _BLOCK_BYTES)
            found, packed = found + len(block), inflate.unconsumed_tail
            if found > image.scanline_bytes:
                raise damaged("more pixels than its header says")
            if not (block or packed or inflate.eof):
                raise truncated()
            yield block
    except zlib.error:
        raise damaged("its pixels do not decompress") from None
    if found < image.scanline_bytes:
        raise truncated()
    if inflate.unused_data:
        raise damaged("something behind its pixels")
