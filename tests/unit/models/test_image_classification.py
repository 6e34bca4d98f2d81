"""Image files: which are taken, what becomes of their pixels, and every way to refuse one."""

import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from models.manifest import ManifestInvalid
from models.pipelines import InputRejected, RowFault
from models.pipelines.image_file import ImageRefused, decode_image, read_image
from tests.unit.models.example_bundles import manifest, single_pass
from tests.unit.models.example_images import (
    Pixels,
    chunk,
    gradient,
    inserted,
    jpeg,
    noise,
    png,
    raw_png,
    saved,
)

PIPELINE = single_pass(manifest("image-classification", size=8, max_pixels=10_000))
COLOUR = single_pass(manifest("image-classification", size=8, channels=3))
GREY = gradient(40, 30)
IMAGE = Image.fromarray(GREY)


def faults(file: object, **parameters: Any) -> dict[str, str]:
    """What `file` is refused for: code -> detail."""
    pipeline = single_pass(manifest("image-classification", **parameters)) if parameters else PIPELINE
    with pytest.raises(InputRejected) as caught:
        pipeline.encode(file)
    assert {fault.pointer for fault in caught.value.faults} == {""}
    return {fault.code: fault.detail for fault in caught.value.faults}


def codes(file: object, **parameters: Any) -> list[str]:
    """The codes of the faults `file` is refused with; each says what to do."""
    found = faults(file, **parameters)
    assert all(re.fullmatch(r"[A-Z][^:]+(: [^:]+)?\.", detail) for detail in found.values())
    return list(found)


def scored(file: bytes) -> Pixels:
    """What the graph would see of `file`, as grey values [8,8]."""
    feed = PIPELINE.preprocess([PIPELINE.encode(file)])["image"]
    values: Pixels = np.rint(feed[0, 0] * 255).astype(np.uint8)
    return values


@pytest.mark.parametrize("file", [png(GREY), jpeg(GREY), jpeg(GREY, progressive=True)])
def test_the_stored_input_is_the_file_as_it_was_sent(file: bytes) -> None:
    assert PIPELINE.encode(file) == file


def test_the_feed_is_float32_between_0_and_1() -> None:
    square = np.full((8, 8), 255, np.uint8)
    square[0, 0] = 0
    feed = PIPELINE.preprocess([png(square), png(GREY)])["image"]
    assert feed.shape == (2, 1, 8, 8)
    assert feed.dtype == np.float32
    assert (feed.min(), feed.max()) == (0.0, 1.0)


def test_an_image_of_the_graphs_size_is_not_touched() -> None:
    square = noise(8, 8)
    assert (scored(png(square)) == square).all()


def test_the_square_in_the_centre_is_scored() -> None:
    for shape in ((8, 20), (20, 8)):
        canvas = np.zeros(shape, np.uint8)
        top, left = (shape[0] - 8) // 2, (shape[1] - 8) // 2
        canvas[top : top + 8, left : left + 8] = noise(8, 8)
        assert (scored(png(canvas)) == noise(8, 8)).all()


def test_shrinking_averages_and_does_not_pick_single_pixels() -> None:
    chequered = ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
    assert np.abs(scored(png(chequered)).astype(int) - 127).max() <= 2


def test_colours_become_grey_by_their_luma() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert (scored(png(red)) == 76).all()  # ITU-R 601: 0.299 of 255


def test_a_colour_pipeline_keeps_three_channels_first() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    feed = COLOUR.preprocess([COLOUR.encode(png(red))])["image"]
    assert (feed[0, 0] == 1).all()
    assert (feed[0, 1:] == 0).all()


@pytest.mark.parametrize("mode", ["P", "1", "LA", "RGBA", "RGB"])
def test_other_ways_to_store_the_same_pixels_are_scored_alike(mode: str) -> None:
    black_and_white = ((noise(8, 8) > 127) * 255).astype(np.uint8)
    file = saved(Image.fromarray(black_and_white).convert(mode), "PNG")
    assert (scored(file) == black_and_white).all()


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_image_is_turned_as_its_exif_says(orientation: int, order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    square = noise(8, 8)
    file = inserted(png(square), 33, chunk(b"eXIf", mark + directory))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(file))))
    assert (scored(file) == upright).all()


