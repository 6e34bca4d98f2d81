"""`recommendation`: what somebody had and has, and what is known of him, in; ranked items out, each with its reasons.

The graph takes `history` float32 [N,I], 1 for each of the I items of the catalogue that was sent, and, if the manifest
declares fields, `context` float32 [N,C] (see context_fields). It gives `scores` float32 [N,I]. Items that were sent are not
ranked again.

Reasons need nothing of the graph: each known item and fact is left out once, and the score that an item loses is its
contribution (occlusion, Zeiler and Fergus, ECCV 2014; of a linear model exactly its term). A rule, see recommendation_rules,
reviews the ranking; of services, the manifest may add places where they are, see place_search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, create_model, model_validator

from models.field_codes import FieldCode
from models.manifest import MODEL, ManifestTable, Text
from models.pipelines.context_fields import AContextField, Code
from models.pipelines.contract import (
    FieldFault,
    GraphSpec,
    InputRejected,
    ReadFile,
    TensorSpec,
)
from models.pipelines.drug_safety_rule import DrugSafetyRule
from models.pipelines.item_catalogue import Catalogue, no_parts
from models.pipelines.kidneys import kidney_faults
from models.pipelines.place_search import PlaceSearch
from models.pipelines.place_types import PlacedInput, PlacedOptions, PlacedResult
from models.pipelines.placed_recommendation import PlacedRecommender
from models.pipelines.pregnancy import Facts, contradictions
from models.pipelines.recommendation_rules import NoRule
from models.pipelines.recommendation_scoring import HISTORY, PRESENT, Recommender
from models.pipelines.recommendation_types import (
    RecommendationInput,
    RecommendationOptions,
    RecommendationResult,
    had_items,
)
from models.pipelines.side_files import SideFile
from models.pipelines.typed import TypedPipeline

MOST_ITEMS: Final = 1000
_EVER: Final = "had at any time"
_NOW: Final = "had now, in `history` or not; if omitted, all of `history` counts as present"


class RecommendationParameters(ManifestTable):
    """The `[parameters]` table of a recommender's manifest."""

    catalogue: SideFile = "catalogue.csv"
    title: Text = Field("Items", description="what the items are called")
    most: int = Field(MOST_ITEMS, ge=1, le=MOST_ITEMS, description="most items of a history")
    context: Annotated[tuple[AContextField, ...], Field(max_length=100, strict=False)] = ()
    rule: DrugSafetyRule | None = Field(None, description="what reviews the ranking")
    places: PlaceSearch | None = Field(None, description="where the recommended services are")
    example: Annotated[tuple[Text, ...], Field(min_length=1, strict=False, description="a history to show")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        own = [field.name for field in self.context]
        taken = [*_base_of(self).model_fields, *(self.rule.fields() if self.rule else ())]
        if len({*own, *taken}) < len(own) + len(taken):
            raise ValueError(f"context: give each field its own name, other than {', '.join(taken)}")
        placed = self.places
        if placed and (gone := {placed.age, placed.sex} - {None, *own}):
            raise ValueError(f"places: context has no field {gone.pop()!r}")
        if self.rule and (lacking := {self.rule.age, self.rule.sex, self.rule.diagnoses} - {None, *own}):
            raise ValueError(f"rule: context has no field {lacking.pop()!r}")
        return self


class Recommendation(
    TypedPipeline[RecommendationParameters, RecommendationInput, RecommendationResult, RecommendationOptions]
):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:
        """Read the catalogue and the groups of codes, and give the input's type the manifest's fields."""
        given = self.parameters
        parts = given.rule.parts(read) if given.rule else no_parts
        self.catalogue = Catalogue.read(read(given.catalogue), given.catalogue, parts)
        self.columns = tuple(field.columns(read) for field in given.context)
        fields: dict[str, Any] = {
            HISTORY: (had_items(self._items(_EVER, given.example)), []),
            PRESENT: (Annotated[list[Code] | None, self._items(_NOW)], None),
            **{field.name: field.annotation() for field in given.context},
            **(given.rule.fields() if given.rule else {}),
        }
        if given.places:
            self.services = given.places.catalogue(read, [item.id for item in self.catalogue.items])
            fields["service"] = given.places.service_field(self.services)
            self.result_type, self.options_type = PlacedResult, PlacedOptions
        self.input_type = create_model("RecommendationInput", __base__=_base_of(given), **fields)

    def _items(self, which: str, example: Sequence[str] = ()) -> Any:
        return Field(
            title=self.parameters.title,
            description=f"{which}; ids, names or codes of the catalogue, in any order",
            max_length=self.parameters.most,
            examples=[list(example)] if example else None,
        )

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        items, width = len(self.catalogue), sum(len(each.blank) for each in self.columns)
        context = (TensorSpec("context", "float32", (width,)),) if width else ()
        feeds = (TensorSpec(HISTORY, "float32", (items,)), *context)
        return {MODEL: GraphSpec(feeds, (TensorSpec("scores", "float32", (items,)),))}

    def check(self, value: RecommendationInput) -> None:
        """Refuse items that are withdrawn or stand twice in a list, and an input that says nothing of anybody."""
        faults = [
            *self.catalogue.faults(HISTORY, value.history),
            *self.catalogue.faults(PRESENT, value.present or ()),
        ]
        lists: list[Any] = [value.history, value.present]
        lists += [getattr(value, each.field.name) for each in self.columns if each.informs]
        places = self.parameters.places
        if places and isinstance(value, PlacedInput):
            faults += places.faults(value)
            lists.append(value.service)
        if not any(lists):
            names = " or ".join(each.field.name for each in self.columns if each.informs)
            others = [f"a code of {names}"] * bool(names) + ["a service"] * bool(places)
            detail = f"Send at least {', or '.join(['one item of history', *others])}."
            faults.append(FieldFault(f"/{HISTORY}", FieldCode.TOO_SHORT, detail))
        faults += self.contradictions({name: getattr(value, name) for name in type(value).model_fields})
        if faults:
            raise InputRejected(*faults)

    def contradictions(self, facts: Mapping[str, Any]) -> Iterator[FieldFault]:
        """What an input says of pregnancy, breastfeeding and kidneys that cannot be, where a rule reviews drugs."""
        if (rule := self.parameters.rule) is not None:
            age, sex = (facts.get(name) if name else None for name in (rule.age, rule.sex))
            codes = {
                name: facts[name] or () for name in (each.field.name for each in self.columns if each.informs)
            }
            told = Facts(facts.get("pregnant"), facts.get("breastfeeding"), sex, age)
            yield from contradictions(told, codes)
            yield from kidney_faults(facts)

    def open_bundle(self, folder: Path) -> Recommender | PlacedRecommender:
        """See TypedPipeline. Raises BundleRefused if the rule's tables or the places cannot be used."""
        places, recommender = self.parameters.places, self.recommender(folder)
        return PlacedRecommender(recommender, places.open(folder, self.services)) if places else recommender

    def recommender(self, folder: Path) -> Recommender:
        """What ranks items and has the rule review them. Raises BundleRefused if its tables cannot be used."""
        rule = self.parameters.rule
        reviewing = (NoRule(), None) if rule is None else (rule.open(folder), rule.kind)
        return Recommender(self.catalogue, self.columns, *reviewing)


def _base_of(parameters: RecommendationParameters) -> type[RecommendationInput]:
    return PlacedInput if parameters.places else RecommendationInput


load = Recommendation.load
