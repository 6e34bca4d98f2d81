"""What an input says of the kidneys: creatinine clearance, or the estimated glomerular filtration rate for lack of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault

CLEARANCE: Final = "creatinine_clearance_ml_min"
EGFR: Final = "egfr"
_KIDNEYS: Final = 3.0  # times: clearance by Cockcroft-Gault and eGFR of one patient do not lie so far apart
_DISEASED: Final = 60.0  # below it kidneys are diseased (KDIGO 2012), and doses depend on the figure
_LEAST: Final = 5.0  # below it both are rough


def kidney_faults(facts: Mapping[str, Any]) -> Iterator[FieldFault]:
    """Clearance and eGFR that cannot be of one patient."""
    clearance, egfr = facts.get(CLEARANCE), facts.get(EGFR)
    if clearance is None or egfr is None:
        return
    low, high = sorted((clearance, egfr))
    if low < _DISEASED and high > _KIDNEYS * max(low, _LEAST):
        detail = f"It contradicts {CLEARANCE}: more than {_KIDNEYS:g} times as high or low. Correct one, or leave it out."
        yield FieldFault(f"/{EGFR}", FieldCode.INVALID_VALUE, detail)
