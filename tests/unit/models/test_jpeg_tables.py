"""Tables of a JPEG file that have no meaning, or are missing: the file is refused, since libjpeg says nothing of it."""

from itertools import product

import numpy as np
import pytest

from models.pipelines.image_file import decode_image, read_image
from tests.unit.models.example_images import inserted, jpeg, noise, refused

QUANTISATION, HUFFMAN, FRAME, SCAN = b"\xff\xdb", b"\xff\xc4", b"\xff\xc0", b"\xff\xda"
PLAIN = jpeg(noise(40, 30))
PROGRESSIVE = jpeg(noise(40, 30), progressive=True)


def put(file: bytes, marker: bytes, place: int, values: bytes) -> bytes:
    """`file` with other bytes at `place` in the body of the first segment of this kind."""
    at = file.index(marker) + 4 + place
    return file[:at] + values + file[at + len(values) :]


def segment(marker: bytes, body: bytes) -> bytes:
    return marker + (len(body) + 2).to_bytes(2, "big") + body


def without(file: bytes, marker: bytes) -> bytes:
    """`file` without its first segment of this kind."""
    at = file.index(marker)
    return file[:at] + file[at + 2 + int.from_bytes(file[at + 2 : at + 4], "big") :]


@pytest.mark.parametrize("file", [PLAIN, PROGRESSIVE])
@pytest.mark.parametrize("entries", [range(64), range(1), range(63, 64)])
def test_a_quantisation_step_of_zero_is_refused(file: bytes, entries: range) -> None:
    assert refused(put(file, QUANTISATION, 1 + entries.start, bytes(len(entries)))).startswith(
        "damaged_image: The image is damaged (a quantisation table without meaning)"
    )


STEPS, CODES = "a quantisation table without meaning", "a Huffman table without meaning"
HEADER, LOST = "a header without meaning", "a table is missing"
CODE = bytes(16)  # counts of a Huffman table without a code


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (put(PLAIN, QUANTISATION, 0, b"\x20"), STEPS),  # steps of a width that is none
        (put(PLAIN, QUANTISATION, 0, b"\x04"), STEPS),
        (put(PLAIN, QUANTISATION, 0, b"\x01"), LOST),  # the table that the frame names
        (inserted(PLAIN, 2, b"\xff\xdb\0\x05\0\1\1"), STEPS),
        (without(PLAIN, QUANTISATION), LOST),
        (without(PLAIN, HUFFMAN), LOST),
        (without(PROGRESSIVE, HUFFMAN), LOST),
        (put(PLAIN, HUFFMAN, 0, b"\x20"), CODES),
        (put(PLAIN, HUFFMAN, 0, b"\x04"), CODES),
        (put(PLAIN, HUFFMAN, 1, b"\3"), CODES),  # more codes of a bit than there can be
        (put(PLAIN, HUFFMAN, 1, b"\xff"), CODES),
        (put(PLAIN, HUFFMAN, 17, bytes(12)), CODES),  # codes that all mean the same
        (put(PLAIN, HUFFMAN, 17, b"\xff"), CODES),
        (inserted(PLAIN, 2, segment(HUFFMAN, b"\0" + b"\1" + CODE[1:] + b"\x10")), CODES),  # 16 bits of DC
        (inserted(PLAIN, 2, segment(HUFFMAN, b"\0" + CODE[1:])), CODES),
        (inserted(PLAIN, 2, segment(HUFFMAN, b"\0" + b"\2\1" + CODE[2:] + b"\0\1\2")), CODES),
        (put(PLAIN, FRAME, 7, b"\x01"), HEADER),  # sampled not at all, or five times
        (put(PLAIN, FRAME, 7, b"\x15"), HEADER),
        (put(PLAIN, FRAME, 8, b"\3"), LOST),
        (put(PLAIN, SCAN, 2, b"\x30"), LOST),
        (put(PLAIN, SCAN, 1, b"\7"), "a scan without meaning"),
    ],
)
def test_tables_without_meaning_or_missing_are_refused(file: bytes, reason: str) -> None:
    assert refused(file).startswith(f"damaged_image: The image is damaged ({reason}):")


@pytest.mark.parametrize(
    "body",
    [
        b"\1" + b"\1" + CODE[1:] + b"\x0f",  # 15 bits of a DC difference are the most
        b"\x11" + b"\1" + CODE[1:] + b"\xff",
        b"\3" + b"\2" + CODE[1:] + b"\0\1",  # as many codes of one bit as there are
        b"\3" + CODE,
        b"\1" + b"\1" + CODE[1:] + b"\0" + b"\x13" + b"\0\1" + CODE[2:] + b"\7",  # two tables in one segment
    ],
)
def test_tables_at_the_ends_of_what_they_may_be_are_read(body: bytes) -> None:
    file = inserted(PLAIN, 2, segment(HUFFMAN, body))
    assert decode_image(read_image(file), "L") == decode_image(read_image(PLAIN), "L")


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
def test_honest_tables_of_every_kind_are_read(quality: int) -> None:
    pictures = [noise(40, 30), np.full((30, 40), 90, np.uint8), noise(40, 30)[..., None].repeat(3, 2)]
    for pixels, progressive, optimize, subsampling in product(pictures, (0, 1), (0, 1), (0, 1, 2)):
        file = jpeg(
            pixels, quality=quality, progressive=progressive, optimize=optimize, subsampling=subsampling
        )
        assert decode_image(read_image(file), "L").size == (40, 30)


def test_a_step_of_two_bytes_may_end_with_a_zero() -> None:
    at = PLAIN.index(QUANTISATION)
    wide = segment(QUANTISATION, bytes([0x10 | PLAIN[at + 4]]) + b"\1\0\0\1" * 32)
    assert decode_image(read_image(PLAIN[:at] + wide + without(PLAIN, QUANTISATION)[at:]), "L").size == (
        40,
        30,
    )


def test_a_marker_without_a_length_is_passed_over() -> None:
    assert read_image(inserted(PLAIN, 2, b"\xff\x01")).width == 40


def test_a_sampling_of_four_is_the_most() -> None:
    assert decode_image(read_image(put(PLAIN, FRAME, 7, b"\x44")), "L").size == (40, 30)


def test_quantisation_steps_of_two_bytes_are_read() -> None:
    at = PLAIN.index(QUANTISATION)
    number, *steps = PLAIN[at + 4 : at + 69]
    wide = bytes([0x10 | number]) + b"".join(step.to_bytes(2, "big") for step in steps)
    file = PLAIN[:at] + QUANTISATION + (len(wide) + 2).to_bytes(2, "big") + wide + PLAIN[at + 69 :]
    found, plain = (np.asarray(decode_image(read_image(each), "L")) for each in (file, PLAIN))
    assert np.array_equal(found, plain)
