"""Tiles: that they cover an image, are never larger than allowed, and blend into what one run would give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines import Array
from models.pipelines.image_tiles import Tiling, blended

LEVELS = np.stack([np.arange(256), 255 - np.arange(256)]).astype(np.float32)


@given(
    height=st.integers(1, 50), width=st.integers(1, 50), overlap=st.integers(0, 8), multiple=st.sampled_from([1, 4, 16]),
    per_run=st.integers(1, 5),
)  # fmt: skip
def test_a_graph_that_sees_pixels_alone_gives_the_same_in_tiles(
    height: int, width: int, overlap: int, multiple: int, per_run: int
) -> None:
    pixels = np.random.default_rng(height * 51 + width).integers(0, 256, (height, width, 2), np.uint8)
    seen: list[tuple[int, ...]] = []

    def maps(tiles: Array) -> Array:
        seen.append(tiles.shape)
        return np.concatenate([tiles, tiles[:, :1] * 2], axis=1)

    found = blended(pixels, LEVELS, Tiling(16, multiple, overlap, per_run), maps)
    fed = np.stack([LEVELS[0][pixels[:, :, 0]], LEVELS[1][pixels[:, :, 1]]])
    np.testing.assert_allclose(found, np.concatenate([fed, fed[:1] * 2]), rtol=1e-5, atol=1e-3)
    assert all(shape[0] <= per_run and max(shape[2:]) <= 16 for shape in seen)
    assert all(side % multiple == 0 for shape in seen for side in shape[2:])


def test_beyond_a_small_image_lies_its_reflection() -> None:
    fed = []

    def maps(tiles: Array) -> Array:
        fed.append(tiles)
        return tiles

    blended(np.array([[[1], [2], [3]]], np.uint8), LEVELS[:1], Tiling(8, 8, 0, 1), maps)
    assert (fed[0][0, 0] == [1, 2, 3, 3, 2, 1, 1, 2]).all()


def test_where_tiles_overlap_each_counts_less_towards_its_edge() -> None:
    numbers = iter((1.0, 2.0))

    def maps(tiles: Array) -> Array:
        return np.stack([np.full_like(tile, next(numbers)) for tile in tiles])

    found = blended(np.zeros((1, 12, 1), np.uint8), LEVELS[:1], Tiling(8, 1, 4, 2), maps)[0, 0]
    assert found[:4] == pytest.approx(1)
    assert found[8:] == pytest.approx(2)
    assert found[4:8] == pytest.approx([1.2, 1.4, 1.6, 1.8])
