"""Runs a graph over an image of any size: in tiles that overlap and are blended, several in each run.

A tile is as long as the image rounded up to the graph's multiple, and at most `longest`; what lies beyond the image is its
reflection. Where tiles overlap, what the graph gives is averaged with weights that fall towards the edges of a tile, where
a graph sees least around a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from models.lazy import np

if TYPE_CHECKING:
    from models.pipelines.contract import Array

    # Tiles float32 [n,C,h,w] -> maps float32 [n,K,h,w].
    Maps = Callable[[Array], Array]


class Tiling(NamedTuple):
    """How an image is cut: the longest side of a tile, of which all sides are multiples of `multiple`.

    Neighbours share at least `overlap` pixels, less than `longest`; at most `per_run` tiles are fed at once.
    """

    longest: int
    multiple: int
    overlap: int
    per_run: int

    def side(self, length: int) -> int:
        """The side of the tiles of an axis of `length` pixels."""
        return min(self.longest, -(-length // self.multiple) * self.multiple)

    def starts(self, length: int) -> list[int]:
        """Where the tiles of an axis begin; the last one ends with the axis, if that is as long as a tile."""
        side = self.side(length)
        if length <= side:
            return [0]
        return [*range(0, length - side, side - self.overlap), length - side]

    def weights(self, length: int) -> tuple[Array, Array]:
        """Of an axis: the weight of each pixel of a tile, float32 [side], and the sum of those of all tiles [length]."""
        side = self.side(length)
        edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
        ramp = np.minimum(edge / (self.overlap + 1), 1).astype(np.float32)
        total = np.zeros(max(length, side), np.float32)
        for start in self.starts(length):
            total[start : start + side] += ramp
        return ramp, total[:length]


def blended(pixels: Array, levels: Array, tiling: Tiling, maps: Maps) -> Array:
    """The maps float32 [K,H,W] of an image uint8 [H,W,C].

    `levels` float32 [C,256] is what the graph is fed for each sample. Raises what `maps` raises.
    """
    height, width = pixels.shape[:2]
    tall, wide = tiling.side(height), tiling.side(width)
    beyond = ((0, max(0, tall - height)), (0, max(0, wide - width)), (0, 0))
    padded = np.pad(pixels, beyond, mode="symmetric")
    (down, height_sum), (across, width_sum) = tiling.weights(height), tiling.weights(width)
    weight = down[:, None] * across
    places = list(product(tiling.starts(height), tiling.starts(width)))
    found = None
    for first in range(0, len(places), tiling.per_run):
        some = places[first : first + tiling.per_run]
        tiles = np.stack([_fed(padded[top : top + tall, left : left + wide], levels) for top, left in some])
        for (top, left), each in zip(some, maps(tiles), strict=True):
            if found is None:
                found = np.zeros((len(each), *padded.shape[:2]), np.float32)
            found[:, top : top + tall, left : left + wide] += each * weight
    assert found is not None, "an image has a tile"
    found = found[:, :height, :width]
    found /= height_sum[:, None]
    found /= width_sum
    return found


def _fed(tile: Array, levels: Array) -> Array:
    """A tile uint8 [h,w,C] as float32 [C,h,w]."""
    return np.stack([table[tile[:, :, channel]] for channel, table in enumerate(levels)])
