"""Sampled signals: another sampling rate, and no wander of the baseline. Pure functions on numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOBES: Final = 12  # of the windowed sinc, on either side
PASSED: Final = 0.45  # of the lower of two sampling rates: frequencies up to here are kept
_BLOCK: Final = 16_384


def resampled(samples: Floats, rate: float, wanted: float) -> Floats:
    """`samples` [n] of `rate` Hz as samples of `wanted` Hz, the first at the same time: band-limited interpolation.

    Each new sample is a sum of its neighbours weighted by a sinc that a Hann window ends after LOBES lobes (J. O. Smith,
    Digital Audio Resampling, 2002), normalized so that a constant stays what it is. The ends are extended by their last value.
    """
    if rate == wanted:
        return samples
    cutoff = 2 * PASSED * min(1.0, wanted / rate)  # 1 is half of `rate`
    reach = int(np.ceil(LOBES / cutoff))
    padded = np.pad(samples, reach, mode="edge")
    places = np.arange(int((len(samples) - 1) * wanted / rate) + 1) * (rate / wanted)
    whole = np.floor(places).astype(np.int64)
    phases, phase = np.unique(
        np.round(places - whole, 9), return_inverse=True
    )  # few, if the rates have a common divisor
    steps = np.arange(-reach + 1, reach + 1)
    found = np.empty(len(places))
    for start in range(0, len(places), _BLOCK):
        block = slice(start, start + _BLOCK)
        few, of_block = np.unique(phase[block], return_inverse=True)
        weights = _weights(steps - phases[few][:, None], cutoff, reach)
        values = padded[whole[block, None] + (steps + reach)]
        found[block] = np.einsum("nk,nk->n", values, weights[of_block])
    return found


def _weights(distance: Floats, cutoff: float, reach: int) -> Floats:
    """The weights [m,k] of samples at `distance` [m,k] in samples, each row with the sum 1."""
    window = np.where(np.abs(distance) < reach, np.cos(np.pi * distance / (2 * reach)) ** 2, 0.0)
    weights = np.sinc(cutoff * distance) * window
    return np.asarray(weights / weights.sum(1, keepdims=True))


def without_wander(samples: Floats, rate: float, seconds: float) -> Floats:
    """`samples` [n] less their baseline: what is left of them after a moving average over `seconds`, applied twice."""
    return samples - moving_average(moving_average(samples, rate, seconds), rate, seconds)


def moving_average(samples: Floats, rate: float, seconds: float) -> Floats:
    """The mean [n] over a centred window of about `seconds`; the ends are extended by their last value."""
    width = round(seconds * rate) // 2 * 2 + 1
    sums = np.cumsum(np.insert(np.pad(samples, width // 2, mode="edge"), 0, 0.0))
    return np.asarray((sums[width:] - sums[:-width]) / width)
