"""What is known of a patient once diagnoses, allergies and figures are read together, and where they contradict each other.

The stricter of two that contradict counts, but a measured potassium counts before a code. Each contradiction is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from models.drug_safety.coded_facts import (
    KIDNEY_FAILURE,
    Clearance,
    allergy_of,
    may_say_pregnant,
    says_of_potassium,
    says_pregnant,
    stage_of,
)
from models.drug_safety.codes import (
    NAMES,
    Code,
    System,
    code_inside,
    has_read_system,
    names_system,
    read_code,
)
from models.drug_safety.findings import Kind, Patient, Reason, Unchecked

HYPERKALEMIA_MMOL_L: Final = 5.5  # and more (UK Kidney Association, guideline on hyperkalaemia, 2023)
HYPOKALEMIA_MMOL_L: Final = 3.5  # below (Kardalas et al., Endocr Connect 7:R135, 2018)
# Years of age, both included, in which somebody may be pregnant; males never are.
CHILDBEARING: Final = (10.0, 60.0)
_APART: Final = 2.0  # times the end of its stage: so far, short of kidney failure, a clearance may be above what a code says
_NO_CODE: Final = "it is no code of ICD-10-CM or ICD-9-CM alone, and was not counted"
_NO_SYSTEM: Final = (
    f"the system before it is none that is read, such as {NAMES[System.ICD_10][1]}, and it was not counted"
)
_NO_CODE_OF_IT: Final = (
    "it lacks the form of a code of the system before it, and was not counted: correct one of them"
)


class CodedAllergy(NamedTuple):
    """An allergy that a code stands for: the code as sent, and the name of a class of allergens."""

    code: str
    allergen: str


@dataclass(frozen=True)
class Known:
    """What counts of a patient.

    `codes` are the diagnoses that were read. `pregnancy` says by what the patient
    counts as pregnant, and is empty for one who does not. `clearance` is None if nothing is said of the kidneys.
    """

    patient: Patient
    codes: tuple[Code, ...]
    pregnancy: str
    clearance: Clearance | None
    allergies: tuple[CodedAllergy, ...]
    told: tuple[Unchecked, ...]


def known_of(patient: Patient) -> Known:
    """Read the facts of a patient together."""
    sent = {text: read_code(text) for text in patient.diagnoses or ()}
    read = list(dict.fromkeys(code for code in sent.values() if code and _is_read(code)))
    lost = [text for text, code in sent.items() if not (code and _is_read(code))]
    pregnancy, of_pregnancy = _pregnancy(patient, read)
    clearance, of_kidneys = _clearance(patient, read)
    wrong = [each for each in read if _opposes(patient.potassium_mmol_l, each)]
    of_potassium = [
        _contradicted(
            each.sent, Kind.DIAGNOSIS, f"potassium is {patient.potassium_mmol_l:g} mmol/L, which counted"
        )
        for each in wrong
    ]
    return Known(
        patient,
        tuple(each for each in read if each not in wrong),
        pregnancy,
        clearance,
        tuple(
            CodedAllergy(each.sent, found.allergen)
            for each in read
            if (found := allergy_of(each)) and found.allergen
        ),
        (
            *map(_lost, lost),
            *ambiguous(read),
            *of_pregnancy,
            *of_kidneys,
            *of_potassium,
            *_unnamed_allergies(read),
        ),
    )


def may_be_pregnant(patient: Patient) -> bool:
    """Whether sex and age leave it open."""
    least, most = CHILDBEARING
    return patient.sex != "male" and (patient.age_years is None or least <= patient.age_years <= most)


def _is_read(code: Code) -> bool:
    """Whether some table may know it: of SNOMED CT those of pregnancy alone."""
    return code.system is not System.SNOMED_CT or says_pregnant(code)


def _pregnancy(patient: Patient, codes: Sequence[Code]) -> tuple[str, list[Unchecked]]:
    saying = [each for each in codes if says_pregnant(each)]
    open_ones = [each for each in codes if may_say_pregnant(each) and not saying]
    counted = saying or (open_ones if patient.pregnant is None else [])
    named = ", ".join(each.sent for each in counted)
    told = []
    if counted and not may_be_pregnant(patient):
        told.append(_contradicted(named, Kind.PREGNANCY, "sex or age say otherwise; the pregnancy counted"))
    elif counted and patient.pregnant is False:
        told.append(_contradicted(named, Kind.PREGNANCY, "`pregnant` is false; the pregnancy counted"))
    elif counted and not saying:
        detail = "it leaves open whether the pregnancy lasts, which was counted: say so in `pregnant`"
        told.append(Unchecked(named, Kind.PREGNANCY, Reason.PREGNANCY_UNKNOWN, detail))
    if patient.pregnant:
        return "pregnancy", told
    return (f"pregnancy ({named})" if counted else ""), told


def _clearance(patient: Patient, codes: Sequence[Code]) -> tuple[Clearance | None, list[Unchecked]]:
    stages = [(each.sent, *found) for each in codes if (found := stage_of(each))]
    name, measured = "creatinine clearance", patient.creatinine_clearance_ml_min
    if measured is None:
        name, measured = "estimated glomerular filtration rate", patient.egfr_ml_min
    if measured is None:
        return (_staged(stages) if stages else None), []
    above = [each for each in stages if measured >= each[2] * (1 if each[2] <= KIDNEY_FAILURE else _APART)]
    if not above:
        return Clearance(f"{name} {measured:g} ml/min", measured, math.nextafter(measured, math.inf)), []
    counted = _staged(above)
    says = f"the {name} is {measured:g} ml/min; less than {counted.below:g} counted"
    return counted, [_contradicted(", ".join(each[0] for each in above), Kind.RENAL, says)]


def _staged(stages: Sequence[tuple[str, float, float]]) -> Clearance:
    """The worst that codes say for certain, and the worst that they leave open."""
    named = ", ".join(code for code, *_ in stages)
    least, below = min(each[1] for each in stages), min(each[2] for each in stages)
    says = (
        "kidney function not known" if below == math.inf else f"creatinine clearance below {below:g} ml/min"
    )
    return Clearance(f"{says} ({named})", least, below)


def _opposes(potassium: float | None, code: Code) -> bool:
    high = says_of_potassium(code)
    if potassium is None or high is None:
        return False
    return potassium < HYPOKALEMIA_MMOL_L if high else potassium >= HYPERKALEMIA_MMOL_L


def _unnamed_allergies(codes: Sequence[Code]) -> Iterator[Unchecked]:
    for each in codes:
        found = allergy_of(each)
        if found is None or found.allergen:
            continue
        says = f"it says that there is an allergy to {found.words}"
        if found.of_drug:
            detail = f"{says}, but not to which: send its name in the allergies"
            yield Unchecked(each.sent, Kind.ALLERGY, Reason.ALLERGY_NOT_NAMED, detail)
        else:
            detail = f"{says}, which no table holds against a drug: nothing was checked for it"
            yield Unchecked(each.sent, Kind.ALLERGY, Reason.NOT_READ, detail)


def _contradicted(subject: str, kind: Kind, by: str) -> Unchecked:
    return Unchecked(subject, kind, Reason.CONTRADICTED, f"{by}: correct one of them")


def _lost(text: str) -> Unchecked:
    inside = code_inside(text)
    question = f"; did you mean {inside}?" if inside else ": send codes, such as K92.2"
    return Unchecked(text, Kind.DIAGNOSIS, Reason.DIAGNOSIS_NOT_UNDERSTOOD, _why_lost(text) + question)


def _why_lost(text: str) -> str:
    if not names_system(text):
        return _NO_CODE
    if not has_read_system(text):
        return _NO_SYSTEM
    found = read_code(text)
    return _NO_CODE_OF_IT if found is None else f"codes of {found.system} are not read but for pregnancy"


def ambiguous(codes: Iterable[Code]) -> Iterator[Unchecked]:
    """That codes may be of another system than they were read as."""
    for each in codes:
        if each.other is not None:
            name = NAMES[each.other][0]
            detail = (
                f"without its system it may be a code of {each.system} or of {each.other}, and was read as {each.bare} of "
                f"{each.system}: send the system, as in {NAMES[each.system][0]}|{each.sent} or {name}|{each.sent}"
            )
            yield Unchecked(each.sent, Kind.DIAGNOSIS, Reason.AMBIGUOUS_CODE, detail)
