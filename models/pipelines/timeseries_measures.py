"""What is measured over time, and which whole series of a patient is refused though each of its values may occur.

Charts hold artefacts: a pressure of 0 while a catheter is flushed. So single values have wide ranges, and the median of a
series the narrower, usual one: that shows a heart rate of 0 throughout, a height in metres, or glucose in mmol/L. Where the
values of another unit may occur, their decimals tell together with a low median: urea of 7.1 and 6.4 mmol/L where BUN is
charted in whole mg/dL. Decimals alone tell nothing: one hospital charts a weight as 72.3 kg, another as 72.26. What only few
patients have is no fault but a doubt: from such a series the model abstains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Annotated, Self

from pydantic import Field, model_validator

from models import units
from models.field_codes import FieldCode
from models.manifest import ManifestTable, Text
from models.pipelines.contract import FieldFault
from models.ucum import Unit

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Known values by the name of their measure: (hours since the start, value), in the order of the times."""

FEWEST_LONGER = (
    2  # different values: in set A of the 2012 challenge, all series with more decimals had a single value
)


class SuspectUnit(ManifestTable):
    """Another unit that a measure may have been sent in: its values are accepted, but few patients have such a series.

    Suspected from a median of `from_median` on, or up to `to_median`; with `whole` only if no value has a fraction.
    """

    unit: Text
    from_median: float | None = None
    to_median: float | None = None
    whole: bool = Field(False, description="only of whole numbers")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.from_median is None) == (self.to_median is None):
            raise ValueError("give one of from_median and to_median")
        return self

    def suspects(self, values: Sequence[float]) -> bool:
        """Whether a series of values, not empty, may be in this unit."""
        middle = median(values)
        beyond = (
            middle <= self.to_median if self.to_median is not None else middle >= (self.from_median or 0.0)
        )
        return beyond and not (self.whole and has_decimals(values, 0, share=0.0))


