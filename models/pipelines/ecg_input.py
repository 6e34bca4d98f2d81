"""A recording of an electrocardiogram as an input: its type for a manifest, and what is refused when it is submitted.

Plain Python, because the API has no numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from math import isfinite, sin
from statistics import median_high
from typing import Annotated, Any, Final, Self

from pydantic import Field, conlist, create_model, model_validator

from models.field_codes import FieldCode
from models.manifest_words import LEAD
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.contract import FieldFault, InputRejected, pointer_to
from models.pipelines.long_numbers import long_numbers
from models.pipelines.typed import TypedInput

LEAST_RATE, MOST_RATE = 100.0, 2000.0
CLOSEST_S: Final = 0.1  # two beats
STRETCH_S: Final = 2.0  # holds a beat at 30 beats a minute
# Times the greatest usual range: no sample is farther from the middle. Electrodes drift apart by at most 0.3 V, which recorders
# take out (IEC 60601-2-25); 50 mV are ten times what the recorders of the MIT-BIH databases take.
STRAY: Final = 2.5
# A single sample is no farther from both of its neighbours than the usual range of the signal within STRETCH_S, or than this if
# that is more: in DS1 of the MIT-BIH database (22 records at 125 Hz) the farthest is 1.5 mV, and .62 of that range, from them.
LONE_MV: Final = 3.0
MOST_FAULTS: Final = 100


class EcgParameters(ClassificationParameters):
    """The share of a manifest's parameters that says which recordings are taken."""

    lead: str = Field("II", pattern=LEAD)
    shortest_s: float = Field(10.0, ge=5, le=600, description="shortest recording")
    longest_s: float = Field(7200.0, ge=10, le=86_400, description="longest recording")
    least_mv: float = Field(0.1, gt=0, description="least usual range of the signal within two seconds")
    most_mv: float = Field(20.0, gt=0, description="greatest usual range of the signal within two seconds")

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.shortest_s >= self.longest_s or self.least_mv >= self.most_mv:
            raise ValueError("shortest_s must be less than longest_s, and least_mv less than most_mv")
        return self


class EcgInput(TypedInput):
    """A recording; `samples` are of the manifest's lead."""

    lead: str
    sampling_rate: float = Field(
        title="Sampling rate", ge=LEAST_RATE, le=MOST_RATE, json_schema_extra={"unit": "Hz"}, examples=[125]
    )
    gain: float = Field(
        title="Gain",
        description="units of a sample in a millivolt: 1 if the samples are in millivolts, 1000 if they are in microvolts",
        gt=0,
        le=1e6,
        examples=[200],
    )
    samples: Sequence[float]
    beats: list[int] | None = None


def input_type(given: EcgParameters) -> type[EcgInput]:
    """The type of a manifest's inputs."""
    samples: Any = long_numbers(
        least=int(given.shortest_s * LEAST_RATE),
        most=int(given.longest_s * MOST_RATE),
        title="Samples",
        description=f"of the lead {given.lead}, {given.shortest_s:g} to {given.longest_s:g} seconds, in units of 1/gain mV",
        examples=[_example(given)],
    )
    beats: Any = Field(
        title="Beats",
        description="numbers of the samples, from 0, at which the R peaks are, in their order; detected if omitted",
    )
    listed: Any = conlist(int, max_length=int(given.longest_s / CLOSEST_S))
    lead: Any = Field(title="Lead", json_schema_extra={"enum": [given.lead]}, examples=[given.lead])
    return create_model(
        "EcgInput",
        __base__=EcgInput,
        lead=(Annotated[str, lead], ...),
        samples=(samples, ...),
        beats=(Annotated[listed | None, beats], None),
    )


def check(value: EcgInput, given: EcgParameters) -> None:
    """Refuse what is no such recording; see docs/models.md for the rules. Raises InputRejected."""
    if faults := list(islice(_faults(value, given), MOST_FAULTS)):
        raise InputRejected(*faults)


def _faults(value: EcgInput, given: EcgParameters) -> Iterator[FieldFault]:
    if value.lead != given.lead:
        yield FieldFault(
            "/lead", FieldCode.NOT_ALLOWED, f"lead must be {given.lead}: send that lead of the recording."
        )
    seconds = len(value.samples) / value.sampling_rate
    bounds = f"samples must be of {given.shortest_s:g} to {given.longest_s:g} seconds"
    if seconds < given.shortest_s:
        yield FieldFault("/samples", FieldCode.TOO_SHORT, f"{bounds}: send more of the recording.")
    elif seconds > given.longest_s:
        yield FieldFault("/samples", FieldCode.TOO_LONG, f"{bounds}: send the recording in parts.")
    else:
        yield from _range_faults(value, given)
    yield from _beat_faults(value.beats or (), len(value.samples), value.sampling_rate)
    if value.beats is not None and len(value.beats) < seconds / 10:
        detail = "Fewer than six beats a minute are given: send all of them, or leave beats out."
        yield FieldFault("/beats", FieldCode.TOO_SHORT, detail)


