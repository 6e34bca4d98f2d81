"""What of a plan's input the review of its drugs does not read: it is told as unchecked, and never passed over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from models.pipelines.kidneys import EGFR
from models.pipelines.plan_advice import advice_fields
from models.pipelines.recommendation_types import Unchecked

MEDICINES: Final = "medicines"
NOT_READ: Final = "not-read"


def unnamed(facts: Mapping[str, Any], groups: Collection[str]) -> Iterator[Unchecked]:
    """Groups of medicines that name no drug; `groups` are those of the present drugs."""
    for group in facts.get(MEDICINES) or ():
        if group not in groups:
            detail = "a group names no drug, so interactions with it were not checked: send the drug in drugs_present"
            yield Unchecked(subject=group, check="interaction", reason=NOT_READ, detail=detail)


def unread(facts: Mapping[str, Any], read: Collection[str]) -> Iterator[Unchecked]:
    """Fields that the rule does not read, which asks for `read`."""
    for name in advice_fields():
        if name not in (EGFR, MEDICINES, *read) and facts.get(name) not in (None, []):
            detail = "the rule that reviews drugs does not read this field: advice alone does"
            yield Unchecked(subject=name, check=None, reason=NOT_READ, detail=detail)
