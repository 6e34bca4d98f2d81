"""Damaged image files are refused, wherever the damage lies; sound files of every kind are read."""

import random
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.pipelines.image_file import ImageRefused, decode_image, read_image
from models.pipelines.jpeg_file import decode_jpeg
from tests.unit.models.example_images import (
    Pixels,
    chunk,
    gradient,
    jpeg,
    noise,
    png,
    raw_png,
    refused,
    saved,
)

SMOOTH = Image.fromarray(noise(160, 120)).filter(ImageFilter.GaussianBlur(3))
COLOUR = Image.merge("RGB", [SMOOTH, SMOOTH.transpose(Image.Transpose.ROTATE_180), SMOOTH])
JPEGS: dict[str, bytes] = {
    "grey": saved(SMOOTH, "JPEG"),
    "fine": saved(SMOOTH, "JPEG", quality=97),
    "progressive": saved(SMOOTH, "JPEG", progressive=True),
    "colour": saved(COLOUR, "JPEG"),
    "progressive colour": saved(COLOUR, "JPEG", progressive=True),
    "restart markers": saved(COLOUR, "JPEG", restart_marker_blocks=4),
}
ROWS = b"".join(b"\0" + row.tobytes() for row in gradient(40, 30))
Damage = Callable[[bytes, int, random.Random], bytes]


def pixels_of(file: bytes) -> Pixels:
    return np.asarray(decode_image(read_image(file), "L"))


def code_of(file: bytes) -> str:
    return refused(file).partition(":")[0]


def scan_of(file: bytes) -> int:
    """Where the entropy-coded data of the first scan begin."""
    at = file.index(b"\xff\xda")
    return at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")


def scans_of(file: bytes) -> list[int]:
    return [found.start() for found in re.finditer(b"\xff\xda", file)]


