"""The drug safety rule of recommenders of drugs: `[parameters.rule]` with `kind = "drug-safety"`. See models.drug_safety.

Items are known to it by their ids: names of ingredients, products, or codes of RxNorm. The tables are sealed with the bundle,
so that an update of those that come with medqueue changes no answer of a published model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from models import drug_safety
from models.drug_safety import DrugSafety, Finding, Level, Patient, ReadFile, TableUnusable
from models.drug_safety.ingredients import Ingredients
from models.manifest import BundleRefused, Fault, ManifestTable
from models.pipelines.advice_patient import FIELDS, Person, laboratory
from models.pipelines.item_catalogue import Item, Parts, unusable
from models.pipelines.kidneys import CLEARANCE, EGFR
from models.pipelines.recommendation_rules import Reviewed
from models.pipelines.recommendation_types import Objection, Unchecked

_LONGEST: Final = 300
_MOST: Final = 200
# mL/min: a clearance in mL/s lies below, and so do most creatinines in mg/dL; no kidneys clear more.
_CLEARANCE: Final = (3.0, 300.0)
_OF_CLEARANCE: Final = (
    "multiply mL/s by 60; a creatinine in mg/dL is no clearance; 3 also for less; "
    "or the estimated glomerular filtration rate"
)
POTASSIUM: Final = "potassium"
DIAGNOSES: Final = "diagnoses"  # the field of `context` that manifests from before rules read it have
_NOT_SAID: Final = "null or omitted if not known"


class DrugSafetyRule(ManifestTable):
    """The `[parameters.rule]` table."""

    kind: Literal["drug-safety"]
    folder: str = Field(
        "drug_safety", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="folder of the bundle with the tables"
    )
    removes: Literal["contraindicated", "not recommended"] = Field(
        "not recommended",
        description="from which level on a drug is removed; one of a lower level is flagged",
    )
    age: str | None = Field(None, description="the field of `context` with the age in years")
    sex: str | None = Field(None, description="the field of `context` with `female` and `male`")
    diagnoses: str | None = Field(
        None,
        description="the field of `context` with codes of ICD-10-CM and ICD-9-CM, for the table of diagnoses",
    )
    egfr: bool = Field(
        False, description="the input has `egfr`, too, which counts for lack of a creatinine clearance"
    )
    labels: bool = Field(
        False, description="the folder has the interactions of labels, `label_interactions.csv`"
    )

    def fields(self) -> dict[str, tuple[Any, Any]]:
        """What it asks for: type and default of each field."""
        text = Annotated[str, Field(min_length=1, max_length=_LONGEST, pattern=r"\S")]
        found = {
            "allergies": _optional(list[text], "Allergies", "an empty list if there are none", max_length=_MOST),
            "pregnant": _optional(bool, "Pregnant", ""),
            "breastfeeding": _optional(bool, "Breastfeeding", ""),
            CLEARANCE: (
                Annotated[
                    float | None,
                    *laboratory("Creatinine clearance", "mL/min", *_CLEARANCE, f"{_OF_CLEARANCE}; {_NOT_SAID}"),
                ],
                None,
            ),
        }  # fmt: skip
        if self.egfr:
            field = Person.model_fields[EGFR]
            found[EGFR] = field.annotation, copy(field)
        if self.diagnoses is not None:
            limits = FIELDS[POTASSIUM]
            unit = {"unit": limits.unit}
            found[POTASSIUM] = _optional(
                float, limits.titles["en"], "", ge=limits.least, le=limits.most, json_schema_extra=unit
            )
        return found

    def parts(self, read: ReadFile) -> Parts:
        """Which ingredients a name has, by the tables: brands, salts and products of several too.

        They take some megabytes: they are read for the first name that is no item's. It raises SideFileUnusable.
        """

        @cache
        def known() -> Ingredients:
            try:
                return Ingredients.read(read, self.folder)
            except TableUnusable as wrong:
                raise unusable(wrong.path, wrong.detail) from None

        return lambda name: frozenset(each.name for each in known().named(name))

    def open(self, folder: Path) -> DrugSafetyReview:
        """The rule with its tables. Raises BundleRefused."""
        try:
            tables = DrugSafety.read(
                _reading(folder),
                self.folder,
                with_diagnoses=self.diagnoses is not None,
                with_labels=self.labels,
            )
            return DrugSafetyReview(self, tables)
        except TableUnusable as wrong:
            raise BundleRefused(Fault(wrong.path, "side_file_unusable", wrong.detail)) from None


def opened_ingredients(folder: Path, rule: DrugSafetyRule) -> Ingredients:
    """What the rule's tables know by name. Raises BundleRefused."""
    try:
        return Ingredients.read(_reading(folder), rule.folder)
    except TableUnusable as wrong:
        raise BundleRefused(Fault(wrong.path, "side_file_unusable", wrong.detail)) from None


