"""A PNG whose samples stand for another brightness than sRGB's is refused; usual statements change nothing."""

import struct

import numpy as np
import pytest

from models.pipelines.image_file import ImageRefused, decode_image, read_image
from tests.unit.models.example_images import Pixels, chunk, inserted, noise, png

PLAIN = png(noise(12, 8))
Statement = tuple[bytes, bytes]
SRGB, PROFILE = (b"sRGB", b"\0"), (b"iCCP", b"name\0\0any")


def gamma(value: int) -> Statement:
    return b"gAMA", struct.pack(">I", value)


def video(primaries: int, transfer: int, matrix: int = 0, full_range: int = 1) -> Statement:
    return b"cICP", bytes((primaries, transfer, matrix, full_range))


def stating(*statements: Statement) -> bytes:
    return inserted(PLAIN, 33, b"".join(chunk(kind, body) for kind, body in statements))


def pixels_of(file: bytes) -> Pixels:
    return np.asarray(decode_image(read_image(file), "L"))


@pytest.mark.parametrize(
    "statements",
    [
        [gamma(100000)], [gamma(55556)], [gamma(22727)], [gamma(0)], [gamma(45455), gamma(100000)],
        [video(9, 16)], [video(9, 18)], [video(1, 8)], [video(1, 13, matrix=1)], [video(1, 13, full_range=0)],
        [video(9, 16), SRGB, gamma(45455)], [PROFILE, video(9, 18)],
    ],
)  # fmt: skip
def test_samples_of_another_scale_are_refused_with_what_to_do(statements: list[Statement]) -> None:
    with pytest.raises(ImageRefused, match="unsupported_color") as caught:
        read_image(stating(*statements))
    assert "convert it to sRGB" in caught.value.detail


@pytest.mark.parametrize("statement", [(b"gAMA", b"\0\0\xb1"), (b"cICP", b"\1\r\0")])
def test_a_statement_of_a_wrong_length_is_damage(statement: Statement) -> None:
    with pytest.raises(ImageRefused, match="damaged_image"):
        read_image(stating(statement))


@pytest.mark.parametrize(
    "statements",
    [
        [SRGB], [PROFILE], [gamma(45455)], [gamma(45454)], [gamma(45000)], [gamma(47619)],
        [gamma(45455), (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
        [gamma(100000), SRGB], [PROFILE, gamma(55556)], [video(1, 13)], [video(1, 1), gamma(100000)],
    ],
)  # fmt: skip
def test_usual_statements_change_nothing(statements: list[Statement]) -> None:
    assert np.array_equal(pixels_of(stating(*statements)), pixels_of(PLAIN))