@pytest.mark.parametrize("file", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_without_scan_data_is_damaged(file: bytes) -> None:
    assert code_of(file[: scan_of(file)] + b"\xff\xd9") == "damaged_image"
    assert code_of(file[: file.index(b"\xff\xda")] + b"\xff\xd9") == "damaged_image"


@pytest.mark.parametrize("file", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_cut_anywhere_in_its_scans_is_refused_whether_or_not_it_is_closed(file: bytes) -> None:
    for place in range(scan_of(file), len(file) - 3, 7):
        assert code_of(file[:place]) == "truncated_image"
        assert code_of(file[:place] + b"\xff\xd9") in {"damaged_image", "truncated_image"}


def zeroed(file: bytes, place: int, dice: random.Random) -> bytes:
    width = dice.choice((256, 512))
    return file[:place] + bytes(min(width, len(file) - 2 - place)) + file[place + width : -2] + b"\xff\xd9"


def dropped(file: bytes, place: int, dice: random.Random) -> bytes:
    return file[:place] + file[place + dice.choice((64, 256)) : -2] + b"\xff\xd9"


def overwritten(file: bytes, place: int, dice: random.Random) -> bytes:
    return file[:place] + dice.randbytes(256) + file[place + 256 : -2] + b"\xff\xd9"


@pytest.mark.parametrize("damage", [zeroed, dropped, overwritten])
def test_of_files_with_a_damaged_stretch_nearly_all_are_refused(damage: Damage) -> None:
    """Huffman codes find their way again now and then; what libjpeg takes for sound cannot be told from it."""
    dice, scored, tried = random.Random(5), 0, 0
    for file in JPEGS.values():
        sound = pixels_of(file)
        for _ in range(40):
            broken = damage(file, dice.randrange(scan_of(file), len(file) - 300), dice)
            tried += 1
            with suppress(ImageRefused):
                scored += not np.array_equal(pixels_of(broken), sound)
    assert scored <= tried * 0.05


def test_a_missing_restart_marker_is_damage() -> None:
    file = JPEGS["restart markers"]
    for marker in re.finditer(rb"\xff[\xd0-\xd7]", file[scan_of(file) :]):
        at = scan_of(file) + marker.start()
        assert code_of(file[:at] + file[at + 2 :]) == "damaged_image"


@pytest.mark.parametrize("name", ["progressive", "progressive colour"])
def test_a_progressive_jpeg_that_lacks_whole_scans_is_damaged(name: str) -> None:
    """libjpeg decodes it without a word, blurred or in other colours."""
    file = JPEGS[name]
    scans = scans_of(file)
    assert len(scans) > 4
    for at in scans[1:]:
        table = file.rfind(b"\xff\xc4", 0, at)  # each scan's codes stand before it
        assert code_of(file[:table] + b"\xff\xd9") == "damaged_image"


def test_a_jpeg_that_lacks_the_scan_of_a_component_is_damaged() -> None:
    file = JPEGS["colour"]
    at = file.index(b"\xff\xda")
    alone = file[:at] + b"\xff\xda\0\x08\x01\x01\x00\x00\x3f\x00" + file[scan_of(file) :]
    assert code_of(alone) == "damaged_image"


def test_each_coefficient_must_be_sent_to_its_last_bit() -> None:
    """The last scan of DC is taken out; of AC the last coefficient or the last bit is left out of a scan's header."""
    file, why = JPEGS["progressive"], "damaged_image: The image is damaged (some of its scans are missing)"
    at = scans_of(file)
    assert file[at[4] + 7 : at[4] + 10] == b"\x00\x00\x10"
    assert refused(file[: at[4]] + file[file.rfind(b"\xff\xc4", 0, at[5]) :]).startswith(why)
    assert file[at[5] + 7 : at[5] + 10] == b"\x01\x3f\x10"
    assert refused(file[: at[5] + 8] + b"\x3e" + file[at[5] + 9 :]).startswith(why)
    assert refused(file[: at[5] + 9] + b"\x11" + file[at[5] + 10 :]).startswith(why)


def test_pixels_are_coded_in_blocks_of_all_colours_where_a_scan_has_all() -> None:
    file = JPEGS["colour"]
    at, codes = file.index(b"\xff\xda"), file[scan_of(file) : -2]
    scans = [b"\xff\xda\0\x08\1" + bytes([name, 0x11 * (name > 1), 0, 63, 0]) + codes for name in (1, 2, 3)]
    assert read_image(file).block == (16, 16)
    assert read_image(file[:at] + b"".join(scans) + file[-2:]).block == (8, 8)
    assert read_image(saved(COLOUR, "JPEG", subsampling=1)).block == (16, 8)
    assert read_image(JPEGS["grey"]).block == (8, 8)


@pytest.mark.parametrize(("file", "mode"), [(JPEGS["grey"], "L"), (JPEGS["colour"], "RGB")])
def test_a_jpeg_is_decoded_to_the_colours_that_it_has(file: bytes, mode: str) -> None:
    assert decode_jpeg(read_image(file)).mode == mode
    assert read_image(file).animated is False


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"quality": 1}, {"quality": 100}, {"subsampling": 0},
     {"subsampling": 1}, {"subsampling": 2}, {"subsampling": "4:1:1"}, {"restart_marker_rows": 1},
     {"restart_marker_blocks": 1}, {"keep_rgb": True}, {"comment": b"\xff\xd9"}, {"dpi": (300, 300)}],
    ids=lambda options: next(iter(options), "plain"),
)  # fmt: skip
@pytest.mark.parametrize("size", [(160, 120), (33, 57), (8, 8), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_sound_jpeg_of_any_kind_is_read_to_the_pixels_that_pillow_reads(
    options: dict[str, Any], size: tuple[int, int], mode: str
) -> None:
    file = saved(COLOUR.resize(size).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(BytesIO(file)).convert("L"))
    assert (pixels_of(file) == expected).all()
    assert (pixels_of(file + b"\0\0 what a scanner adds \xff\xd8\xff") == expected).all()


def test_a_jpeg_whose_colours_are_sampled_in_a_rare_way_is_called_unsupported_and_not_damaged() -> None:
    file = bytearray(JPEGS["colour"])
    frame = file.index(b"\xff\xc0")
    file[frame + 11], file[frame + 14] = 0x22, 0x21  # of the first and the second colour
    assert code_of(bytes(file)) == "unsupported_encoding"


def test_a_photo_with_a_film_behind_it_is_read() -> None:
    film = random.Random(1).randbytes(20_000_000)
    assert film.count(b"\xff\xda") > 200
    assert (pixels_of(JPEGS["grey"] + film) == pixels_of(JPEGS["grey"])).all()


def picture(colour: int, stream: bytes, *extra: tuple[bytes, bytes], depth: int = 8) -> bytes:
    """A PNG of 40 x 30 with the chunks `extra` between header and pixels."""
    file = raw_png(40, 30, stream, colour=colour, depth=depth)
    return file[:33] + b"".join(chunk(kind, body) for kind, body in extra) + file[33:]


def with_idat(*bodies: bytes, between: bytes = b"") -> bytes:
    """A grey PNG of 40 x 30 with these as its pixel chunks."""
    file = raw_png(40, 30, ROWS)
    return file[:33] + between.join(chunk(b"IDAT", body) for body in bodies) + chunk(b"IEND", b"")


PACKED = zlib.compress(ROWS)
PALETTE = bytes(range(256)) * 3
GOOD_PNG = raw_png(40, 30, ROWS)
RARE = "unsupported_encoding: This rare kind of PNG is not read: export it as plain PNG."
BAD_PNGS = {
    "a palette image without a palette": ("its palette is missing", picture(3, ROWS)),
    "pixels outside of the palette": (
        "pixels outside of its palette",
        picture(3, ROWS, (b"PLTE", bytes(30))),
    ),
    "one pixel outside of the palette": (
        "pixels outside of its palette",
        picture(3, ROWS, (b"PLTE", bytes(3 * int(max(ROWS))))),
    ),
    "a palette of 10 bytes": ("a palette of a wrong length", picture(3, ROWS, (b"PLTE", bytes(10)))),
    "an empty palette": ("a palette of a wrong length", picture(3, ROWS, (b"PLTE", b""))),
    "a palette of 257 colours": ("a palette of a wrong length", picture(3, ROWS, (b"PLTE", bytes(257 * 3)))),
    "a palette of more colours than bits tell": (
        "a palette of a wrong length",
        picture(3, bytes(21 * 30), (b"PLTE", bytes(51)), depth=4),
    ),
    "two palettes": (
        "a palette at the wrong place",
        picture(3, ROWS, (b"PLTE", PALETTE), (b"PLTE", PALETTE)),
    ),
    "a palette behind the pixels": (
        "a palette at the wrong place",
        picture(3, ROWS)[:-12] + chunk(b"PLTE", PALETTE) + chunk(b"IEND", b""),
    ),
    "transparency before the palette": (
        "its transparency does not fit it",
        picture(3, ROWS, (b"tRNS", bytes(5)), (b"PLTE", PALETTE)),
    ),
    "more transparency than colours": (
        "its transparency does not fit it",
        picture(3, ROWS, (b"PLTE", PALETTE), (b"tRNS", bytes(257))),
    ),
    "transparency of a wrong length": (
        "its transparency does not fit it",
        picture(0, ROWS, (b"tRNS", b"\0")),
    ),
    "a byte of transparency beside alpha": (
        "its transparency does not fit it",
        picture(4, bytes(81 * 30), (b"tRNS", b"\0")),
    ),
    "transparency beside alpha": (
        "its transparency does not fit it",
        picture(4, bytes(81 * 30), (b"tRNS", b"\0\0")),
    ),
    "pixels with a wrong checksum of their own": (
        "its pixels do not decompress",
        with_idat(PACKED[:-1] + bytes([PACKED[-1] ^ 1])),
    ),
    "pixels whose checksum is cut off": ("truncated_image", with_idat(PACKED[:-4])),
    "pixels cut short": ("truncated_image", with_idat(PACKED[:-40])),
    "a row too many": ("more pixels than its header says", with_idat(zlib.compress(ROWS + ROWS[:41]))),
    "a byte too many": ("more pixels than its header says", with_idat(zlib.compress(ROWS + b"\0"))),
    "a byte too few": ("truncated_image", with_idat(zlib.compress(ROWS[:-1]))),
    "something behind the pixels": ("something behind its pixels", with_idat(PACKED + b"x")),
    "pixels in two places": (
        "its pixels are not in one piece",
        with_idat(PACKED[:50], PACKED[50:], between=chunk(b"tEXt", b"k\0v")),
    ),
    "no pixels": ("no pixels", GOOD_PNG[:33] + chunk(b"IEND", b"")),
    "an unknown filter": ("The image cannot be decoded", raw_png(40, 30, ROWS[:41] + b"\x07" + ROWS[42:])),
    "an end that is not empty": ("an end that is not empty", GOOD_PNG[:-12] + chunk(b"IEND", b"x")),
    "no end": ("truncated_image", GOOD_PNG[:-12]),
    "a depth that its colours do not have": ("a header without meaning", picture(2, ROWS, depth=4)),
    "another compression": (
        RARE,
        GOOD_PNG[:8] + chunk(b"IHDR", GOOD_PNG[16:26] + b"\1\0\0") + GOOD_PNG[33:],
    ),
    "another filtering": (
        RARE,
        GOOD_PNG[:8] + chunk(b"IHDR", GOOD_PNG[16:26] + b"\0\x40\0") + GOOD_PNG[33:],
    ),
    "another interlacing": (
        RARE,
        GOOD_PNG[:8] + chunk(b"IHDR", GOOD_PNG[16:26] + b"\0\0\2") + GOOD_PNG[33:],
    ),
    "a chunk of somebody's own that must be understood": (
        RARE,
        picture(0, ROWS, (b"Abcd", b"")),
    ),
    "a chunk that must be understood": (RARE, picture(0, ROWS, (b"ABCD", b""))),
}


@pytest.mark.parametrize(("reason", "file"), BAD_PNGS.values(), ids=BAD_PNGS)
def test_a_png_that_breaks_its_format_is_refused_with_the_reason(reason: str, file: bytes) -> None:
    assert reason in refused(file)


def test_a_png_damaged_at_any_byte_is_refused_or_scored_as_it_was() -> None:
    file, dice = png(noise(20, 20)), random.Random(3)
    sound = pixels_of(file)
    for place in range(8, len(file)):
        broken = bytearray(file)
        broken[place] ^= 1 << dice.randrange(8)
        with suppress(ImageRefused):
            assert (pixels_of(bytes(broken)) == sound).all()


@pytest.mark.parametrize(
    "file",
    [
        picture(3, ROWS, (b"PLTE", bytes(range(256)) * 3)),
        picture(3, bytes(41 * 30), (b"PLTE", bytes(3))),
        picture(3, bytes(6 * 30), (b"PLTE", bytes(6)), depth=1),
        picture(3, ROWS, (b"PLTE", bytes(range(256)) * 3), (b"tRNS", b"\xff" * 3)),
        picture(0, ROWS, (b"PLTE", bytes(30))),
        picture(0, ROWS, (b"gAMA", b"\0\0\xb1\x8f"), (b"sBIT", b"\x08"), (b"pHYs", bytes(9))),
        with_idat(PACKED[:50], b"", PACKED[50:]),
        raw_png(40, 30, ROWS) + b"what a server adds",
        png(gradient(40, 30), compress_level=0),
        saved(Image.fromarray(gradient(40, 30)).convert("1"), "PNG"),
        saved(Image.fromarray(gradient(40, 30)).quantize(5), "PNG"),
        saved(Image.fromarray(gradient(40, 30)).quantize(16), "PNG", bits=4),
    ],
)
def test_a_sound_png_of_any_kind_is_read_to_the_pixels_that_pillow_reads(file: bytes) -> None:
    assert pixels_of(file).shape == (30, 40)
    with Image.open(BytesIO(file)) as image:
        assert (pixels_of(file) == np.asarray(image.convert("RGBA").convert("L"))).all()


def test_a_png_too_large_to_be_held_unpacked_is_read_and_refused_alike() -> None:
    rows = np.zeros((4200, 4201), np.uint8)
    rows[:, 1:] = np.arange(4200) % 251
    stream = rows.tobytes()
    assert (pixels_of(raw_png(4200, 4200, stream)) == rows[:, 1:]).all()
    assert code_of(raw_png(4200, 4200, stream + b"\0")) == code_of(raw_png(40, 30, ROWS + b"\0"))
    assert code_of(raw_png(4200, 4200, stream[:-1])) == code_of(raw_png(40, 30, ROWS[:-1]))


@pytest.mark.parametrize("file", [raw_png(8, 8, b"\0\0" * 8, colour=3, depth=1), jpeg(gradient(8, 8))[:-30]])
def test_a_refusal_shows_nothing_of_what_a_decoder_said(file: bytes) -> None:
    with pytest.raises(ImageRefused) as caught:
        pixels_of(file)
    assert caught.value.__cause__ is None


def test_a_header_tells_how_many_colours_its_palette_has() -> None:
    sizes = {
        256: picture(3, ROWS, (b"PLTE", PALETTE)),
        1: picture(3, ROWS, (b"PLTE", bytes(3))),
        10: picture(0, ROWS, (b"PLTE", bytes(30))),
        0: GOOD_PNG,
    }
    assert [read_image(file).palette_size for file in sizes.values()] == list(sizes)
