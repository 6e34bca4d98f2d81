"""Who can be pregnant or breastfeed, and codes that say that somebody is pregnant: contradictions are refused, in any pipeline.

Codes that also stand for childbirth, the puerperium or the past, such as O10.03, O24.43 or Z87.5, say nothing of now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from models.drug_safety.limits import CHILDBEARING
from models.field_codes import FieldCode
from models.pipelines.code_systems import without_system
from models.pipelines.contract import FieldFault, pointer_to

YOUNGEST_PREGNANT, OLDEST_PREGNANT = map(int, CHILDBEARING)
# ICD-10, chapter XV before labour, and Z33 to Z35 and Z3A (weeks of gestation).
_ICD_10: Final = re.compile(r"(?:O(?:09|1[0-6]|2[0-9]|3[0-6]|4[0-8])|Z(?:33|34|35|3A))\w{0,4}")
# What ICD-10-CM has among these for childbirth and the puerperium.
_LATER: Final = re.compile(r"(?:O(?:10\d|24\d|26[67])[23]|O(?:11|12\d|13|14\d|16)[45]|O15[12]|O25[23])\w*")
# ICD-9-CM: 640 to 649 with the fifth digit for "antepartum", and V22, V23.
_ICD_9: Final = re.compile(r"64\d\d3|V2[23]\d{0,2}")
# SNOMED CT: pregnant, finding of pregnancy, gestational diabetes.
_SNOMED: Final = frozenset(("77386006", "72892002", "11687002"))


class Facts(NamedTuple):
    """What an input says; None is unknown. `sex` is `female` or `male`, `age` in years."""

    pregnant: object = None
    breastfeeding: object = None
    sex: object = None
    age: float | None = None


def says_pregnant(code: str) -> bool:
    """Whether a code of ICD-10, ICD-9-CM or SNOMED CT says that somebody is pregnant now."""
    plain = without_system(code).strip().replace(".", "").upper()
    pregnant = _ICD_10.fullmatch(plain) and not _LATER.fullmatch(plain)
    return bool(pregnant) or plain in _SNOMED or _ICD_9.fullmatch(plain) is not None


def cannot_be_pregnant(sex: object, age: float | None) -> bool:
    """Of the sex or of an age that leaves no doubt."""
    return sex == "male" or (age is not None and not YOUNGEST_PREGNANT <= age <= OLDEST_PREGNANT)


def contradictions(facts: Facts, codes: Mapping[str, Sequence[str]]) -> Iterator[FieldFault]:
    """What of an input contradicts that somebody is pregnant, or is not, or breastfeeds; `codes` by their field."""
    pregnant, breastfeeding, sex, age = facts
    impossible = cannot_be_pregnant(sex, age)
    who = f"only women of {YOUNGEST_PREGNANT} to {OLDEST_PREGNANT} years can be pregnant here"
    if pregnant is True and impossible:
        detail = f"`pregnant` is true: correct it, `sex` or `age`, as {who}."
        yield FieldFault("/pregnant", FieldCode.INVALID_VALUE, detail)
    if breastfeeding is True and (sex == "male" or (age is not None and age < YOUNGEST_PREGNANT)):
        wrong = "`sex` is male" if sex == "male" else f"`age` is below {YOUNGEST_PREGNANT}"
        detail = f"`breastfeeding` is true and {wrong}: correct one of them."
        yield FieldFault("/breastfeeding", FieldCode.INVALID_VALUE, detail)
    for field, place in _saying(codes):
        pointer = pointer_to(field, str(place))
        if impossible:
            detail = f"This is a code of pregnancy. Correct age, sex or this: {who}."
            yield FieldFault(pointer, FieldCode.INVALID_VALUE, detail)
        elif pregnant is False:
            detail = "This is a code of pregnancy, and `pregnant` is false: correct one of them."
            yield FieldFault(pointer, FieldCode.INVALID_VALUE, detail)


def _saying(codes: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, int]]:
    for field, given in codes.items():
        yield from ((field, place) for place, code in enumerate(given) if says_pregnant(code))
