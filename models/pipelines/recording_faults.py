"""Faults of a recording that its beats do not show: a clipped signal, stretches of a flat line, another sampling rate.

Pure functions on numpy arrays. The bounds were set on DS1 of the MIT-BIH Arrhythmia Database (660 recordings of a minute at
125 Hz): no value is repeated for longer than 72 ms while a signal is there, and no recording repeats its extreme as a clipped
one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FLAT_S: Final = 0.5  # a value that is repeated for as long is no signal
REPEATED: Final = 5  # samples at an extreme, each beside another, that a clipped signal has at least
NEAR_EXTREME: Final = (
    0.03  # of the range: the tail of a signal that is not clipped is denser here than at its end
)
SLOW_HZ: Final = 5.0  # wander, P and T waves lie below
STRETCH_S: Final = 10.0


def is_clipped(samples: Floats) -> bool:
    """Whether `samples` [n], as they were recorded, end at one of their extremes as if cut off."""
    low, high = float(samples.min()), float(samples.max())
    return _is_cut(samples, high, NEAR_EXTREME * (high - low)) or _is_cut(
        -samples, -low, NEAR_EXTREME * (high - low)
    )


def _is_cut(samples: Floats, highest: float, near: float) -> bool:
    """Whether many samples are the highest, in runs, and fewer are near it."""
    at = samples == highest
    beside = at & (np.append(at[1:], False) | np.insert(at[:-1], 0, False))
    below = ((samples < highest) & (samples >= highest - near)).sum()
    return bool(beside.sum() >= REPEATED and at.sum() > below)


def flat_stretches(samples: Floats, rate: float) -> Ints:
    """The first and last sample [f,2] of each stretch of `samples` [n] that repeats one value for FLAT_S or longer."""
    changes = np.flatnonzero(np.diff(samples) != 0)
    first, last = np.insert(changes + 1, 0, 0), np.append(changes, len(samples) - 1)
    long = last - first >= FLAT_S * rate
    return np.stack([first[long], last[long]], axis=1).astype(np.int64)


def beside(places: Ints, stretches: Ints) -> NDArray[np.bool_]:
    """Which of `places` [b], in order, lie in one of `stretches` [f,2], or are the next on either side of it."""
    found = np.zeros(len(places), np.bool_)
    before = np.searchsorted(places, stretches[:, 0]) - 1
    after = np.searchsorted(places, stretches[:, 1], side="right")
    for first, last in zip(before.tolist(), after.tolist(), strict=True):
        found[max(first, 0) : last + 1] = True
    return found


def spectral_centroid(signal: Floats, rate: float) -> float:
    """The mean frequency in Hz of the power of `signal` [n] above SLOW_HZ: the median of stretches of STRETCH_S.

    A recording that was taken at another sampling rate than is stated has all its frequencies shifted.
    """
    width = min(round(STRETCH_S * rate), len(signal))
    stretches = signal[: len(signal) // width * width].reshape(-1, width) * np.hanning(width)
    power = np.abs(np.fft.rfft(stretches, axis=1)) ** 2
    frequency = np.fft.rfftfreq(width, 1 / rate)
    fast = frequency > SLOW_HZ
    total = np.maximum(power[:, fast].sum(1), np.finfo(np.float64).tiny)
    return float(np.median((power[:, fast] @ frequency[fast]) / total))
