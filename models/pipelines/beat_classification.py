"""`beat-classification`: a recording of an electrocardiogram in, one of a few classes for each of its beats out.

The recording is brought to the manifest's sampling rate and freed of the wander of its baseline; its R peaks are those that
the caller sends, or are detected. The graph takes one row a beat, of what the manifest lists as `feeds`: `features` float32
[N,F] (beat_features: intervals, and the shape beside the recording's typical beat), `window` float32 [N,W], the samples
around the R peak in mV less their median, and `typical` float32 [N,W], the recording's typical beat.

A recording is abstained from as a whole where its beats cannot be told: too few, too little alike, a heart rate out of bounds,
positions that do not lie on beats, none for long where they are detected, or what is found is no QRS complex. How long the
longest stretch without a beat is, the start and the end of the recording included, is always told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import MODEL, ManifestTable, Text
from models.pipelines import beat_features, ecg_input
from models.pipelines.beat_features import FEATURES
from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import GraphSpec, Label, PredictionInvalid, ReadFile, Run, TensorSpec
from models.pipelines.ecg_input import EcgInput, EcgParameters
from models.pipelines.qrs_shape import has_complexes
from models.pipelines.r_peaks import r_peaks
from models.pipelines.signals import resampled, without_wander
from models.pipelines.typed import NoOptions, TypedCase, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines.contract import Array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS: Final = 1024  # beats of one run
WANDER_S: Final = 0.8
NEAR_S: Final = (
    0.15  # a beat that was sent and one that was detected are the same within this: ANSI/AAMI EC57
)
FEWEST_BEATS: Final = 5
SLOWEST, FASTEST = 25.0, 250.0  # beats a minute
# Of a stretch without a beat: a tenth of the recording, within these. A pause of 4 s is an asystole (Clifford et al., Computing
# in Cardiology 42:273, 2015); where beats are detected in half an hour of DS1 of the MIT-BIH database, the longest is of 8.1 s.
LEAST_PAUSE_S, MOST_PAUSE_S = 3.0, 10.0
FOLLOWING: Final = ("heart_rate", "intervals", "counts", "beats_abstained", "abstained_share", "beats")
TOO_FEW: Final = f"fewer than {FEWEST_BEATS} beats were found"
OTHER_RATE: Final = "the heart rate is not between {:g} and {:g} beats a minute: compare the sampling rate"
NOT_ON_BEATS: Final = "the beats that were sent do not lie on beats of the signal"
PAUSE: Final = "no beat was found for {:.1f} s from {:.1f} s on: a pause of the heart, or no signal"
NO_COMPLEXES: Final = "what was found lacks the shape of QRS complexes"


class RecordingQuality(ManifestTable):
    """From which recordings the model abstains as a whole, and what that costs.

    `least_agreement` is of the median correlation of the QRS complexes with the typical one, `slowest` and `fastest` of the
    median heart rate, in beats a minute. `false_alarm_rate` is the share of
    recordings of the intended kind that are abstained from, `catch_rate` that of `foreign_set`.
    """

    least_agreement: Annotated[float, Field(ge=0, le=1)]
    slowest: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = SLOWEST
    fastest: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = FASTEST
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text
    reason: Text = "its beats have no shape in common"

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if self.slowest >= self.fastest:
            raise ValueError("slowest must be less than fastest")
        return self


class BeatParameters(EcgParameters):
    """The `[parameters]` table of a beat classification manifest."""

    rate: float = Field(
        125.0, ge=100, le=1000, description="sampling rate that the graph was trained with, in Hz"
    )
    feeds: Annotated[
        tuple[Literal["features", "window", "typical"], ...], Field(min_length=1, strict=False)
    ] = ("features",)
    quality: RecordingQuality

    @model_validator(mode="after")
    def _check_feeds(self) -> Self:
        if len(set(self.feeds)) < len(self.feeds):
            raise ValueError("feeds: name each once")
        return self


class Beat(TypedResult):
    """One beat. `label` is null when the model abstained from it."""

    sample: Annotated[int, Field(description="number of the sample, from 0, at which its R peak is")]
    time_s: float
    label: str | None
    probabilities: Annotated[dict[str, Share], Field(min_length=2)]
    abstained: bool
    abstain_reason: str | None


class Intervals(TypedResult):
    """The intervals from beat to beat, in seconds."""

    median_s: float
    shortest_s: float
    longest_s: float
    deviation_s: float


class BeatsResult(TypedResult):
    """The beats of a recording in their order; null, with all that follows from them, if it abstained from the recording."""

    type: Literal["beats"] = "beats"
    abstained: Annotated[bool, Field(description="from the whole recording")]
    abstain_reason: str | None
    duration_s: float
    positions: Literal["given", "detected"]
    longest_without_beats_s: Annotated[
        float, Field(description="longest stretch without a beat, also from the start or to the end")
    ]
    heart_rate: Annotated[float | None, Field(description="mean, in beats a minute")]
    intervals: Intervals | None
    counts: Annotated[dict[str, int] | None, Field(description="beats by label")]
    beats_abstained: Annotated[int | None, Field(description="beats that have no label")]
    abstained_share: Share | None
    beats: list[Beat] | None


class BeatClassification(TypedPipeline[BeatParameters, EcgInput, BeatsResult, NoOptions]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Make the input's type of the manifest's lead and limits."""
        self.input_type = ecg_input.input_type(self.parameters)
        self.classifier = Classifier(self.parameters)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        width = beat_features.window_length(self.parameters.rate)
        widths = {"features": len(FEATURES), "window": width, "typical": width}
        feeds = tuple(TensorSpec(name, "float32", (widths[name],)) for name in self.parameters.feeds)
        return {MODEL: GraphSpec(feeds, self.classifier.outputs)}

    def labels(self) -> list[Label]:
        """See Pipeline."""
        return self.classifier.labels()

    def check(self, value: EcgInput) -> None:
        """See ecg_input."""
        ecg_input.check(value, self.parameters)

    def open_bundle(self, folder: Path) -> BeatScoring:  # noqa: ARG002 - it needs no file but the graph
        """See TypedPipeline."""
        return BeatScoring(self.parameters, self.classifier)


