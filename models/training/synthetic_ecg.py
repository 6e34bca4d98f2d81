"""Made-up electrocardiograms: each beat a sum of Gaussian waves (McSharry et al., IEEE Trans Biomed Eng 50:289, 2003)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Waves of a beat by its class: seconds after the R peak, height in mV, width in seconds.
WAVES = {
    "n": (
        (-0.17, 0.14, 0.022),
        (-0.025, -0.1, 0.008),
        (0, 1.1, 0.011),
        (0.028, -0.2, 0.009),
        (0.27, 0.28, 0.045),
    ),
    "s": (
        (-0.12, -0.07, 0.016),
        (-0.025, -0.1, 0.008),
        (0, 1.05, 0.011),
        (0.028, -0.22, 0.009),
        (0.26, 0.25, 0.045),
    ),
    "v": ((-0.06, -0.25, 0.03), (0, 1.5, 0.038), (0.09, -0.6, 0.04), (0.3, -0.5, 0.06)),
    "f": (
        (-0.15, 0.14, 0.022),
        (-0.04, -0.22, 0.02),
        (0, 1.6, 0.0125),
        (0.05, -0.5, 0.025),
        (0.28, -0.1, 0.05),
    ),
}
PAUSE = {"n": 1.0, "s": 1.05, "v": 1.35, "f": 1.02}  # of the interval after a beat, in usual intervals
EARLY = {"n": 1.0, "s": 0.68, "v": 0.65, "f": 0.98}  # of the interval before it
REACH = 12  # widths: what a wave adds beyond is below 1e-31 mV


def recording(
    beats: Sequence[str],
    *,
    rate: float = 125,
    interval_s: float = 0.8,
    noise_mv: float = 0.015,
    seed: int = 1,
) -> tuple[Floats, list[int]]:
    """Samples [n] in mV of the classes `beats` in turn, and the numbers of the samples at their R peaks."""
    chance = np.random.default_rng(seed)
    times, now = [], 0.5
    for before, beat in zip(("n", *beats), beats, strict=False):
        now += interval_s * EARLY[beat] * PAUSE[before] * (1 + 0.015 * chance.standard_normal())
        times.append(now)
    clock = np.arange(int((now + 1) * rate)) / rate
    samples = noise_mv * chance.standard_normal(len(clock)) + 0.05 * np.sin(2 * np.pi * 0.25 * clock)
    for time, beat in zip(times, beats, strict=True):
        for after, height, width in WAVES[beat]:
            first, last = (int((time + after + sign * REACH * width) * rate) for sign in (-1, 1))
            near = slice(max(first, 0), max(last, 0) + 1)
            samples[near] += (
                height
                * (1 + 0.03 * chance.standard_normal())
                * np.exp(-(((clock[near] - time - after) / width) ** 2) / 2)
            )
    return samples, [round(time * rate) for time in times]
