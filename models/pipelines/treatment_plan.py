"""`treatment-plan`: the answers of diagnosis jobs and what is known of the patient in; one plan out.

A plan has interventions, drugs, services and advice. Each section but advice has a graph of its name, fed as that of a
recommender (see recommendation); advice is given by written rules (see advice). The conditions that diagnosis jobs answered
are added to those that the caller sends. The drug safety rule reviews the drugs last, and nothing that gives a drug may be an
item of another section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, create_model

from models.manifest import MODEL
from models.pipelines.advice import Adviser
from models.pipelines.advice_catalogue import Catalogue, Language
from models.pipelines.advice_patient import check_person
from models.pipelines.context_fields import Code, Columns
from models.pipelines.contract import FieldFault, GraphSpec, InputRejected, ReadFile
from models.pipelines.drug_safety_rule import opened_ingredients
from models.pipelines.plan_advice import Medicines, advice_fields, person_of
from models.pipelines.plan_diagnoses import Diagnosed
from models.pipelines.plan_parameters import DRUGS, PlanParameters
from models.pipelines.plan_results import TreatmentPlanResult
from models.pipelines.plan_scoring import AdviceSource, Planner
from models.pipelines.recommendation import Recommendation, RecommendationParameters
from models.pipelines.recommendation_types import MOST_RANKED, MOST_REASONS, had_items
from models.pipelines.typed import TypedOptions, TypedPipeline

DRUGS_PRESENT: Final = "drugs_present"
_EVER: Final = "had at any time, as `history` of a recommender"
_NOW: Final = "had now, as `present` there, in `drugs` or not; if omitted, all of `drugs` count as present"


class PlanOptions(TypedOptions):
    """How many items each section ranks, with how many reasons, and the language of the advice."""

    top: Annotated[int, Field(ge=1, le=MOST_RANKED, description="most items of a section")] = 10
    reasons: Annotated[int, Field(ge=0, le=MOST_REASONS, description="most reasons of an item")] = 3
    language: Annotated[Language, Field(description="of the advice: English or Chinese")] = "en"


class TreatmentPlan(TypedPipeline[PlanParameters, Diagnosed, TreatmentPlanResult, PlanOptions]):
    """The pipeline. Immutable once made."""

    present: Final = DRUGS_PRESENT

    def prepare(self, read: ReadFile) -> None:
        """Read catalogues and groups of codes, and give the input's type the manifest's fields."""
        given = self.parameters
        self.sections = {name: Recommendation(self._fed(each), read) for name, each in given.ranked()}
        self._catalogue: Catalogue | None = None
        if given.advice is not None:
            self._catalogue = Catalogue.read(read(given.advice.catalogue), given.advice.catalogue)
        fields: dict[str, Any] = {field.name: field.annotation() for field in given.context}
        for name, each in self.sections.items():
            fields[name] = had_items(_items(each, _EVER, each.parameters.example)), []
        if given.drugs is not None:
            fields[DRUGS_PRESENT] = Annotated[list[Code] | None, _items(self.sections[DRUGS], _NOW)], None
            fields |= given.drugs.rule.fields()
        if given.advice is not None:
            fields |= advice_fields()
        self.input_type = create_model("TreatmentPlanInput", __base__=Diagnosed, **fields)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """One for each section but advice."""
        return {name: each.graphs[MODEL] for name, each in self.sections.items()}

    @property
    def diagnoses(self) -> Columns:
        """The field that the conditions of diagnosis jobs are added to."""
        columns = self.sections["interventions"].columns
        return next(each for each in columns if each.field.name == self.parameters.diagnoses)

    def conditions_of(self, code: str) -> list[str]:
        """The groups of the catalogue of advice that a code of ICD-10 falls into."""
        return [] if self._catalogue is None else self._catalogue.groups_of(code)

    def check(self, value: Diagnosed) -> None:
        """Refuse items that are withdrawn or stand twice in a list, and values that contradict each other."""
        facts = {name: getattr(value, name) for name in type(value).model_fields}
        faults: list[FieldFault] = []
        for name, section in self.sections.items():
            faults += section.catalogue.faults(name, facts[name])
        if DRUGS in self.sections:
            faults += self.sections[DRUGS].catalogue.faults(DRUGS_PRESENT, facts[DRUGS_PRESENT] or ())
            faults += self.sections[DRUGS].contradictions(facts)
        if self._catalogue is not None:
            try:
                check_person(person_of(facts, (), ()))
            except InputRejected as refused:
                faults += [each for each in refused.faults if each not in faults]
        if faults:
            raise InputRejected(*faults)

    def open_bundle(self, folder: Path) -> Planner:
        """See TypedPipeline. Raises BundleRefused if the rule's tables cannot be used."""
        sections = {name: each.recommender(folder) for name, each in self.sections.items()}
        return Planner(self, sections, self._advice(folder))

    def _fed(self, section: RecommendationParameters) -> RecommendationParameters:
        """A section, whose rule reads the filtration rate where the input has it for advice."""
        if section.rule is None or self.parameters.advice is None:
            return section
        rule = section.rule.model_copy(update={"egfr": True})
        return section.model_copy(update={"rule": rule})

    def _advice(self, folder: Path) -> AdviceSource | None:
        given = self.parameters
        if self._catalogue is None or given.advice is None or given.drugs is None:
            return None
        medicines = Medicines(given.advice, opened_ingredients(folder, given.drugs.rule))
        return AdviceSource(Adviser(self._catalogue), medicines)


def _items(section: Recommendation, which: str, example: Sequence[str] = ()) -> Any:
    return Field(
        title=section.parameters.title,
        description=f"{which}; ids, names or codes of the catalogue, in any order",
        max_length=section.parameters.most,
        examples=[list(example)] if example else None,
    )


load = TreatmentPlan.load
