"""`beat-classification`: a recording of an electrocardiogram in, one of a few classes for each of its beats out.

The recording is brought to the manifest's sampling rate and freed of the wander of its baseline; its R peaks are those that
the caller sends, or are detected. The graph takes one row a beat, of what the manifest lists as `feeds`: `features` float32
[N,F] (beat_features: intervals, and the shape beside the recording's typical beat), `window` float32 [N,W], the samples
around the R peak in mV less their median, and `typical` float32 [N,W], the recording's typical beat.

A recording is abstained from as a whole where its beats cannot be told: too few, too little alike, a heart rate out of bounds,
positions that do not lie on beats or leave out many, none for long where they are detected, or what is found is no QRS
complex; and where the signal is clipped, flat for long, or of frequencies that show another sampling rate. Beats beside a flat
stretch are abstained from one by one, since their intervals are not known. How long the longest stretch
without a beat is, the start and the end of the recording included, is always told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import MODEL
from models.pipelines import beat_features, ecg_input, recording_faults
from models.pipelines.beat_features import FEATURES
from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import GraphSpec, Label, PredictionInvalid, ReadFile, Run, TensorSpec
from models.pipelines.ecg_input import EcgInput, EcgParameters
from models.pipelines.r_peaks import r_peaks
from models.pipelines.recording_quality import (
    RecordingQuality,
    longest_without,
    unfit_pause,
    unfit_places,
    unfit_signal,
)
from models.pipelines.signals import resampled, without_wander
from models.pipelines.typed import NoOptions, TypedCase, TypedPipeline, TypedResult
from models.pipelines.typed_classification import without_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines.contract import Array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS: Final = 1024  # beats of one run
WANDER_S: Final = 0.8
FOLLOWING: Final = ("heart_rate", "intervals", "counts", "beats_abstained", "abstained_share", "beats")
BESIDE_FLAT: Final = "beside a flat line of {:g} s or more: how long its intervals are is not known"


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
    """A recording before its graph runs: the samples that its beats are at, why none of them is scored, and feeds [b,...].

    `doubtful` [b] are the beats beside a flat stretch.
    """

    places: Ints
    unfit: str | None
    feeds: Mapping[str, Array]
    doubtful: NDArray[np.bool_]


def read_beats(value: EcgInput, given: BeatParameters) -> Reading:
    """Find a recording's beats, and describe them."""
    samples = np.array(value.samples, np.float64)
    signal = without_wander(
        resampled(samples / value.gain, value.sampling_rate, given.rate), given.rate, WANDER_S
    )
    scale = value.sampling_rate / given.rate
    detected = r_peaks(signal, given.rate)
    if value.beats is None:
        local = detected
        places = np.minimum(np.rint(local * scale).astype(np.int64), len(value.samples) - 1)
    else:
        places = np.array(value.beats, np.int64)
        local = np.minimum(np.rint(places / scale).astype(np.int64), len(signal) - 1)
    flat = recording_faults.flat_stretches(samples, value.sampling_rate)
    doubtful = recording_faults.beside(places, flat)
    unfit = (
        given.quality.unfit_rate(local, given.rate)
        or (
            unfit_pause(places, len(samples), value.sampling_rate)
            if value.beats is None
            else unfit_places(local, detected, given.rate)
        )
        or unfit_signal(samples, value.sampling_rate, flat)
    )
    if unfit is not None:
        return Reading(places, unfit, {}, doubtful)
    beats = beat_features.cut(signal, local, given.rate)
    if unfit := given.quality.unfit_shape(signal, beats, detected, given.rate):
        return Reading(places, unfit, {}, doubtful)
    feeds = {
        "features": beat_features.features(beats, local, given.rate),
        "window": beats.windows,
        "typical": np.broadcast_to(beats.typical, beats.windows.shape),
    }
    return Reading(places, None, {name: feeds[name].astype(np.float32) for name in given.feeds}, doubtful)


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
            doubtful = reading.doubtful[start : start + ROWS].tolist()
            for place, result, doubt in zip(places, results, doubtful, strict=True):
                known = without_label(result, BESIDE_FLAT.format(recording_faults.FLAT_S) if doubt else None)
                told = {
                    name: known[name] for name in ("label", "probabilities", "abstained", "abstain_reason")
                }
                yield Beat.model_validate({"sample": place, "time_s": place / rate, **told})


load = BeatClassification.load