class Measure(ManifestTable):
    """One parameter that is measured. `unknown` is written where a value is not known, and is read as no value."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
    title: Text
    unit: Unit = "1"
    minimum: float
    maximum: float
    unknown: float | None = None
    whole: bool = Field(False, description="only whole numbers")
    usual_minimum: float | None = Field(None, description="least median of a series")
    usual_maximum: float | None = Field(None, description="greatest median of a series")
    most_change: float | None = Field(None, ge=0, description="greatest difference within a series")
    not_below: str | None = Field(None, description="the measure whose median it must reach")
    decimals: int | None = Field(None, ge=0, le=9, description="most decimals of most values of a series")
    decimals_to_median: float | None = Field(
        None, description="greatest median at which more decimals are those of another unit"
    )
    suspect_units: Annotated[tuple[SuspectUnit, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError("minimum must be less than maximum")
        if self.unknown is not None and self.minimum <= self.unknown <= self.maximum:
            raise ValueError("unknown must be outside of minimum and maximum: it would be a value, too")
        low, high = self.usual
        if not self.minimum <= low < high <= self.maximum:
            raise ValueError("usual_minimum and usual_maximum must be within minimum and maximum")
        if (self.decimals is None) != (self.decimals_to_median is None):
            raise ValueError("give decimals and decimals_to_median together, or neither")
        return self

    @property
    def range_text(self) -> str:
        """Such as "Heart rate, 0 to 350 /min, -1 if unknown"."""
        whole = ", whole numbers" if self.whole else ""
        unknown = "" if self.unknown is None else f", {self.unknown:g} if unknown"
        return f"{self.title}, {self.minimum:g} to {self.maximum:g}{units.after(self.unit)}{whole}{unknown}"

    def faults(self, value: float) -> Iterator[tuple[FieldCode, str]]:
        """What is wrong with a single value."""
        if value != self.unknown and not self.minimum <= value <= self.maximum:
            limits = f"between {self.minimum:g} and {self.maximum:g}{units.after(self.unit)}"
            yield FieldCode.OUT_OF_RANGE, f"{self.name} must be {limits}: compare its unit."
        if self.whole and not value.is_integer():
            yield FieldCode.WRONG_TYPE, f"{self.name} must be a whole number."

    @property
    def usual(self) -> tuple[float, float]:
        """The range of the median; that of a single value unless the manifest narrows it."""
        low = self.minimum if self.usual_minimum is None else self.usual_minimum
        return low, self.maximum if self.usual_maximum is None else self.usual_maximum

    @property
    def middle(self) -> float:
        """The middle of the usual range, with no more decimals than are accepted."""
        low, high = self.usual
        if self.whole:
            return math.floor((low + high) / 2)
        return round((low + high) / 2, 9 if self.decimals is None else self.decimals)

    def has_decimals_of_another_unit(self, values: Sequence[float]) -> bool:
        """Whether most of the values, not empty, have more decimals than are charted, several differ, and the median is low."""
        if self.decimals is None or self.decimals_to_median is None:
            return False
        longer = {value for value in values if has_decimals([value], self.decimals, share=0.0)}
        several = len(longer) >= FEWEST_LONGER and has_decimals(values, self.decimals, share=0.5)
        return several and median(values) <= self.decimals_to_median

    def doubts(self, values: Sequence[float]) -> Iterator[str]:
        """In which other units a series of accepted values, not empty, may be, in words."""
        for each in self.suspect_units:
            if each.suspects(values):
                alone = " of whole numbers alone" if each.whole else ""
                own = units.after(self.unit)
                yield (
                    f"{self.name} looks to be in {each.unit} instead of{own}: a median of {median(values):g}{alone} is rare"
                )


def has_decimals(values: Sequence[float], decimals: int, *, share: float) -> bool:
    """Whether more than a share of the values, not empty, have more decimals than so many; float noise is none."""
    longer = sum(not math.isclose(value, round(value, decimals), rel_tol=1e-9) for value in values)
    return longer > share * len(values)


def check_names(measures: Sequence[Measure]) -> None:
    """ValueError if two measures have one name, or `not_below` names no other measure."""
    names = {measure.name for measure in measures}
    if len(names) < len(measures):
        raise ValueError("measures: give each its own name")
    for each in measures:
        if each.not_below is not None and each.not_below not in names - {each.name}:
            raise ValueError(f"measures: not_below of {each.name} must name another measure")


def faults_of_series(
    measures: Sequence[Measure], series: Series, shortest_hours: float
) -> Iterator[FieldFault]:
    """What is wrong with a series of accepted values as a whole, with `/observations` as its place."""
    for each in measures:
        if each.name in series:
            yield from _faults_of_measure(each, series)
    span = max((pairs[-1][0] - pairs[0][0] for pairs in series.values()), default=0.0)
    if span < shortest_hours:
        detail = (
            f"No parameter spans more than {span:.1f} hours: send all of at least {shortest_hours:g} hours."
        )
        yield FieldFault("/observations", FieldCode.TOO_SHORT, detail)


def _faults_of_measure(measure: Measure, series: Series) -> Iterator[FieldFault]:
    values = [value for _, value in series[measure.name]]
    middle, (low, high) = median(values), measure.usual
    if not low <= middle <= high:
        limits = f"between {low:g} and {high:g}{units.after(measure.unit)}"
        yield _unusual(f"The median of {measure.name} must be {limits}: compare its unit.")
    if measure.most_change is not None and max(values) - min(values) > measure.most_change:
        limit = f"by at most {measure.most_change:g}{units.after(measure.unit)}"
        yield _unusual(f"{measure.name} may differ {limit} in one patient: send the one that is right.")
    if measure.has_decimals_of_another_unit(values):
        plural = "" if measure.decimals == 1 else "s"
        longer = f"more than {measure.decimals} decimal{plural}" if measure.decimals else "decimals"
        places = f"{measure.decimals} decimal{plural}" if measure.decimals else "whole numbers"
        detail = (
            f"Most values of {measure.name} have {longer}, and their median is low, which suggests another unit: "
            f"send them in{units.after(measure.unit)}, rounded to {places}."
        )
        yield FieldFault("/observations", FieldCode.INVALID_VALUE, detail)
    if (lower := series.get(measure.not_below or "")) and middle < median([value for _, value in lower]):
        yield _unusual(
            f"The median of {measure.name} is less than that of {measure.not_below}: compare them."
        )


def _unusual(detail: str) -> FieldFault:
    return FieldFault("/observations", FieldCode.OUT_OF_RANGE, detail)
