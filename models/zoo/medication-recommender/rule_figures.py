"""What the drug safety rule changes: how often a drug that was given is still recommended, and which pairs remain.

Nothing is known of allergies, pregnancy and kidneys in the data, so that interactions and duplicates alone are measured.
"""

from collections.abc import Sequence

import numpy as np
from drug_catalogue import TABLES

from models.drug_safety import DrugSafety, Kind, Level, Patient
from models.training.recommenders import TOP, Floats, Linear

REMOVING = frozenset({Level.CONTRAINDICATED})


class Reviewed:
    """Recommendations with and without the rule."""

    def __init__(self, drugs: Sequence[str]) -> None:
        self._safety = DrugSafety.read(lambda path: (TABLES.parent / path).read_bytes(), TABLES.name)
        self._drugs = drugs
        self._levels: dict[tuple[str, str], frozenset[Level]] = {}

    def ranked(self, model: Linear, had: Floats, known: Floats) -> list[str]:
        """All drugs that are not had, the best first."""
        [scores] = model.scores(had[None], known[None])
        return [self._drugs[place] for place in np.argsort(-scores, kind="stable") if not had[place]]

    def kept(self, ranked: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
        """The first TOP that the rule keeps."""
        number = TOP
        while True:
            review = self._safety.review(Patient(), present, ranked[:number], REMOVING)
            if len(review.kept) >= TOP or number >= len(ranked):
                return review.kept
            number += TOP - len(review.kept)

    def pairs(self, answer: Sequence[str], present: Sequence[str], level: Level) -> int:
        """How many pairs of a recommended drug with a present or another recommended one have this level."""
        others = [(drug, other) for place, drug in enumerate(answer) for other in (*present, *answer[:place])]
        return sum(level in self._between(*pair) for pair in others)

    def _between(self, drug: str, other: str) -> frozenset[Level]:
        pair = min(drug, other), max(drug, other)
        if pair not in self._levels:
            found = self._safety.between(*pair)
            self._levels[pair] = frozenset(each.level for each in found if each.kind is Kind.INTERACTION)
        return self._levels[pair]
