"""Whether a signal has the QRS complexes of a heart: short, and back at the baseline after them. A pure function of arrays.

The bounds were set on DS1 of the MIT-BIH Arrhythmia Database (660 recordings of a minute): a signal is steep for at most .33 of
the time, but for one minute of ventricular flutter, and the ends of its complexes are at most .40 of their height apart. Sines
and triangles are steep for .83 and more of the time; up to 2 Hz, the edges of sawteeth and square waves end .67 and more apart.
Short pulses that repeat are not told from complexes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.lazy import np
from models.pipelines.signals import moving_average

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STEEP: Final = 0.25  # of the usual greatest slope of a complex
MOST_STEEP: Final = 0.5  # of the time
MOST_APART: Final = 0.6  # of the height of a complex
REACH_S: Final = 0.08  # on either side of an R peak
_LITTLE: Final = 1e-6


def has_complexes(samples: Floats, places: Ints, rate: float) -> bool:
    """Whether `samples` [n] in mV without wander have QRS complexes at their R peaks `places` [b], at least one."""
    reach = round(REACH_S * rate)
    around = np.clip(places[:, None] + np.arange(-reach, reach + 1), 0, len(samples) - 1)
    slope = np.abs(np.gradient(moving_average(samples, rate, 0.03)))
    steep = (slope > STEEP * np.median(slope[around].max(1))).mean()
    complexes = samples[around]
    apart = np.abs(complexes[:, -1] - complexes[:, 0]) / np.maximum(np.ptp(complexes, axis=1), _LITTLE)
    return bool(steep <= MOST_STEEP and np.median(apart) <= MOST_APART)
