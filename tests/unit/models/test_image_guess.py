"""Which parameters of images a graph's input tells."""

import pytest

from models.image_guess import image_parameters
from models.signature import Tensor


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((None, 3, 64, 64), ["size = 64", "channels = 3"]),
        ((None, 1, 64, 32), ["size = [64, 32]", "channels = 1"]),
        ((None, 64, 32, 3), ["size = [64, 32]", "channels = 3", 'layout = "NHWC"']),
        ((None, 28, 28, 1), ["size = 28", "channels = 1", 'layout = "NHWC"']),
        ((None, 3, None, 64), []),
        ((None, 64, None, 3), []),
        ((None, 2, 64, 64), []),
        ((None, 3, 64), []),
    ],
)
def test_size_channels_and_layout_are_those_of_the_graph(
    shape: tuple[int | None, ...], expected: list[str]
) -> None:
    assert image_parameters(Tensor("x", "float32", shape)) == expected


def test_whole_numbers_are_no_image() -> None:
    assert image_parameters(Tensor("x", "int64", (None, 3, 64, 64))) == []
