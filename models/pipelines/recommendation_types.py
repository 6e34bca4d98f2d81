"""What a recommender answers, and what a rule that reviews its ranking says: plain typed values."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from models.pipelines.context_fields import Code
from models.pipelines.typed import TypedInput, TypedOptions, TypedResult
from models.pipelines.typed_classification import Coding

MOST_RANKED: Final = 50
MOST_REASONS: Final = 20
Part = Annotated[float, Field(ge=0, le=1)]


def had_items(described: Any) -> Any:
    """The type of a list of items that somebody had, with its Field; null counts as an empty one."""
    return Annotated[list[Code] | None, described, AfterValidator(lambda items: items or [])]


class RecommendationInput(TypedInput):
    """What somebody had and has. The manifest adds its fields."""

    history: list[Code] = Field(default_factory=list)
    present: list[Code] | None = None


class RecommendationOptions(TypedOptions):
    """How many items are ranked, and with how many reasons."""

    top: Annotated[int, Field(ge=1, le=MOST_RANKED, description="most items of the answer")] = 10
    reasons: Annotated[int, Field(ge=0, le=MOST_REASONS, description="most reasons of an item")] = 3
    again: Annotated[
        bool, Field(description="rank items of `history` again; those of `present` never are")
    ] = False


class Because(TypedResult):
    """One thing that speaks for an item. The shares of all of them add up to 1, also of those that are not listed."""

    field: Annotated[str, Field(description="`history`, or the field of the input")]
    code: Annotated[
        str, Field(description="id of the item, or what was sent: of codes all that are of one group")
    ]
    display: str
    share: Part


class RankedItem(TypedResult):
    """One recommended item."""

    rank: Annotated[int, Field(ge=1)]
    id: str
    display: str
    code: Coding | None
    score: Annotated[float, Field(description="what the items are ranked by; no probability")]
    usual: Annotated[float, Field(description="the score for somebody of whom nothing is known")]
    reasons: Annotated[list[Because], Field(description="what raises the score, the strongest first")]


class Objection(TypedResult):
    """What a rule has against an item."""

    id: Annotated[
        str,
        Field(description="of what the catalogue lacks, what was sent; two names of one drug stand together"),
    ]
    display: str
    kind: str
    level: str
    against: Annotated[str, Field(description="the other item, or what is known of the patient")]
    condition: Annotated[str, Field(description="when it holds, or what to do; empty means always")]
    explanation: str
    source: str
    date: str
    language: Annotated[str, Field(description="of condition and explanation, BCP 47")] = "en"


class Unchecked(TypedResult):
    """A check that a rule could not make. Without `check` none was made."""

    subject: str
    check: str | None
    reason: str
    detail: str


class Unknown(TypedResult):
    """Something of the input that the model does not know: it changed no score. A rule may know it."""

    field: str
    code: str


class RecommendationResult(TypedResult):
    """Ranked items. Empty when the model abstained."""

    type: Literal["recommendation"] = "recommendation"
    items: list[RankedItem]
    removed: Annotated[
        list[Objection], Field(description="items that a rule took out, from above the last of `items`")
    ]
    flagged: Annotated[list[Objection], Field(description="what a rule says of `items`")]
    unchecked: Annotated[
        list[Unchecked],
        Field(description="of `items` and of what was sent: what was not understood comes first"),
    ]
    flagged_present: Annotated[
        list[Objection],
        Field(
            description="what a rule says of what is had now, which is never removed; the most serious first"
        ),
    ] = Field(default_factory=list)
    unchecked_present: Annotated[
        list[Unchecked],
        Field(
            description="of what is had now, beside `unchecked`; all that was not checked where nothing was ranked"
        ),
    ] = Field(default_factory=list)
    rule: Annotated[
        str | None, Field(description="which rule reviewed the items and what is had now; null if none did")
    ]
    unknown: Annotated[
        list[Unknown],
        Field(
            description="of the input, what the model does not know: it changed no score; the rule may know it and have used it"
        ),
    ]
    known: Annotated[int, Field(ge=0, description="items and codes of the input that the model knows")]
    abstained: bool
    abstain_reason: str | None
