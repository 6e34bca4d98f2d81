"""The seconds of a signal around a beat with a wrong class, for the page: cut from the recording that was submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

AROUND_S: Final = 1.5  # before and after the beat: some beats beside it


@dataclass(frozen=True)
class Trace:
    """Part of a recording: values [n] in mV at times [n] in seconds from its start, and the time of the beat."""

    caption: str
    times_s: NDArray[np.float64]
    values_mv: NDArray[np.float64]
    beat_s: float


def trace(recording: Any, sample: int, caption: str) -> Trace | None:
    """The part around a sample of a recording as it was submitted (see ecg_input); None if it is not at hand."""
    if not isinstance(recording, Mapping) or not {"samples", "sampling_rate", "gain"} <= recording.keys():
        return None
    rate, width = float(recording["sampling_rate"]), round(AROUND_S * float(recording["sampling_rate"]))
    first = max(sample - width, 0)
    values = np.array(recording["samples"][first : sample + width + 1], np.float64)
    times = (first + np.arange(len(values))) / rate
    return Trace(caption, times, values / float(recording["gain"]), sample / rate)
