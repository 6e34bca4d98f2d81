"""The drug safety rule: reviews proposed drugs against the patient, the present drugs and each other.

It stands apart from every model and runs after all of them. It knows what its tables say, and reports what they do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Patient, Reason, Review, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.interactions import LANGUAGE, Interactions
from models.drug_safety.tables import ReadFile

# The files that `DrugSafety.read` reads from its folder.
FILES: Final = ("ingredients.csv", "interactions.csv", "products.csv", "substances.csv")
REMOVING: Final = frozenset({Level.CONTRAINDICATED, Level.NOT_RECOMMENDED})

_Drug = tuple[str, tuple[Ingredient, ...]]


class DrugSafety:
    """Reviews drugs by the tables of one folder. Holds nothing of patients; one instance serves all threads."""

    def __init__(self, ingredients: Ingredients, interactions: Interactions) -> None:
        self.ingredients = ingredients
        self.interactions = interactions

    @classmethod
    def read(cls, read_file: ReadFile, path: str) -> DrugSafety:
        """Read the tables FILES of the folder `path`. Raises TableUnusable, which says what to change."""
        ingredients = Ingredients.read(read_file, path)
        return cls(ingredients, Interactions.read(read_file, path, ingredients))

    def between(self, drug: str, other: str) -> tuple[Finding, ...]:
        """The interactions of two drugs by name, the most serious first; () if there are none or a name is not known."""
        return tuple(
            self._interacting((drug, self.ingredients.named(drug)), (other, self.ingredients.named(other)))
        )

    def review(
        self,
        patient: Patient,  # noqa: ARG002  interactions do not depend on it
        present: Iterable[str],
        proposed: Sequence[str],
        removing: frozenset[Level] = REMOVING,
    ) -> Review:
        """Check each proposed drug, in the order of its rank, against the patient, present drugs and those kept before it.

        A drug with a finding of a level in `removing` is removed; contraindicated ones always are. Names that the tables do
        not have are kept, and listed as unchecked. The order of the present drugs makes no difference. Never raises.
        """
        review = _Reviewing(removing | {Level.CONTRAINDICATED})
        for kind in Kind:
            if kind is not Kind.INTERACTION and proposed:
                review.note([Unchecked("", kind, Reason.NO_ENTRY, f"there is no table of this kind: {kind}")])
        taken = [(name, self.ingredients.named(name)) for name in sorted(set(present))]
        for drug in taken:
            review.note(self._unknown(drug))
        for name in proposed:
            drug = name, self.ingredients.named(name)
            review.note(self._unknown(drug))
            findings = [finding for other in taken for finding in self._interacting(drug, other)]
            if review.decide(name, findings):
                taken.append(drug)
        return review.result()

    def _interacting(self, drug: _Drug, other: _Drug) -> Iterable[Finding]:
        """Once each, also if several ingredients of a product have the same row."""
        name, ingredients = drug
        with_, others = other
        return dict.fromkeys(
            Finding(name, Kind.INTERACTION, row.level, with_, *row[1:], LANGUAGE)
            for ingredient in ingredients
            for partners in (self.interactions.partners(ingredient),)
            for each in others
            for row in partners.get(each, ())
        )

    def _unknown(self, drug: _Drug) -> Iterable[Unchecked]:
        name, ingredients = drug
        if not ingredients:
            yield Unchecked(name, None, Reason.UNKNOWN_NAME, "no table has this name: nothing was checked")
        for each in ingredients:
            if each.active and not each.terms:
                detail = f"the interactions have no entry for {each.name}"
                yield Unchecked(name, Kind.INTERACTION, Reason.NO_ENTRY, detail)
            elif self.interactions.depends_on_route(each):
                detail = f"interactions of {each.name} that depend on how a drug is given were not checked"
                yield Unchecked(name, Kind.INTERACTION, Reason.ROUTE_UNKNOWN, detail)


class _Reviewing:
    """One review under way: what was decided so far."""

    def __init__(self, removing: frozenset[Level]) -> None:
        self._removing = removing
        self._kept: list[str] = []
        self._removed: list[Finding] = []
        self._flagged: list[Finding] = []
        self._unchecked: dict[Unchecked, None] = {}

    def note(self, unchecked: Iterable[Unchecked]) -> None:
        """Add to what was not checked."""
        self._unchecked.update(dict.fromkeys(unchecked))

    def decide(self, name: str, findings: list[Finding]) -> bool:
        """Keep or remove a drug. Findings that alone would not have removed it are of no interest once it is removed."""
        findings.sort(key=_seriousness)
        against = [finding for finding in findings if finding.level in self._removing]
        if against:
            self._removed.extend(against)
            return False
        self._kept.append(name)
        self._flagged.extend(findings)
        return True

    def result(self) -> Review:
        """The review as it stands."""
        return Review(
            tuple(self._kept),
            tuple(self._removed),
            tuple(self._flagged),
            tuple(sorted(self._unchecked, key=_place)),
        )


def _seriousness(finding: Finding) -> tuple[int, Finding]:
    return SEVERITY[finding.level], finding


def _place(unchecked: Unchecked) -> tuple[str, str, str, str]:
    return unchecked.subject, unchecked.check or "", unchecked.reason, unchecked.detail
