"""What of a plan's input the review of its drugs does not read: it is told as unchecked, and never passed over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault
from models.pipelines.plan_advice import advice_fields
from models.pipelines.recommendation_types import Unchecked

CLEARANCE: Final = "creatinine_clearance_ml_min"
EGFR: Final = "egfr"
MEDICINES: Final = "medicines"
NOT_READ: Final = "not-read"
_KIDNEYS: Final = 3.0  # times: clearance by Cockcroft-Gault and eGFR of one patient do not lie so far apart
_DISEASED: Final = 60.0  # below it kidneys are diseased (KDIGO 2012), and doses depend on the figure
_LEAST: Final = 5.0  # below it both are rough


def clearance_of(facts: Mapping[str, Any]) -> float | None:
    """The creatinine clearance in mL/min or, for lack of it, the estimated glomerular filtration rate."""
    given: float | None = facts.get(CLEARANCE)
    return facts.get(EGFR) if given is None else given


def kidney_faults(facts: Mapping[str, Any]) -> Iterator[FieldFault]:
    """Clearance and eGFR that cannot be of one patient."""
    clearance, egfr = facts.get(CLEARANCE), facts.get(EGFR)
    if clearance is None or egfr is None:
        return
    low, high = sorted((clearance, egfr))
    if low < _DISEASED and high > _KIDNEYS * max(low, _LEAST):
        detail = f"It contradicts {CLEARANCE}: more than {_KIDNEYS:g} times as high or low. Correct one, or leave it out."
        yield FieldFault(f"/{EGFR}", FieldCode.INVALID_VALUE, detail)


def unread(facts: Mapping[str, Any], groups: Collection[str], read: Collection[str]) -> Iterator[Unchecked]:
    """Fields that the rule does not read, which asks for `read`; `groups` are those of medicines of the present drugs."""
    for group in facts.get(MEDICINES) or ():
        if group not in groups:
            detail = "a group names no drug, so interactions with it were not checked: send the drug in drugs_present"
            yield Unchecked(subject=group, check="interaction", reason=NOT_READ, detail=detail)
    for name in advice_fields():
        if name not in (EGFR, MEDICINES, *read) and facts.get(name) not in (None, []):
            detail = "the rule that reviews drugs does not read this field: advice alone does"
            yield Unchecked(subject=name, check=None, reason=NOT_READ, detail=detail)
