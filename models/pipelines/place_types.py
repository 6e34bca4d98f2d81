"""What a recommender of services is asked about places, and what it answers: plain typed values."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, Strict
from pydantic_core import PydanticCustomError

from models.pipelines.context_fields import Code
from models.pipelines.recommendation_types import (
    RecommendationInput,
    RecommendationOptions,
    RecommendationResult,
)
from models.pipelines.typed import TypedInput, TypedResult
from models.places import Urgency

MOST_PLACES: Final = 20
MOST_VISITS: Final = 1000
_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]*[.]?[0-9]+\s*")
_TOGETHER: Final = "WGS 84; latitude and longitude go together, and without them no place is named"


def _written(value: object) -> object:
    """A date or time as a text by ISO 8601; pydantic would read seconds since 1970 in a number, and in one as a text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        raise PydanticCustomError(
            "wrong_format", "Write dates and times as in ISO 8601: 2026-12-01T10:30:00Z."
        )
    if isinstance(value, bool | int | float):
        raise PydanticCustomError(
            "wrong_type", "Send it as a text by ISO 8601, such as 2026-12-01T10:30:00Z."
        )
    return value


def _written_with_offset(value: object) -> object:
    """A time as `_written`, refused with what to add where it lacks its offset from UTC."""
    value = _written(value)
    if isinstance(value, str):
        try:
            lacks_offset = datetime.fromisoformat(value.strip()).tzinfo is None
        except ValueError:
            return value
        if lacks_offset:
            raise PydanticCustomError(
                "wrong_format",
                "The offset from UTC is missing: add Z for UTC, or one such as +01:00, as in 2026-12-01T10:30:00Z.",
            )
    return value


class Visit(TypedInput):
    """One earlier visit to a place."""

    place: Annotated[Code, Field(description="id of the place")]
    date: Annotated[date, Strict(False), BeforeValidator(_written)]


class PlacedInput(RecommendationInput):
    """What somebody had and has, and where and when a place is wanted. The manifest adds its fields, and lists the services."""

    service: str | None = None
    latitude: Annotated[
        float | None,
        Field(title="Latitude", description=_TOGETHER, ge=-90, le=90, json_schema_extra={"unit": "deg"}, examples=[53.4108]),
    ] = None  # fmt: skip
    longitude: Annotated[
        float | None,
        Field(title="Longitude", description=_TOGETHER, ge=-180, le=180, json_schema_extra={"unit": "deg"}, examples=[-2.9779]),
    ] = None  # fmt: skip
    urgency: Annotated[
        Literal["routine", "urgent", "emergency"],
        Field(title="Urgency", description="an emergency asks for places with an emergency department alone"),
    ] = Urgency.ROUTINE.value
    at: Annotated[
        Annotated[AwareDatetime, Strict(False)] | None,
        BeforeValidator(_written_with_offset),
        Field(
            title="Time", examples=["2026-12-01T10:30:00Z"],
            description="when the place is wanted, with its offset from UTC; if omitted, opening hours are not considered",
        ),
    ] = None  # fmt: skip
    visits: Annotated[
        list[Visit],
        Field(title="Earlier visits", description="none after `at`, which they need", max_length=MOST_VISITS),
    ] = Field(default_factory=list)


class PlacedOptions(RecommendationOptions):
    """How many items and places are ranked, and with how many reasons."""

    places: Annotated[int, Field(ge=0, le=MOST_PLACES, description="most places of the answer")] = 5


class PlaceReason(TypedResult):
    """Why a place is where it is in the ranking."""

    kind: Literal["distance", "hours", "emergency", "service", "visits"]
    text: str


class RankedPlace(TypedResult):
    """One place."""

    rank: Annotated[int, Field(ge=1)]
    id: str
    name: str
    kind: str
    address: str | None
    phone: str | None
    latitude: float
    longitude: float
    distance_km: Annotated[float, Field(ge=0, description="as the crow flies")]
    ranked_by_km: Annotated[float, Field(description="the distance with what the rule adds and takes off")]
    open: Annotated[bool | None, Field(description="at the time that was sent; null if it is not known")]
    reasons: list[PlaceReason]
    unknown: Annotated[list[str], Field(description="what of the place is not known, and was not guessed")]


class PlaceSearchResult(TypedResult):
    """Which places were looked for."""

    service: Annotated[
        str | None,
        Field(description="asked for, or else recommended first; in an emergency its kind of place"),
    ]
    kind: Annotated[
        str | None, Field(description="the kind of place that has it; null if no place was looked for")
    ]
    within_km: float
    none_because: Annotated[str | None, Field(description="why no place is named; null if some are")]
    listed: Annotated[
        int | None, Field(description="places of this kind in the file, wherever they are; null like `kind`")
    ]
    kind_unknown: Annotated[
        int, Field(ge=0, description="places within the distance that were passed over: of unknown kind")
    ]
    first: Annotated[str | None, Field(description="what to do before anything else")]
    source: Annotated[str, Field(description="where the places are from, with the notice of their licence")]


class PlacedResult(RecommendationResult):
    """Ranked items, and ranked places for the first of them or for the service that was asked for."""

    places: list[RankedPlace]
    place_search: PlaceSearchResult
