"""The R peaks of an electrocardiogram, found by the energy of its QRS complexes. Pure functions on numpy arrays.

After Pan and Tompkins, IEEE Trans Biomed Eng 32:230 (1985): band-pass, slope, square, moving average; a threshold between the
recent heights of complexes and of noise; a second look with half the threshold where a beat is overdue; no second beat within
200 ms, and none within 360 ms that is less than half as steep, as a T wave is. Filters are moving averages, and heights are
medians of the last eight, as in Hamilton and Tompkins, IEEE Trans Biomed Eng 33:1157 (1986). THRESHOLD was chosen on DS1 of
the MIT-BIH Arrhythmia Database (22 records at 125 Hz): sensitivity .9963 and positive predictive value .9923
within 150 ms there, which is no figure for other recordings.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from models.lazy import np
from models.pipelines.signals import moving_average

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

REFRACTORY_S: Final = 0.2
T_WAVE_S: Final = 0.36
OVERDUE: Final = 1.66  # times the median of the last RR intervals
THRESHOLD: Final = 0.15  # between the heights of noise and of complexes
REMEMBERED: Final = 8
SEARCH_S: Final = 0.1  # around the peak of the energy, where the R peak is
LEARNED_S: Final = 8.0  # from which the first heights are taken


def r_peaks(samples: Floats, rate: float) -> Ints:
    """The places [b] of the R peaks in `samples` [n], in mV without wander of the baseline, at `rate` Hz."""
    if len(samples) < rate:
        return np.empty(0, np.int64)
    narrow = moving_average(samples, rate, 0.03) - moving_average(samples, rate, 0.12)
    slope = np.gradient(narrow) * rate
    energy = moving_average(slope**2, rate, 0.11)
    if not energy.max() > 0:
        return np.empty(0, np.int64)
    places = _summits(energy, round(REFRACTORY_S * rate))
    steep = _steepness(slope, places, rate)
    chosen = _Detector(rate, energy).chosen(places, steep)
    return _refined(narrow, np.array(chosen, np.int64), rate)


def _summits(energy: Floats, apart: int) -> Ints:
    """Places of local maxima, of those less than `apart` from a higher one none."""
    inner = energy[1:-1]
    places = np.flatnonzero((inner > energy[:-2]) & (inner >= energy[2:])) + 1
    padded = np.pad(energy, apart, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * apart + 1)
    return places[energy[places] >= highest[places].max(1)] if len(places) else places


def _steepness(slope: Floats, places: Ints, rate: float) -> Floats:
    """The largest slope within SEARCH_S of each place."""
    reach = round(SEARCH_S * rate)
    around = np.clip(places[:, None] + np.arange(-reach, reach + 1), 0, len(slope) - 1)
    return np.asarray(np.abs(slope[around]).max(1))


@dataclass
class _Detector:
    """Goes through the summits in time, with the heights of the last complexes and of the last noise."""

    rate: float
    energy: Floats
    heights: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    noise: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def chosen(self, places: Ints, steep: Floats) -> list[int]:
        """The places that are complexes."""
        heights = self.energy[places]
        self._learn(places, heights)
        found: list[int] = []  # positions in `places`
        for here in range(len(places)):
            self._look_back(places, heights, found, here)
            if heights[here] > self._limit() and not self._is_t_wave(places, steep, found, here):
                self._accept(places, heights, found, here)
            else:
                self.noise.append(float(heights[here]))
        self._look_back(places, heights, found, len(places))
        return [int(places[each]) for each in found]

    def _learn(self, places: Ints, heights: Floats) -> None:
        """First heights: of the highest summit in each second of the first eight, the median.

        At least a quarter of what three quarters of all seconds stay below: a recording may start without a signal.
        """
        seconds, second = np.unique((places / self.rate).astype(np.int64), return_inverse=True)
        highest = np.zeros(len(seconds))
        np.maximum.at(highest, second, heights)
        first = highest[seconds < int(LEARNED_S)]
        usual = float(np.quantile(highest, 0.75)) if len(highest) else 0.0
        start = max(float(np.median(first)) if len(first) else 0.0, usual / 4)
        self.heights.append(start)
        self.noise.append(start / 10)

    def _limit(self) -> float:
        noise, height = float(np.median(self.noise)), float(np.median(self.heights))
        return noise + THRESHOLD * max(height - noise, 0.0)

    def _is_t_wave(self, places: Ints, steep: Floats, found: list[int], here: int) -> bool:
        if not found:
            return False
        near = places[here] - places[found[-1]] < T_WAVE_S * self.rate
        return bool(near and steep[here] < steep[found[-1]] / 2)

    def _accept(self, places: Ints, heights: Floats, found: list[int], here: int) -> None:
        if found:
            self.intervals.append(int(places[here] - places[found[-1]]))
        self.heights.append(float(heights[here]))
        found.append(here)

    def _look_back(self, places: Ints, heights: Floats, found: list[int], here: int) -> None:
        """Where no beat came for long, take the highest summit since the last one that reaches half of the threshold."""
        if not found or not self.intervals:
            return
        now = int(places[here]) if here < len(places) else len(self.energy)
        if now - places[found[-1]] < OVERDUE * float(np.median(self.intervals)):
            return
        between = range(found[-1] + 1, here)
        apart = T_WAVE_S * self.rate
        first, end = places[found[-1]] + apart, now - REFRACTORY_S * self.rate
        fit = [each for each in between if first < places[each] < end]
        if fit and heights[best := max(fit, key=lambda each: heights[each])] > self._limit() / 2:
            self._accept(places, heights, found, best)


def _refined(narrow: Floats, places: Ints, rate: float) -> Ints:
    """Each place at the largest deflection near it; of two that meet, one."""
    reach = round(SEARCH_S * rate)
    steps = np.arange(-reach, reach + 1)
    around = np.clip(places[:, None] + steps, 0, len(narrow) - 1)
    moved = around[np.arange(len(places)), np.abs(narrow[around]).argmax(1)] if len(places) else places
    kept = [int(place) for place in moved[:1]]
    for before, place in pairwise(moved.tolist()):
        if place - max(before, kept[-1]) >= REFRACTORY_S * rate:
            kept.append(place)
    return np.array(kept, np.int64)