def _range_faults(value: EcgInput, given: EcgParameters) -> Iterator[FieldFault]:
    """Whether the usual range of the signal within STRETCH_S, the median of all stretches, is that of an electrocardiogram.

    Nor may any sample be far from the usual middle of a stretch.
    """
    width = max(int(STRETCH_S * value.sampling_rate), 1)
    starts = [*range(0, len(value.samples) - width, width), len(value.samples) - width]
    stretches = (value.samples[start : start + width] for start in starts)
    ends = [(min(stretch), max(stretch)) for stretch in stretches]
    usual = median_high(high - low for low, high in ends) / value.gain
    if all(low == high for low, high in ends):
        yield FieldFault(
            "/samples", FieldCode.FLAT_SIGNAL, "The signal is a flat line: send a lead that was connected."
        )
    elif not (isfinite(usual) and given.least_mv <= usual <= given.most_mv):
        limits = f"between {given.least_mv:g} and {given.most_mv:g} mV"
        what = f"The usual range of the signal within {STRETCH_S:g} seconds"
        detail = f"{what} must be {limits}: compare gain with the unit of the samples."
        yield FieldFault("/samples", FieldCode.OUT_OF_RANGE, detail)
    elif _farthest(ends) / value.gain > STRAY * given.most_mv:
        detail = (
            f"A sample is more than {STRAY * given.most_mv:g} mV from the middle of the signal: leave out what marks "
            "missing samples, such as -32768, and send the parts between as recordings."
        )
        yield FieldFault("/samples", FieldCode.OUT_OF_RANGE, detail)
    else:
        tall = [
            start for start, (low, high) in zip(starts, ends, strict=True) if high - low > usual * value.gain
        ]
        lone = _lone(value.samples, tall, width, max(LONE_MV, usual) * value.gain)
        if lone is not None:
            detail = (
                "It is farther from the samples on both sides of it than a heart can make it: give it the mean of those, "
                "or send the parts between such samples as recordings."
            )
            yield FieldFault(pointer_to("samples", str(lone)), FieldCode.OUT_OF_RANGE, detail)


def _lone(samples: Sequence[float], starts: Sequence[int], width: int, limit: float) -> int | None:
    """The first sample of these stretches that is more than `limit` above, or below, the two beside it; None without."""
    last = len(samples) - 1
    for start in starts:
        for place in range(start, start + width):
            here = samples[place]
            before = samples[place - 1] if place else samples[2]
            after = samples[place + 1] if place < last else samples[place - 2]
            if min(here - before, here - after) > limit or min(before - here, after - here) > limit:
                return place
    return None


def _farthest(ends: Sequence[tuple[float, float]]) -> float:
    """How far the least or greatest sample is from the usual middle, of stretches with these least and greatest ones."""
    middle = median_high(low / 2 + high / 2 for low, high in ends)
    return max(max(high - middle, middle - low) for low, high in ends)


def _beat_faults(beats: Sequence[int], count: int, rate: float) -> Iterator[FieldFault]:
    """Faults of single beats, and of their order."""
    for place, beat in enumerate(beats):
        if not 0 <= beat < count:
            detail = "A beat must be the number of a sample, from 0: compare its sampling rate with that of the samples."
            yield FieldFault(pointer_to("beats", str(place)), FieldCode.OUT_OF_RANGE, detail)
    for place, (before, beat) in enumerate(pairwise(beats), start=1):
        at = pointer_to("beats", str(place))
        if beat < before:
            yield FieldFault(
                at, FieldCode.OUT_OF_ORDER, "It is earlier than the beat before: sort the beats."
            )
        elif beat - before < CLOSEST_S * rate:
            detail = f"It is less than {CLOSEST_S:g} s after the beat before: send each beat once."
            yield FieldFault(at, FieldCode.DOUBLED, detail)


def _example(given: EcgParameters) -> list[float]:
    """The shortest recording, at 125 Hz: 75 spikes a minute on a slow wave, in units of 1/200 mV."""
    rate = 125
    shape: Mapping[int, int] = {-2: 40, -1: 130, 0: 200, 1: 110, 2: -30}
    count = int(given.shortest_s * rate) + 1
    return [shape.get((place + 50) % 100 - 50, 0) + round(6 * sin(place / 40)) for place in range(count)]
