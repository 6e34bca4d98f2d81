"""A PNG whose samples stand for another brightness than sRGB's is refused; usual statements change nothing."""

import struct

import numpy as np
import pytest

from models.pipelines.image_file import decode_image, read_image
from tests.unit.models.example_images import Pixels, chunk, inserted, noise, png, refused

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
        [gamma(100000)], [gamma(47728)], [gamma(43182)], [gamma(55556)], [gamma(22727)], [gamma(0)],
        [gamma(45455), gamma(100000)], *([video(1, transfer)] for transfer in (0, 2, 3, 5, *range(7, 13), 16, 17, 18)),
        [video(9, 16)], [video(9, 18)], [video(1, 8)], [video(1, 13, matrix=1)], [video(1, 13, full_range=0)],
        [video(9, 16), SRGB, gamma(45455)], [PROFILE, video(9, 18)],
    ],
)  # fmt: skip
def test_samples_of_another_scale_are_refused_with_what_to_do(statements: list[Statement]) -> None:
    reason = refused(stating(*statements))
    assert reason.startswith(
        "unsupported_color: The image says that its samples are not in the scale of sRGB"
    )
    assert "convert it to sRGB" in reason


@pytest.mark.parametrize("statement", [(b"gAMA", b"\0\0\xb1"), (b"cICP", b"\1\r\0")])
def test_a_statement_of_a_wrong_length_is_damage(statement: Statement) -> None:
    reason = f"damaged_image: The image is damaged (a {statement[0].decode()} chunk of a wrong length)"
    assert refused(stating(statement)).startswith(reason)


@pytest.mark.parametrize(
    "statements",
    [
        [SRGB], [PROFILE], [gamma(45455)], [gamma(45454)], [gamma(45000)], [gamma(43183)], [gamma(47727)],
        [gamma(45455), (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
        *([video(1, transfer)] for transfer in (4, 6, 13, 14, 15)), [gamma(100000), SRGB], [PROFILE, gamma(55556)],
        [video(1, 1), gamma(100000)],
    ],
)  # fmt: skip
def test_usual_statements_change_nothing(statements: list[Statement]) -> None:
    assert np.array_equal(pixels_of(stating(*statements)), pixels_of(PLAIN))