def test_a_jpeg_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = jpeg(gradient(8, 8), exif=exif.tobytes(), quality=95)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(file))))
    assert (scored(file) == upright).all()
    assert (scored(file) != scored(jpeg(gradient(8, 8), quality=95))).any()


@pytest.mark.parametrize("exif", [b"", bytes(20), b"MM\0*\0\0\0\x08\0\0"])
def test_exif_that_says_nothing_neither_turns_nor_warns(exif: bytes) -> None:
    square = noise(8, 8)
    assert (scored(inserted(png(square), 33, chunk(b"eXIf", exif))) == square).all()
    body = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    plain = jpeg(square)
    assert (scored(inserted(plain, 2, segment)) == scored(plain)).all()


def interlaced(pixels: Pixels) -> bytes:
    """The Adam7 stream of grey `pixels`, before compression."""
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    parts = (pixels[top::down, left::across] for left, top, across, down in passes)
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (30, 8), (1, 9), (4, 4), (9, 1), (5, 2)])
def test_an_interlaced_png_is_read(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    file = raw_png(*shape, interlaced(pixels), interlaced=1)
    assert (np.asarray(decode_image(read_image(file), "L")) == pixels).all()


def test_an_interlaced_png_with_a_pixel_too_few_is_truncated() -> None:
    assert codes(raw_png(9, 13, interlaced(noise(9, 13))[:-1], interlaced=1)) == ["truncated_image"]


def bomb() -> bytes:
    """A PNG of 900 million pixels in a few hundred bytes."""
    return raw_png(30_000, 30_000, b"\0" * 1000)


def transparent() -> Image.Image:
    image = IMAGE.convert("LA")
    image.putalpha(200)
    return image


def reframed(marker: int, precision: int = 8) -> bytes:
    """A JPEG whose frame header is of another kind."""
    plain = jpeg(GREY)
    at = plain.index(b"\xff\xc0")
    return plain[:at] + bytes((0xFF, marker)) + plain[at + 2 : at + 4] + bytes((precision,)) + plain[at + 5 :]


PLAIN_JPEG = jpeg(GREY)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (b"", "not_an_image"),
        (b"hello", "not_an_image"),
        (saved(IMAGE, "GIF"), "not_an_image"),
        (saved(IMAGE, "TIFF"), "not_an_image"),
        (saved(IMAGE, "WEBP"), "not_an_image"),
        (png(GREY)[:8], "truncated_image"),
        (png(GREY)[:40], "truncated_image"),
        (png(GREY)[:-1], "truncated_image"),
        (png(GREY)[:-12], "truncated_image"),
        (PLAIN_JPEG[:3], "truncated_image"),
        (PLAIN_JPEG[:30], "truncated_image"),
        (PLAIN_JPEG[: len(PLAIN_JPEG) // 2], "truncated_image"),
        (PLAIN_JPEG[:-2], "truncated_image"),
        (raw_png(40, 30, b"\0" * (41 * 29)), "truncated_image"),
        (png(GREY)[:-1] + b"\0", "damaged_image"),
        (png(GREY).replace(b"IDAT\x78", b"IDAT\x79", 1), "damaged_image"),
        (raw_png(40, 30, b"\x09" * (41 * 30)), "damaged_image"),
        (raw_png(0, 30, b""), "damaged_image"),
        (raw_png(40, 30, b"\0" * (41 * 30), colour=5), "damaged_image"),
        (raw_png(40, 30, b"\0" * (41 * 30), depth=3), "damaged_image"),
        (inserted(png(GREY), 33, png(GREY)[8:33]), "damaged_image"),
        (inserted(png(GREY), 8, chunk(b"CgBI", b"")), "damaged_image"),
        (png(GREY)[:33] + chunk(b"IDAT", b"no zlib stream") + chunk(b"IEND", b""), "damaged_image"),
        (inserted(PLAIN_JPEG, 2, b"junk"), "not_an_image"),
        (inserted(PLAIN_JPEG, 20, b"junk"), "damaged_image"),
        (PLAIN_JPEG.replace(b"\xff\xc0", b"\xff\xfe", 1), "damaged_image"),
        (PLAIN_JPEG.replace(b"\xff\xdb", b"\xff\xfe"), "damaged_image"),
        (bomb(), "image_too_large"),
        (raw_png(2**31, 30, b"\0" * 1000), "image_too_large"),
        (png(gradient(101, 100)), "image_too_large"),
        (png(gradient(7, 100)), "image_too_small"),
        (png(GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)]), "animated_image"),
        (saved(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), "unsupported_bit_depth"),
        (reframed(0xC1, precision=12), "unsupported_bit_depth"),
        (reframed(0xC3), "unsupported_encoding"),
        (reframed(0xC9), "unsupported_encoding"),
        (PLAIN_JPEG[:-2] + b"\xff\xda" * 200 + b"\xff\xd9", "unsupported_encoding"),
        (saved(IMAGE.convert("CMYK"), "JPEG"), "unsupported_color"),
        (saved(transparent(), "PNG"), "transparent_image"),
        (saved(transparent().convert("RGBA"), "PNG"), "transparent_image"),
        (saved(IMAGE, "PNG", transparency=int(GREY[0, 0])), "transparent_image"),
        (saved(IMAGE.convert("P"), "PNG", transparency=bytes(256)), "transparent_image"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_with_the_reason(file: object, code: str) -> None:
    assert codes(file) == [code]


@pytest.mark.parametrize("value", ["text", None, {"data": "AAAA"}])
def test_what_is_no_file_is_refused(value: object) -> None:
    assert faults(value) == {"wrong_type": 'Send one file, as {"data": base64} or {"upload_id": id}.'}


def test_a_file_of_too_many_bytes_is_refused_unread() -> None:
    assert faults(b"x" * 101, max_bytes=100) == {
        "file_too_large": "The file may have at most 100 bytes: export it smaller."
    }


def test_a_file_at_the_limits_of_the_manifest_is_taken() -> None:
    file = png(noise(100, 100))
    limits = {"size": 100, "max_pixels": 10_000, "max_bytes": len(file)}
    pipeline = single_pass(manifest("image-classification", **limits))
    assert pipeline.encode(file) == file


def test_a_format_the_model_does_not_take_is_refused() -> None:
    assert faults(jpeg(GREY), formats=["PNG"]) == {"wrong_format": "Send PNG."}
    assert faults(png(GREY), formats=["JPEG"]) == {"wrong_format": "Send JPEG."}


def taken(file: bytes, narrowest: float, widest: float) -> bytes:
    """`file`, if a manifest of these proportions takes it. Raises InputRejected."""
    table = {"narrowest": narrowest, "widest": widest}
    return single_pass(manifest("image-classification", size=8, proportions=table)).encode(file)


def test_a_strip_or_a_squashed_picture_is_refused_by_the_proportions_of_the_manifest() -> None:
    for width, height in ((80, 100), (100, 80), (90, 90)):
        file = png(gradient(width, height))
        assert taken(file, 0.8, 1.25) == file
    for width, height in ((79, 100), (100, 79), (300, 12)):
        strip = png(gradient(width, height))
        assert PIPELINE.encode(strip) == strip
        assert faults(strip, size=8, proportions={"narrowest": 0.8, "widest": 1.25}) == {
            "wrong_proportions": "The image must be 0.8 to 1.25 times as wide as high: send it as it was taken, or cut it, "
            "without squashing it."
        }


def test_proportions_are_those_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = saved(Image.fromarray(gradient(40, 60)), "JPEG", exif=exif.tobytes())
    assert taken(lying, 1, 1.5) == lying
    assert set(faults(lying, size=8, proportions={"narrowest": 0.66, "widest": 1})) == {"wrong_proportions"}


def test_all_that_a_header_tells_is_reported_together() -> None:
    deep = saved(Image.fromarray(np.zeros((4, 9000), np.uint16)), "PNG")
    assert faults(deep) == {
        "image_too_large": "The image may have at most 10000 pixels: export it smaller.",
        "image_too_small": "Each side must have at least 8 pixels: send the original image.",
        "unsupported_bit_depth": "More than 8 bits a sample need a window to be seen: apply it and send 8 bits.",
    }


def test_a_palette_whose_transparency_hides_nothing_is_read_without_a_warning() -> None:
    file = saved(IMAGE.convert("P"), "PNG", transparency=bytes([255] * 256))
    assert b"tRNS" in file
    assert (scored(file) == scored(png(GREY))).all()


@pytest.mark.parametrize(
    "file",
    [
        inserted(png(GREY), 33, chunk(b"tEXt", b"") * 100_000),
        inserted(PLAIN_JPEG, 2, b"\xff\xfe\0\2" * 100_000),
    ],
    ids=["PNG", "JPEG"],
)
def test_a_file_of_countless_parts_is_refused(file: bytes) -> None:
    assert codes(file) == ["damaged_image"]


def test_pixels_that_are_not_as_many_as_the_header_said_are_refused() -> None:
    image = replace(read_image(PLAIN_JPEG), width=39)
    with pytest.raises(ImageRefused, match="damaged_image"):
        decode_image(image, "L")


def test_a_phone_photo_with_a_second_picture_behind_is_read_as_its_first() -> None:
    file = saved(IMAGE, "MPO", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    assert (scored(file) == scored(jpeg(GREY))).all()


def test_metadata_never_reaches_the_decoder() -> None:
    icc = zlib.compress(b"\0" * 5_000_000)
    file = inserted(png(GREY), 33, chunk(b"iCCP", b"x\0\0" + icc) + chunk(b"zTXt", b"k\0\0" + icc))
    assert (scored(file) == scored(png(GREY))).all()


@given(
    st.binary(max_size=200),
    st.integers(0, 500),
    st.sampled_from([png(gradient(16, 16)), jpeg(gradient(16, 16))]),
)
def test_a_file_damaged_anywhere_is_read_or_refused_but_never_an_accident(
    junk: bytes, place: int, file: bytes
) -> None:
    broken = file[:place] + junk + file[place + len(junk) :]
    with suppress(InputRejected):
        PIPELINE.preprocess([PIPELINE.encode(broken)])


def test_a_stored_file_that_went_bad_is_named_by_its_row() -> None:
    good = png(GREY)
    with pytest.raises(RowFault) as caught:
        PIPELINE.preprocess([good, good[:-1]])
    assert (caught.value.index, caught.value.fault.code) == (1, "truncated_image")


def test_many_threads_may_share_one_pipeline() -> None:
    files = [png(noise(40, 30)), jpeg(GREY), bomb(), png(GREY)[:-5]] * 50

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, files)) == ["good", "good", "image_too_large", "truncated_image"] * 50


def outcome(file: bytes) -> str:
    try:
        PIPELINE.encode(file)
    except InputRejected as refusal:
        return refusal.faults[0].code
    return "good"


@pytest.mark.parametrize(
    ("parameters", "advice"),
    [
        ({"size": 0}, "parameters.size"),
        ({"channels": 2}, "parameters.channels"),
        ({"formats": ["GIF"]}, "parameters.formats"),
        ({"formats": []}, "parameters.formats"),
        ({"max_pixels": 10**9}, "parameters.max_pixels"),
        ({"max_pixels": 0}, "parameters.max_pixels"),
        ({"max_bytes": 0}, "parameters.max_bytes"),
        ({"size": 2049}, "parameters.size"),
        ({"proportions": {"narrowest": 1.1, "widest": 1.5}}, "parameters.proportions.narrowest"),
        ({"size": [8, 16], "proportions": {"narrowest": 0.8, "widest": 1.5}}, "must include those of size"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], advice: str) -> None:
    with pytest.raises(ManifestInvalid, match=advice):
        single_pass(manifest("image-classification", **parameters))