class DrugSafetyReview:
    """Reviews rankings of drugs, and those that the patient takes. One instance serves all threads."""

    def __init__(self, parameters: DrugSafetyRule, safety: DrugSafety) -> None:
        self._parameters = parameters
        self._safety = safety
        levels = list(Level)
        self._removing = frozenset(levels[: levels.index(Level(parameters.removes)) + 1])

    def review(self, facts: Mapping[str, Any], present: Sequence[str], ranked: Sequence[Item]) -> Reviewed:
        """See Rule."""
        by_id = {item.id: item for item in ranked}
        found = self._safety.review(self._patient(facts), present, list(by_id), self._removing)
        unchecked, of_present = (
            tuple(map(_unchecked, some)) for some in (found.unchecked, found.present_unchecked)
        )
        if not ranked:
            unchecked, of_present = (), (*unchecked, *of_present)
        return Reviewed(
            tuple(by_id[name] for name in found.kept),
            tuple(_objection(each, by_id[each.drug].display) for each in found.removed),
            tuple(_objection(each, by_id[each.drug].display) for each in found.flagged),
            unchecked,
            tuple(_objection(each, each.drug) for each in found.present),
            of_present,
        )

    def _patient(self, facts: Mapping[str, Any]) -> Patient:
        given, allergies = self._parameters, facts.get("allergies")
        diagnoses = facts.get(given.diagnoses or DIAGNOSES)
        return Patient(
            allergies=None if allergies is None else tuple(allergies),
            age_years=facts.get(given.age) if given.age else None,
            sex=facts.get(given.sex) if given.sex else None,
            pregnant=facts.get("pregnant"),
            breastfeeding=facts.get("breastfeeding"),
            creatinine_clearance_ml_min=facts.get(CLEARANCE),
            egfr_ml_min=facts.get(EGFR) if given.egfr else None,
            potassium_mmol_l=facts.get(POTASSIUM) if given.diagnoses else None,
            diagnoses=None if diagnoses is None else tuple(diagnoses),
        )


def _optional(kind: Any, title: str, description: str, **rules: Any) -> tuple[Any, Any]:
    words = "; ".join(filter(None, (description, _NOT_SAID)))
    return Annotated[kind | None, Field(title=title, description=words, **rules)], None


def _unchecked(found: drug_safety.Unchecked) -> Unchecked:
    return Unchecked(subject=found.subject, check=found.check, reason=found.reason, detail=found.detail)


def _objection(finding: Finding, display: str) -> Objection:
    return Objection(
        id=finding.drug,
        display=display,
        kind=finding.kind,
        level=finding.level,
        against=finding.with_,
        condition=finding.condition,
        explanation=finding.mechanism,
        source=finding.source,
        date=finding.date,
        language=finding.language,
    )


def _reading(folder: Path) -> ReadFile:
    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except OSError:
            raise TableUnusable(path, "the bundle lacks this table: add it and seal the bundle") from None

    return read
