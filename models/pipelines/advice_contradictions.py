"""Figures of one person that contradict a code of the conditions: advice cannot tell which is right, and says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from models.drug_safety import Patient, Reason
from models.drug_safety.known import known_of
from models.pipelines.advice_catalogue import Language
from models.pipelines.advice_patient import Person
from models.pipelines.recommendation_types import Unchecked

_DETAIL: Final[dict[Language, str]] = {
    "en": "it contradicts another value that was sent: correct one of them; both count until then",
    "zh": "与所提供的其他数据矛盾:请更正其一;更正前两者均计入",
}


def contradicted(person: Person, codes: Sequence[str], language: Language) -> Iterator[Unchecked]:
    """Each of the conditions, `codes` in one spelling, that the filtration rate or the potassium contradicts."""
    patient = Patient(
        age_years=person.age,
        diagnoses=tuple(codes),
        creatinine_clearance_ml_min=person.egfr,
        potassium_mmol_l=person.potassium,
    )
    for each in known_of(patient).told:
        if each.reason is Reason.CONTRADICTED:
            yield Unchecked(
                subject=each.subject, check=each.check, reason=each.reason, detail=_DETAIL[language]
            )
