"""`timeseries-classification`: irregular measurements of one patient in, one of a few classes out.

An input is a list of observations: time since the start, parameter, value, in the order of their times. The pipeline sums each
parameter up, because the number of measurements and their times differ from patient to patient; the graph takes `summary`
float32 [N, P, 8]: for each of the manifest's P parameters in its order the first, last, least, greatest and mean value, the
number of values, and the times of the first and the last in hours. All but the number are NaN where there is none.

Answers for parts of a recording, such as one per beat, are another kind of result and so of another pipeline.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, create_model, model_validator

from models.field_codes import FieldCode
from models.lazy import np
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.contract import FieldFault, InputRejected, ReadFile, TensorSpec, pointer_to
from models.pipelines.features.written import explained
from models.pipelines.missing_fields import MISSING, with_missing
from models.pipelines.timeseries_completeness import Completeness
from models.pipelines.timeseries_measures import Measure, check_names, faults_of_series
from models.pipelines.typed import TypedInput
from models.pipelines.typed_classification import ClassificationResult, TypedClassification

if TYPE_CHECKING:
    from models.pipelines.contract import Array

STATISTICS: Final = ("first", "last", "least", "greatest", "mean", "count", "first_time", "last_time")
CLOCK: Final = r"^[0-9]{2,3}:[0-5][0-9]$"
MOST_FAULTS: Final = 100


class SeriesParameters(ClassificationParameters):
    """The `[parameters]` table of a manifest of time series."""

    measures: Annotated[tuple[Measure, ...], Field(min_length=1, max_length=500, strict=False)]
    hours: int = Field(48, ge=1, le=960, description="time of the latest observation")
    fewest: int = Field(1, ge=1, description="fewest known values")
    most: int = Field(10_000, ge=1, le=100_000, description="most observations")
    shortest_hours: float = Field(0, ge=0, description="least time that some measure spans")
    completeness: Completeness | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_names(self.measures)
        if self.shortest_hours > self.hours:
            raise ValueError("shortest_hours must be at most hours")
        if self.completeness is not None:
            self.completeness.check(self.measures, self.hours)
        return self


class Observation(TypedInput):
    """One measurement."""

    time: str = Field(title="Time since the start, as hours and minutes", pattern=CLOCK, examples=["00:07"])
    parameter: str
    value: float


class SeriesInput(TypedInput):
    """All measurements of one patient."""

    observations: list[Observation]


class SeriesResult(ClassificationResult):
    """The answer for a series, with the parameters of which no value is known."""

    missing: list[str]


class TimeseriesClassification(TypedClassification[SeriesParameters, SeriesInput]):
    """The pipeline. Immutable once made."""

    result_type: type[SeriesResult] = SeriesResult

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Give the input's type the manifest's parameters and limits."""
        given = self.parameters
        self._places = {measure.name: place for place, measure in enumerate(given.measures)}
        told = explained(list(self._places), {}, {each.name: each.range_text for each in given.measures})
        closed: Any = {"enum": list(self._places), **told}
        names: Any = Field(title="Parameter", json_schema_extra=closed)
        one: Any = create_model("Observation", __base__=Observation, parameter=(Annotated[str, names], ...))
        field: Any = Field(
            title="Observations",
            description="in the order of their times"
            + (
                f", some parameter over at least {given.shortest_hours:g} hours"
                if given.shortest_hours
                else ""
            ),
            min_length=1,
            max_length=given.most,
            examples=[self._example()],
        )
        listed: Any = Annotated[list[one], field]
        self.input_type = create_model("SeriesInput", __base__=SeriesInput, observations=(listed, ...))

    def _example(self) -> list[dict[str, object]]:
        """As many values as must be known over as long as they must span, each parameter in turn in the middle of its range.

        Where the model does not answer without some parameters, those; what belongs to the patient once, at the start.
        """
        given = self.parameters
        needed, hours = given.completeness.least if given.completeness is not None else (set(self._places), 1)
        lasting = [each for each in given.measures if each.name in needed and each.most_change is not None]
        measures = [each for each in given.measures if each.name in needed and each.most_change is None]
        if not measures or given.completeness is None:
            lasting, measures = [], measures or list(given.measures)
        number = max(given.fewest, hours, 2 if given.shortest_hours else 1)
        if given.completeness is not None:
            number = max(number, len(measures) + 1)
        step = max(1, math.ceil(max(given.shortest_hours, hours - 1) * 60 / max(number - 1, 1)))
        turns = (
            (
                min(place * step, given.hours * 60),
                measures[place % len(measures) if place < number - 1 else 0],
            )
            for place in range(number)
        )
        return [
            {
                "time": f"{minute // 60:02}:{minute % 60:02}",
                "parameter": each.name,
                "value": each.middle,
            }
            for minute, each in [*((0, each) for each in lasting), *turns]
        ]

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """See the module."""
        return (TensorSpec("summary", "float32", (len(self.parameters.measures), len(STATISTICS))),)

    def result_schema(self) -> dict[str, object]:
        """See Pipeline."""
        return with_missing(
            super().result_schema(), [*self._places], "the parameters of which no value is known"
        )

    def doubt(self, value: SeriesInput, label: str | None) -> str | None:  # noqa: ARG002 - whatever it is
        """Why a series is not answered: too little was measured, or a parameter looks to be in another unit."""
        given, known = self.parameters, self.known(value)
        lacking = given.completeness.lacks(known) if given.completeness is not None else None
        strange = [
            doubt
            for each in given.measures
            if each.name in known
            for doubt in each.doubts([number for _, number in known[each.name]])
        ]
        return "; ".join(filter(None, [lacking, *strange])) or None

    def result_of(self, result: Mapping[str, object], value: SeriesInput) -> SeriesResult:
        """See TypedClassification."""
        known = self.known(value)
        missing = [name for name in self._places if name not in known]
        return SeriesResult.model_validate({**result, MISSING: missing})

    def check(self, value: SeriesInput) -> None:
        """Refuse what is no series of the manifest's parameters; see docs/models.md for the rules."""
        faults = _counted(self._faults(value.observations))
        if not faults:
            faults.extend(self._faults_together(value))
        if faults:
            raise InputRejected(*faults)

    def length_of(self, value: SeriesInput) -> int:  # noqa: ARG002 - every summary has one size
        """One: every summary has the same size."""
        return 1

    def feeds_of(self, values: Sequence[SeriesInput], length: int) -> Mapping[str, Array]:  # noqa: ARG002 - see length_of
        """See the module."""
        return {"summary": np.stack([self._summary(value) for value in values])}

    def _summary(self, value: SeriesInput) -> Array:
        """float32 [P,8]."""
        summary = np.full((len(self._places), len(STATISTICS)), np.nan, np.float32)
        summary[:, STATISTICS.index("count")] = 0
        for name, pairs in self.known(value).items():
            numbers = [number for _, number in pairs]
            mean = sum(numbers) / len(numbers)
            summary[self._places[name]] = (
                numbers[0], numbers[-1], min(numbers), max(numbers), mean, len(numbers), pairs[0][0], pairs[-1][0],
            )  # fmt: skip
        return summary

    def known(self, value: SeriesInput) -> dict[str, list[tuple[float, float]]]:
        """The known values of an accepted input by parameter: (hours since the start, value), in the order of the times."""
        found: dict[str, list[tuple[float, float]]] = {}
        for each in value.observations:
            if each.value != self.parameters.measures[self._places[each.parameter]].unknown:
                found.setdefault(each.parameter, []).append((_hours(each.time), each.value))
        return found

    def _faults_together(self, value: SeriesInput) -> Iterator[FieldFault]:
        """Faults of the series as a whole."""
        given, known = self.parameters, self.known(value)
        if (number := sum(map(len, known.values()))) < given.fewest:
            detail = f"Only {number} values are known: send at least {given.fewest}."
            yield FieldFault("/observations", FieldCode.TOO_SHORT, detail)
        else:
            yield from faults_of_series(given.measures, known, given.shortest_hours)

    def _faults(self, observations: Sequence[Observation]) -> Iterator[tuple[str, FieldFault]]:
        """Faults of single observations, with the parameter that they are of, and of their order, with ""."""
        before, seen = 0.0, set()
        for place, each in enumerate(observations):
            at = ("observations", str(place))
            if each.parameter not in self._places:
                detail = f"parameter must be one of {', '.join(self._places)}."
                yield each.parameter, FieldFault(pointer_to(*at, "parameter"), FieldCode.NOT_ALLOWED, detail)
                continue
            measure, hours = self.parameters.measures[self._places[each.parameter]], _hours(each.time)
            for code, detail in measure.faults(each.value):
                yield measure.name, FieldFault(pointer_to(*at, "value"), code, detail)
            if hours > self.parameters.hours:
                detail = f"time must be at most {self.parameters.hours:02}:00: leave later observations out."
                yield "", FieldFault(pointer_to(*at, "time"), FieldCode.OUT_OF_RANGE, detail)
            if hours < before:
                detail = "It is earlier than the one before: sort the observations by time."
                yield "", FieldFault(pointer_to(*at, "time"), FieldCode.OUT_OF_ORDER, detail)
            if (key := (each.time, each.parameter, each.value)) in seen:
                detail = "This observation is given twice: send it once."
                yield "", FieldFault(pointer_to(*at), FieldCode.DOUBLED, detail)
            seen.add(key)
            before = hours


def _counted(faults: Iterator[tuple[str, FieldFault]]) -> list[FieldFault]:
    """Each fault once, at its first observation, with the number of observations that have it; at most MOST_FAULTS."""
    first: dict[tuple[str, str], FieldFault] = {}
    counts = Counter[tuple[str, str]]()
    for name, fault in faults:
        first.setdefault((name, fault.detail), fault)
        counts[name, fault.detail] += 1
    return [
        fault if counts[key] == 1 else _of_several(fault, counts[key])
        for key, fault in islice(first.items(), MOST_FAULTS)
    ]


def _of_several(fault: FieldFault, count: int) -> FieldFault:
    detail = f"{fault.detail} {count} observations have this fault, and this is the first of them."
    return FieldFault(fault.pointer, fault.code, detail)


def _hours(time: str) -> float:
    hours, _, minutes = time.partition(":")
    return int(hours) + int(minutes) / 60


load = TimeseriesClassification.load
