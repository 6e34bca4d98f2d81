"""Noise for models that generate, drawn from a seed outside of the graph: the same seed gives the same numbers everywhere."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from models.lazy import np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.pipelines.contract import Array

LARGEST_SEED: Final = 2**32 - 1


def normal_noise(seed: int, shape: Sequence[int]) -> Array:
    """Independent standard normal numbers, float32 of `shape`.

    Philox 4x64-10 (Salmon et al., SC 2011) with the seed as its key gives uniform numbers of 53 bits, which the transform of
    Box and Muller (Ann Math Stat 29:610, 1958) makes normal. Raw output alone is read of numpy: NEP 19 keeps it the same in
    every release, but not what `Generator` makes of it.
    """
    count = prod(shape)
    half = (count + 1) // 2
    words = np.random.Philox(key=seed).random_raw(2 * half)
    uniform = ((words >> np.uint64(11)) + 0.5) * 2.0**-53  # never 0, of which there is no logarithm
    radius, angle = np.sqrt(-2 * np.log(uniform[:half])), 2 * np.pi * uniform[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].astype(np.float32).reshape(shape)
