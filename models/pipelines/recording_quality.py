"""Why a recording of an electrocardiogram is not scored: its signal, its rhythm, or the shape of its beats.

What is declared in the manifest is `[parameters.quality]`; the other bounds are the same for all models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import ManifestTable, Text
from models.pipelines import beat_features, recording_faults
from models.pipelines.classification_parameters import Share
from models.pipelines.qrs_shape import has_complexes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NEAR_S: Final = (
    0.15  # a beat that was sent and one that was detected are the same within this: ANSI/AAMI EC57
)
# Of the beats that are detected, those near one that was sent. In 655 of the 660 minutes of DS1 of the MIT-BIH database at
# least .95 are; the other five are of record 207, whose ventricular flutter is not annotated beat by beat.
LEAST_SENT: Final = 0.8
FEWEST_BEATS: Final = 5
SLOWEST, FASTEST = 25.0, 250.0  # beats a minute
# Of a stretch without a beat: a tenth of the recording, within these. A pause of 4 s is an asystole (Clifford et al., Computing
# in Cardiology 42:273, 2015); where beats are detected in half an hour of DS1 of the MIT-BIH database, the longest is of 8.1 s.
LEAST_PAUSE_S, MOST_PAUSE_S = 3.0, 10.0
MOST_FLAT: Final = 0.1  # of a recording
TOO_FEW: Final = f"fewer than {FEWEST_BEATS} beats were found"
OTHER_RATE: Final = "the heart rate is not between {:g} and {:g} beats a minute: compare the sampling rate"
NOT_ON_BEATS: Final = "the beats that were sent do not lie on beats of the signal"
BEATS_MISSING: Final = "only {:.0f} % of the beats that the signal shows were sent: send all of them, or none"
PAUSE: Final = "no beat was found for {:.1f} s from {:.1f} s on: a pause of the heart, or no signal"
CLIPPED: Final = "the signal is clipped: many samples have its greatest or its least value"
FLAT: Final = "the signal is a flat line for {:.1f} s of {:.1f} s"
NO_COMPLEXES: Final = "what was found lacks the shape of QRS complexes"
OTHER_FREQUENCIES: Final = (
    "its mean frequency of {:.1f} Hz is not between {:g} and {:g} Hz: compare the sampling rate"
)


class RecordingQuality(ManifestTable):
    """From which recordings the model abstains as a whole, and what that costs.

    `least_agreement` is of the median correlation of the QRS complexes with the typical one, `slowest` and `fastest` of the
    median heart rate, in beats a minute, the centroids of the spectrum above 5 Hz (recording_faults). `false_alarm_rate` is
    the share of recordings of the intended kind that are abstained from, `catch_rate` that of `foreign_set`.
    """

    least_agreement: Annotated[float, Field(ge=0, le=1)]
    slowest: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = SLOWEST
    fastest: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = FASTEST
    least_centroid_hz: Annotated[float, Field(ge=0)] = 0.0
    most_centroid_hz: Annotated[float | None, Field(gt=0)] = None
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text
    reason: Text = "its beats have no shape in common"

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.slowest >= self.fastest:
            raise ValueError("slowest must be less than fastest")
        if self.most_centroid_hz is not None and self.least_centroid_hz >= self.most_centroid_hz:
            raise ValueError("least_centroid_hz must be less than most_centroid_hz")
        return self

    def unfit_rate(self, places: Ints, rate: float) -> str | None:
        """Why a recording with beats at `places` [b] of `rate` Hz is not scored: too few, too fast or too slow."""
        if len(places) < FEWEST_BEATS:
            return TOO_FEW
        if not self.slowest <= 60 * rate / float(np.median(np.diff(places))) <= self.fastest:
            return OTHER_RATE.format(self.slowest, self.fastest)
        return None

    def unfit_shape(
        self, signal: Floats, beats: beat_features.Beats, detected: Ints, rate: float
    ) -> str | None:
        """Why a recording is not scored for its `signal` [n] of `rate` Hz without wander, or for the shape of its beats."""
        if beat_features.agreement(beats, rate) < self.least_agreement:
            return self.reason
        if not has_complexes(signal, detected, rate):
            return NO_COMPLEXES
        least, most = self.least_centroid_hz, self.most_centroid_hz or rate
        found = recording_faults.spectral_centroid(signal, rate)
        return None if least <= found <= most else OTHER_FREQUENCIES.format(found, least, most)


def unfit_signal(samples: Floats, rate: float, flat: Ints) -> str | None:
    """Why a recording whose `samples` [n] as sent have these `flat` stretches [f,2] is not scored, whatever its beats."""
    if (lost := int((flat[:, 1] - flat[:, 0] + 1).sum())) > MOST_FLAT * len(samples):
        return FLAT.format(lost / rate, len(samples) / rate)
    return CLIPPED if recording_faults.is_clipped(samples) else None


def unfit_places(places: Ints, detected: Ints, rate: float) -> str | None:
    """Why beats that were sent, `places` [b] of `rate` Hz, are not scored: not where `detected` [d] are, or too few of them."""
    if _share_near(places, detected, NEAR_S * rate) < 0.5:
        return NOT_ON_BEATS
    sent = _share_near(detected, places, NEAR_S * rate)
    return BEATS_MISSING.format(100 * sent) if sent < LEAST_SENT else None


def unfit_pause(places: Ints, count: int, rate: float) -> str | None:
    """Why `count` samples of `rate` Hz whose beats are detected, at `places` [b], are not scored: none for long."""
    start, samples = longest_without(places, count)
    most = min(max(count / rate / 10, LEAST_PAUSE_S), MOST_PAUSE_S)
    return PAUSE.format(samples / rate, start / rate) if samples / rate > most else None


def longest_without(places: Ints, count: int) -> tuple[int, int]:
    """The longest stretch of `count` samples without one of `places` [b], as (its first sample, how many)."""
    ends = np.concatenate([[0], places, [count]])
    longest = int(np.diff(ends).argmax())
    return int(ends[longest]), int(ends[longest + 1] - ends[longest])


def _share_near(places: Ints, others: Ints, within: float) -> float:
    """The share of `places` with one of `others` near it."""
    if not len(others):
        return 0.0
    behind = np.searchsorted(others, places)
    left, right = others[np.maximum(behind - 1, 0)], others[np.minimum(behind, len(others) - 1)]
    return float((np.minimum(np.abs(places - left), np.abs(places - right)) <= within).mean())
