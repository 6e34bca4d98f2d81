"""Who can be pregnant or breastfeed, and codes that say that somebody is pregnant: contradictions are refused, in any pipeline.

Codes that also stand for childbirth, the puerperium or the past, such as O10.03, O24.43 or Z87.5, say nothing of now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from models.drug_safety.coded_facts import says_pregnant
from models.drug_safety.codes import Code, System, read_code
from models.drug_safety.known import CHILDBEARING
from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault, pointer_to

YOUNGEST_PREGNANT, OLDEST_PREGNANT = map(int, CHILDBEARING)


class Facts(NamedTuple):
    """What an input says; None is unknown. `sex` is `female` or `male`, `age` in years."""

    pregnant: object = None
    breastfeeding: object = None
    sex: object = None
    age: float | None = None


def cannot_be_pregnant(sex: object, age: float | None) -> bool:
    """Of the sex or of an age that leaves no doubt."""
    return sex == "male" or (age is not None and not YOUNGEST_PREGNANT <= age <= OLDEST_PREGNANT)


def contradictions(
    facts: Facts, codes: Mapping[str, Sequence[str]], systems: Collection[System] = tuple(System)
) -> Iterator[FieldFault]:
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
    for field, place, code in _saying(codes, systems):
        pointer, says = pointer_to(field, str(place)), "This is a code of pregnancy"
        if code.other is not None:
            says += f" of {code.system} (if it is of {code.other}, put that system before it)"
        if impossible:
            detail = f"{says}. Correct age, sex or this: {who}."
            yield FieldFault(pointer, FieldCode.INVALID_VALUE, detail)
        elif pregnant is False:
            detail = f"{says}, and `pregnant` is false: correct one of them."
            yield FieldFault(pointer, FieldCode.INVALID_VALUE, detail)


def _saying(
    codes: Mapping[str, Sequence[str]], systems: Collection[System]
) -> Iterator[tuple[str, int, Code]]:
    for field, given in codes.items():
        for place, text in enumerate(given):
            if (code := read_code(text, systems)) and says_pregnant(code):
                yield field, place, code
