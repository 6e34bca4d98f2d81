"""Rules that review what a recommender ranks and what is had now: what a rule is, and which there are.

A rule is no part of a graph and comes after it. It may ask for fields of its own in the input; it takes items out or says
what to consider, and names what it could not check. The manifest names it in `[parameters.rule]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from models.pipelines.item_catalogue import Item
from models.pipelines.recommendation_types import Objection, Unchecked


@dataclass(frozen=True)
class Reviewed:
    """A ranking after a rule: what is kept, in its order; what was removed, and why; what to consider; what was not checked.

    `flagged_present` is what the rule says of what is had now, and `unchecked_present` what else it could not check of it.
    """

    kept: tuple[Item, ...]
    removed: tuple[Objection, ...]
    flagged: tuple[Objection, ...]
    unchecked: tuple[Unchecked, ...]
    flagged_present: tuple[Objection, ...] = ()
    unchecked_present: tuple[Unchecked, ...] = ()


class Rule(Protocol):
    """Reviews rankings. One instance serves all threads."""

    def review(self, facts: Mapping[str, Any], present: Sequence[str], ranked: Sequence[Item]) -> Reviewed:
        """Review the items, best first. `facts` are the input's fields, None where unknown.

        `present` are the ids of what is had now, and, of what the catalogue does not know, what the caller wrote.
        An item is judged by those ranked above it alone, so that a longer ranking begins as a shorter one does. What is said of
        `present` does not depend on the ranking; without one, all that could not be checked is said there.
        """


class NoRule:
    """Keeps everything."""

    def review(self, facts: Mapping[str, Any], present: Sequence[str], ranked: Sequence[Item]) -> Reviewed:  # noqa: ARG002
        """See Rule."""
        return Reviewed(tuple(ranked), (), (), ())
