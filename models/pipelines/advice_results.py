"""What a catalogue of advice answers: plain typed values, all texts in the language of the job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.pipelines.recommendation_types import Unchecked, Unknown
from models.pipelines.typed import TypedResult


class Reason(TypedResult):
    """One thing of the input for which a rule fired."""

    field: Annotated[str, Field(description="`conditions`, or another field of the input")]
    value: Annotated[str, Field(description="the code of the condition, or the value with its unit")]
    display: str


class CareAdvice(TypedResult):
    """A red flag: somebody should be seen by a doctor, whatever else is advised."""

    id: str
    urgency: Literal["emergency", "urgent", "soon"]
    text: str
    because: list[Reason]
    source: str
    url: str
    year: int


class AdviceItem(TypedResult):
    """One piece of advice. `unchecked` names absent values that would have spoken against it, had they been beyond a bound."""

    rank: Annotated[int, Field(ge=1)]
    id: str
    category: str
    text: str
    because: Annotated[list[Reason], Field(description="empty: holds for every adult")]
    unchecked: list[str]
    grade: Annotated[str | None, Field(description="as the source grades it; null where it is not stated")]
    source: str
    url: str
    year: int


class Withheld(TypedResult):
    """Advice that fits, and must not be shown."""

    id: str
    category: str
    reason: str
    because: list[Reason]


class Undetermined(TypedResult):
    """Advice that could not be decided, and is not shown: `missing` are the absent fields that it needs."""

    id: str
    category: str
    missing: list[str]


class UncheckedFlag(TypedResult):
    """A red flag that could not be checked: `missing` are the absent fields that it needs."""

    id: str
    missing: list[str]


class AdviceResult(TypedResult):
    """Advice by written rules. Without advice when the pipeline abstained; red flags are told all the same."""

    type: Literal["advice"] = "advice"
    method: Annotated[
        Literal["rules"], Field(description="written by hand; nothing was learnt from data")
    ] = "rules"
    seek_care: Annotated[list[CareAdvice], Field(description="the most urgent first")]
    items: Annotated[
        list[AdviceItem], Field(description="what avoids harm first, what holds for everybody last")
    ]
    withheld: list[Withheld]
    undetermined: list[Undetermined]
    unchecked_flags: list[UncheckedFlag]
    unchecked: Annotated[
        list[Unchecked],
        Field(
            description="codes that a measured value contradicts, one of both is wrong; codes that may be of another system"
        ),
    ] = Field(default_factory=list)
    unknown: Annotated[list[Unknown], Field(description="codes that fall into no group of the catalogue")]
    language: Literal["en", "zh"]
    catalogue_date: str
    reviewed_by: Annotated[
        str | None, Field(description="the clinician who reviewed the catalogue; null: nobody")
    ]
    abstained: bool
    abstain_reason: str | None
