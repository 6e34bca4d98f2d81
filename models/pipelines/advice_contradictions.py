"""Figures of one person that contradict a code of the conditions, and codes that may be of another system: advice says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from models.drug_safety import Kind, Patient, Reason
from models.drug_safety.codes import NAMES, System, read_code
from models.drug_safety.known import known_of
from models.pipelines.advice_catalogue import Language
from models.pipelines.advice_patient import SYSTEMS, Person
from models.pipelines.recommendation_types import Unchecked

_DETAIL: Final[dict[Language, str]] = {
    "en": "it contradicts another value that was sent: correct one of them; both count until then",
    "zh": "与所提供的其他数据矛盾:请更正其一;更正前两者均计入",
}

_AMBIGUOUS: Final[dict[Language, str]] = {
    "en": "it was read as {code} of ICD-10; without its dot it may also be a code of {other}: send it with its dot",
    "zh": "按 ICD-10 的 {code} 读取;不带小数点时也可能是 {other} 编码:请带小数点提供",
}


def contradicted(person: Person, codes: Sequence[str], language: Language) -> Iterator[Unchecked]:
    """Each of the conditions, `codes` in one spelling, that the filtration rate or the potassium contradicts."""
    of_icd_10 = [read for code in codes if (read := read_code(code, (System.ICD_10,)))]
    patient = Patient(
        age_years=person.age,
        diagnoses=tuple(f"{NAMES[System.ICD_10][0]}|{each.sent}" for each in of_icd_10),
        egfr_ml_min=person.egfr,
        potassium_mmol_l=person.potassium,
    )
    for each in known_of(patient).told:
        if each.reason is Reason.CONTRADICTED:
            yield Unchecked(
                subject=each.subject, check=each.check, reason=each.reason, detail=_DETAIL[language]
            )


def ambiguous(codes: Sequence[str], language: Language) -> Iterator[Unchecked]:
    """Each of the codes that may be of another system than it was read as."""
    for code in codes:
        read = read_code(code, SYSTEMS)
        if read is not None and read.other is not None:
            detail = _AMBIGUOUS[language].format(code=read.bare, other=read.other)
            yield Unchecked(subject=code, check=Kind.DIAGNOSIS, reason=Reason.AMBIGUOUS_CODE, detail=detail)