class Reading(NamedTuple):
    """A recording before its graph runs: the samples that its beats are at, why none of them is scored, and feeds [b,...]."""

    places: Ints
    unfit: str | None
    feeds: Mapping[str, Array]


def read_beats(value: EcgInput, given: BeatParameters) -> Reading:
    """Find a recording's beats, and describe them."""
    signal = np.array(value.samples, np.float64) / value.gain
    signal = without_wander(resampled(signal, value.sampling_rate, given.rate), given.rate, WANDER_S)
    scale = value.sampling_rate / given.rate
    detected = r_peaks(signal, given.rate)
    if value.beats is None:
        local = detected
        places = np.minimum(np.rint(local * scale).astype(np.int64), len(value.samples) - 1)
    else:
        places = np.array(value.beats, np.int64)
        local = np.minimum(np.rint(places / scale).astype(np.int64), len(signal) - 1)
    if unfit := _unfit_rhythm(value, given, places, local, detected):
        return Reading(places, unfit, {})
    beats = beat_features.cut(signal, local, given.rate)
    if beat_features.agreement(beats, given.rate) < given.quality.least_agreement:
        return Reading(places, given.quality.reason, {})
    if not has_complexes(signal, detected, given.rate):
        return Reading(places, NO_COMPLEXES, {})
    feeds = {
        "features": beat_features.features(beats, local, given.rate),
        "window": beats.windows,
        "typical": np.broadcast_to(beats.typical, beats.windows.shape),
    }
    return Reading(places, None, {name: feeds[name].astype(np.float32) for name in given.feeds})


def longest_without(places: Ints, count: int) -> tuple[int, int]:
    """The longest stretch of `count` samples without one of `places` [b], as (its first sample, how many)."""
    ends = np.concatenate([[0], places, [count]])
    longest = int(np.diff(ends).argmax())
    return int(ends[longest]), int(ends[longest + 1] - ends[longest])


