"""How much of a patient must have been measured for an answer, and what a series lacks of it.

A model of series reads what was not measured, too: in intensive care few laboratory values mean that nobody saw a need for
more. Of an export that lacks a table that is not true, and the model would call the patient well. So it abstains from series
that have less than nearly all patients of its training data had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from models.manifest import ManifestTable, Text
from models.pipelines.classification_parameters import Share
from models.pipelines.timeseries_measures import Measure, Series


class MeasureGroup(ManifestTable):
    """Measures of one kind, such as laboratory values, of which at least `fewest` must have a known value."""

    title: Text
    measures: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    fewest: int = Field(ge=1, description="fewest of its measures with a known value")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.measures)) < len(self.measures):
            raise ValueError("measures: name each once")
        if self.fewest > len(self.measures):
            raise ValueError("fewest must be at most the number of measures")
        return self


class Completeness(ManifestTable):
    """From which series the model abstains because too little was measured, and what that costs and catches."""

    groups: Annotated[tuple[MeasureGroup, ...], Field(min_length=1, strict=False)]
    fewest_hours: int = Field(1, ge=1, description="fewest different hours with a known value")
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text

    def check(self, measures: Sequence[Measure], hours: int) -> None:
        """ValueError if a group names no measure of the manifest, or if no series can have so many hours."""
        names = {each.name for each in measures}
        for group in self.groups:
            if strange := [name for name in group.measures if name not in names]:
                raise ValueError(f"completeness: {group.title}: {strange[0]} is no measure")
        if self.fewest_hours > hours:
            raise ValueError("completeness: fewest_hours must be at most hours")

    @property
    def least(self) -> tuple[set[str], int]:
        """Names of measures and a number of hours that are enough."""
        return {name for each in self.groups for name in each.measures[: each.fewest]}, self.fewest_hours

    def lacks(self, series: Series) -> str | None:
        """What a series of known values has too little of, in words; None if it has enough."""
        found = list(self._lacks(series))
        return f"too little was measured for an answer: {'; '.join(found)}" if found else None

    def _lacks(self, series: Series) -> Iterator[str]:
        for group in self.groups:
            number = sum(name in series for name in group.measures)
            if number < group.fewest:
                yield f"{number} of {len(group.measures)} {group.title}, at least {group.fewest} needed"
        hours = len({int(time) for pairs in series.values() for time, _ in pairs})
        if hours < self.fewest_hours:
            yield f"values in {hours} different hours, at least {self.fewest_hours} needed"
