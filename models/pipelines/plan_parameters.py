"""The `[parameters]` table of a treatment plan's manifest: its sections, and what is known of the patient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from models.manifest import ManifestTable, Name, Text
from models.manifest_words import DIGEST, SEMVER, SYSTEM_URI
from models.pipelines.advice_patient import Medicine
from models.pipelines.context_fields import AContextField, CategoryField, CodesField, NumberField
from models.pipelines.drug_safety_rule import DrugSafetyRule
from models.pipelines.recommendation import MOST_ITEMS, RecommendationParameters
from models.pipelines.side_files import SideFile

INTERVENTIONS: Final = "interventions"
DRUGS: Final = "drugs"
SERVICES: Final = "services"
ADVICE: Final = "advice"
OLDEST: Final = 120  # years: the oldest Person
_SYSTEMS: Final = Field(min_length=1, max_length=20, strict=False)


class Origin(ManifestTable):
    """The published bundle that a section's files are copies of."""

    model: Name
    version: Annotated[str, Field(pattern=SEMVER)]
    digest: Annotated[str, Field(pattern=DIGEST)]


class Section(ManifestTable):
    """What ranks the items of one section; its graph has the section's name. See RecommendationParameters."""

    origin: Origin | None = None
    catalogue: SideFile
    title: Text
    most: int = Field(MOST_ITEMS, ge=1, le=MOST_ITEMS, description="most items of a history")
    example: Annotated[tuple[Text, ...], Field(min_length=1, strict=False, description="a history to show")]


class DrugSection(Section):
    """The section of drugs, which is never without its rule."""

    rule: DrugSafetyRule


class AdviceSection(ManifestTable):
    """Advice by written rules. See AdviceParameters.

    `medicines` says by which ingredients, or classes of them in the tables of the drug safety rule, drugs that a patient has
    belong to a group of medicines on which advice depends.
    """

    origin: Origin | None = None
    catalogue: SideFile
    medicines: dict[Medicine, Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]]


class PlanParameters(ManifestTable):
    """The table. `context` is what the graphs of all sections are fed of the patient."""

    systems: Annotated[tuple[Annotated[str, Field(pattern=SYSTEM_URI)], ...], _SYSTEMS] = Field(
        description="URIs of the code systems whose codes, as answered by diagnosis jobs, are conditions"
    )
    diagnoses: Text = Field(
        "diagnoses", description="the field of `context`, of the type `codes`, that they are added to"
    )
    context: Annotated[tuple[AContextField, ...], Field(min_length=1, max_length=100, strict=False)]
    interventions: Section
    drugs: DrugSection | None = None
    services: Section | None = None
    advice: AdviceSection | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        fields = {field.name: field for field in self.context}
        if self.diagnoses not in {name for name, each in fields.items() if isinstance(each, CodesField)}:
            raise ValueError(f"diagnoses: context has no field {self.diagnoses!r} of the type `codes`")
        try:
            list(self.ranked())
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None
        if self.advice is not None:
            age, sex = fields.get("age"), fields.get("sex")
            if self.drugs is None:
                raise ValueError("advice: it depends on drugs, so add [parameters.drugs]")
            if not (
                isinstance(age, NumberField) and age.required and age.unit == "a" and age.maximum <= OLDEST
            ):
                raise ValueError(
                    f'advice: context needs a number `age`, `required`, with `unit = "a"`, up to {OLDEST}'
                )
            if not (isinstance(sex, CategoryField) and {*sex.values} == {"female", "male"}):
                raise ValueError("advice: context needs a category `sex` of `female` and `male`")
        return self

    def ranked(self) -> Iterator[tuple[str, RecommendationParameters]]:
        """The sections that a graph ranks, by name, as recommenders of their own. Raises ValidationError."""
        for name in (INTERVENTIONS, DRUGS, SERVICES):
            section: Section | None = getattr(self, name)
            if section is not None:
                yield (
                    name,
                    RecommendationParameters(
                        catalogue=section.catalogue,
                        title=section.title,
                        most=section.most,
                        context=self.context,
                        rule=section.rule if isinstance(section, DrugSection) else None,
                        places=None,
                        example=section.example,
                    ),
                )

    def origins(self) -> Iterator[tuple[str, Origin]]:
        """The bundles that sections are copies of."""
        for name in (INTERVENTIONS, DRUGS, SERVICES, ADVICE):
            section: Section | AdviceSection | None = getattr(self, name)
            if section is not None and section.origin is not None:
                yield name, section.origin