def _unfit_rhythm(
    value: EcgInput, given: BeatParameters, places: Ints, local: Ints, detected: Ints
) -> str | None:
    """Why a recording with beats at `places` [b], or `local` [b] at the graph's rate, is not scored, whatever their shape."""
    if len(local) < FEWEST_BEATS:
        return TOO_FEW
    slowest, fastest = given.quality.slowest, given.quality.fastest
    if not slowest <= 60 * given.rate / float(np.median(np.diff(local))) <= fastest:
        return OTHER_RATE.format(slowest, fastest)
    if value.beats is not None:
        return NOT_ON_BEATS if _share_near(local, detected, NEAR_S * given.rate) < 0.5 else None
    start, samples = longest_without(places, len(value.samples))
    most = min(max(len(value.samples) / value.sampling_rate / 10, LEAST_PAUSE_S), MOST_PAUSE_S)
    seconds = samples / value.sampling_rate
    return PAUSE.format(seconds, start / value.sampling_rate) if seconds > most else None


def _share_near(places: Ints, others: Ints, within: float) -> float:
    """The share of `places` with one of `others` near it."""
    if not len(others):
        return 0.0
    behind = np.searchsorted(others, places)
    left, right = others[np.maximum(behind - 1, 0)], others[np.minimum(behind, len(others) - 1)]
    return float((np.minimum(np.abs(places - left), np.abs(places - right)) <= within).mean())


class BeatScoring:
    """Scores recordings one after the other, each in runs of ROWS beats."""

    def __init__(self, parameters: BeatParameters, classifier: Classifier) -> None:
        self._parameters = parameters
        self._classifier = classifier

    def score(self, run: Run, cases: Sequence[TypedCase[EcgInput, NoOptions]]) -> list[BeatsResult]:
        """See TypedScoring."""
        return [self._result(run, row, case.input) for row, case in enumerate(cases)]

    def _result(self, run: Run, row: int, value: EcgInput) -> BeatsResult:
        reading = read_beats(value, self._parameters)
        positions: Literal["given", "detected"] = "detected" if value.beats is None else "given"
        about: dict[str, Any] = {
            "duration_s": len(value.samples) / value.sampling_rate,
            "positions": positions,
            "longest_without_beats_s": longest_without(reading.places, len(value.samples))[1]
            / value.sampling_rate,
        }
        if reading.unfit is not None:
            nothing: dict[str, Any] = dict.fromkeys(FOLLOWING)
            return BeatsResult(abstained=True, abstain_reason=reading.unfit, **about, **nothing)
        beats = list(self._beats(run, row, reading, value.sampling_rate))
        labels = [beat.label for beat in beats]
        intervals = np.diff(reading.places) / value.sampling_rate
        return BeatsResult(
            abstained=False,
            abstain_reason=None,
            **about,
            heart_rate=float(60 / intervals.mean()),
            intervals=Intervals(
                median_s=float(np.median(intervals)),
                shortest_s=float(intervals.min()),
                longest_s=float(intervals.max()),
                deviation_s=float(intervals.std()),
            ),
            counts={label.id: labels.count(label.id) for label in self._classifier.labels()},
            beats_abstained=labels.count(None),
            abstained_share=labels.count(None) / len(labels),
            beats=beats,
        )

    def _beats(self, run: Run, row: int, reading: Reading, rate: float) -> Iterator[Beat]:
        """Raises PredictionInvalid for the recording at `row`."""
        for start in range(0, len(reading.places), ROWS):
            places = reading.places[start : start + ROWS].tolist()
            outputs = run({name: feed[start : start + ROWS] for name, feed in reading.feeds.items()})
            try:
                results = self._classifier.results(outputs, len(places))
            except PredictionInvalid as invalid:
                raise PredictionInvalid((row,), invalid.reason) from None
            for place, result in zip(places, results, strict=True):
                told = {
                    name: result[name] for name in ("label", "probabilities", "abstained", "abstain_reason")
                }
                yield Beat.model_validate({"sample": place, "time_s": place / rate, **told})


load = BeatClassification.load
