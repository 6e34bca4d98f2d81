"""The scoring half of a recommender of services with places: items as without, and places for the wanted or first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from models.pipelines.contract import Run
from models.pipelines.place_search import PlaceFinder
from models.pipelines.place_types import PlacedInput, PlacedOptions, PlacedResult
from models.pipelines.recommendation_scoring import Recommender
from models.pipelines.recommendation_types import (
    RecommendationInput,
    RecommendationOptions,
    RecommendationResult,
    Unknown,
)
from models.pipelines.typed import TypedCase


class PlacedRecommender:
    """Ranks items, and places for them."""

    def __init__(self, recommender: Recommender, finder: PlaceFinder) -> None:
        self._recommender = recommender
        self._finder = finder

    def score(
        self, run: Run, cases: Sequence[TypedCase[RecommendationInput, RecommendationOptions]]
    ) -> list[RecommendationResult]:
        """See TypedScoring. Cases have the types that the manifest's table of places asks for."""
        ranked = self._recommender.score(run, cases)
        return [
            self._with_places(cast(PlacedInput, case.input), cast(PlacedOptions, case.options), result)
            for case, result in zip(cases, ranked, strict=True)
        ]

    def _with_places(
        self, value: PlacedInput, options: PlacedOptions, ranked: RecommendationResult
    ) -> PlacedResult:
        """It abstains only if it names neither items nor places."""
        first = ranked.items[0].id if ranked.items else None
        places, search = self._finder.find(value, first, options.places)
        unknown = [Unknown(field="visits", code=place) for place in self._finder.unknown_visits(value)]
        answered = {name: getattr(ranked, name) for name in RecommendationResult.model_fields}
        if places and ranked.abstained:
            answered |= {"abstained": False, "abstain_reason": None}
        elif ranked.abstained and value.service is not None:
            answered["abstain_reason"] = search.none_because
        return PlacedResult(
            **{**answered, "unknown": [*ranked.unknown, *unknown]}, places=places, place_search=search
        )
