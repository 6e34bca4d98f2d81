"""What goes into a review of proposed drugs and what comes out: Patient, Finding, Unchecked, Review. Plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Final, Literal, NamedTuple

Sex = Literal["female", "male"]


class Level(StrEnum):
    """How serious a finding is: the four levels of the ANSM's thesaurus, the most serious first."""

    CONTRAINDICATED = "contraindicated"
    NOT_RECOMMENDED = "not recommended"
    PRECAUTION = "precaution"
    TAKE_INTO_ACCOUNT = "take into account"


class Kind(StrEnum):
    """What a drug was checked for."""

    ALLERGY = "allergy"
    ALLERGY_CLASS = "allergy-class"
    INTERACTION = "interaction"
    DUPLICATE = "duplicate"
    PREGNANCY = "pregnancy"
    BREASTFEEDING = "breastfeeding"
    RENAL = "renal"
    AGE = "age"
    DIAGNOSIS = "diagnosis"


class Reason(StrEnum):
    """Why a check could not be made."""

    UNKNOWN_NAME = "unknown-name"
    ERROR_PRONE_NAME = "error-prone-name"
    NAME_DOUBTED = "name-doubted"
    NAMED_TWICE = "named-twice"
    NAMES_DISAGREE = "names-disagree"
    NO_ENTRY = "no-entry"
    ROUTE_UNKNOWN = "route-unknown"
    LOCAL_ROUTE = "local-route"
    ALLERGIES_UNKNOWN = "allergies-unknown"
    ALLERGY_NOT_UNDERSTOOD = "allergy-not-understood"
    ALLERGY_DOUBTED = "allergy-doubted"
    ALLERGY_DENIED = "allergy-denied"
    ALLERGY_NOT_NAMED = "allergy-not-named"
    ALLERGY_BY_CODE = "allergy-by-code"
    PREGNANCY_UNKNOWN = "pregnancy-unknown"
    BREASTFEEDING_UNKNOWN = "breastfeeding-unknown"
    RENAL_FUNCTION_UNKNOWN = "renal-function-unknown"
    AGE_UNKNOWN = "age-unknown"
    DIAGNOSES_UNKNOWN = "diagnoses-unknown"
    DIAGNOSIS_NOT_UNDERSTOOD = "diagnosis-not-understood"
    AMBIGUOUS_CODE = "ambiguous-code"
    CONTRADICTED = "contradicted"
    NOT_READ = "not-read"


SEVERITY: Final = {level: rank for rank, level in enumerate(Level)}  # 0 is the most serious


@dataclass(frozen=True)
class Patient:
    """What is known of the patient. None is unknown: checks that need it are then listed as unchecked.

    `allergies` are texts as recorded, and () says that there are none. `egfr_ml_min`, the estimated glomerular
    filtration rate, counts for lack of the clearance. `diagnoses` are codes of ICD-10-CM or ICD-9-CM, also behind their
    system (see codes.NAMES), and () says that there are none; potassium is that in serum.

    Raises:
        TypeError: a text in place of a list, or a value of another type than stated.
        ValueError: a number that is negative, infinite or NaN, another sex, or a man who is pregnant.
    """

    allergies: tuple[str, ...] | None = None
    age_years: float | None = None
    sex: Sex | None = None
    pregnant: bool | None = None
    breastfeeding: bool | None = None
    creatinine_clearance_ml_min: float | None = None
    diagnoses: tuple[str, ...] | None = None
    potassium_mmol_l: float | None = None
    egfr_ml_min: float | None = None

    def __post_init__(self) -> None:
        for name in ("allergies", "diagnoses"):
            texts = getattr(self, name)
            if not (
                texts is None
                or (isinstance(texts, tuple | list) and all(isinstance(each, str) for each in texts))
            ):
                raise TypeError(f"{name} must be a tuple of texts, () if there are none, or None if unknown")
        for name in ("pregnant", "breastfeeding"):
            if not isinstance(getattr(self, name), bool | None):
                raise TypeError(f"{name} must be True, False, or None if unknown")
        for name in ("age_years", "creatinine_clearance_ml_min", "egfr_ml_min", "potassium_mmol_l"):
            _check_number(name, getattr(self, name))
        if self.sex not in ("female", "male", None):
            raise ValueError("sex must be 'female' or 'male', or None if unknown or another")
        if self.pregnant and self.sex == "male":
            raise ValueError("pregnant is True and sex is 'male': correct one of them")


def _check_number(name: str, number: object) -> None:
    words = f"{name} must be a number of at least 0, or None if unknown"
    if isinstance(number, bool) or not isinstance(number, Real | None):
        raise TypeError(words)
    if number is not None and not (math.isfinite(number) and float(number) >= 0):
        raise ValueError(words)


class Finding(NamedTuple):
    """One reason against a proposed or a present drug.

    `drug` and `with_` are names as they were given; `with_` is the other drug (all of its names, if two were given), the
    recorded allergies, or the fact about the patient, such as "pregnancy". `condition` says when it holds, or what to do; empty
    means always. `mechanism` and `condition` of an interaction are in the language of the source (`language`, BCP 47). `source`
    and `date` say where it is written.
    """

    drug: str
    kind: Kind
    level: Level
    with_: str
    condition: str
    mechanism: str
    rule: str
    source: str
    date: str
    language: str = "en"


class Unchecked(NamedTuple):
    """A check that was not made of `subject`, a drug or an allergy as given. `check` None means that none was made of it.

    Of ERROR_PRONE_NAME all were made, of what such a name mostly stands for: nobody can check that it was meant. Of LOCAL_ROUTE
    all were made, too, as if the drug were swallowed or injected. An allergy that is ALLERGY_DOUBTED was counted, one that is
    ALLERGY_DENIED was not. Of CONTRADICTED facts the one that `detail` names counted, and an ALLERGY_BY_CODE did.
    """

    subject: str
    check: Kind | None
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Review:
    """Proposed drugs after all checks.

    `kept` are those to show, in the order proposed; they may have findings in `flagged`. `removed` are the findings that
    removed a drug, one or more each. A drug that could not be checked is kept and stands in `unchecked`.

    `present` are the findings of drugs that the patient takes, against the patient and each other, the most serious first, each
    pair once. `present_unchecked` are checks of them for which something would have to be known of the patient.
    """

    kept: tuple[str, ...]
    removed: tuple[Finding, ...]
    flagged: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    present: tuple[Finding, ...] = ()
    present_unchecked: tuple[Unchecked, ...] = ()
