"""The drug safety rule: reviews proposed and present drugs against the patient and each other.

It stands apart from every model and runs after all of them. It knows what its tables say, and reports what they do not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from models.drug_safety import allergies, diagnoses, duplicates, limits
from models.drug_safety.findings import Finding, Kind, Level, Patient, Reason, Review, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients, error_prone
from models.drug_safety.interactions import LABELS, Interactions
from models.drug_safety.known import Known, known_of
from models.drug_safety.orders import doubted
from models.drug_safety.reviewing import Drug, Reviewing, Taken, seriousness
from models.drug_safety.tables import ReadFile

# The files that `DrugSafety.read` reads from its folder; those of diagnoses and labels only if it is to.
FILES: Final = (
    "assigned_classes.csv",
    "codes.csv",
    "ingredients.csv",
    "interactions.csv",
    "products.csv",
    "substances.csv",
    diagnoses.FILE,
    LABELS,
    *allergies.FILES,
    *duplicates.FILES,
    *limits.FILES,
)
REMOVING: Final = frozenset({Level.CONTRAINDICATED, Level.NOT_RECOMMENDED})
_LISTED_TWICE: Final = "it is listed twice and was counted once: see that it is not given twice"


class DrugSafety:
    """Reviews drugs by the tables of one folder. Holds nothing of patients; one instance serves all threads."""

    def __init__(
        self,
        ingredients: Ingredients,
        interactions: Interactions,
        known_allergies: allergies.Allergies,
        known_duplicates: duplicates.Duplicates,
        known_limits: limits.Limits,
        *,
        known_diagnoses: diagnoses.Diagnoses | None = None,
    ) -> None:
        self.ingredients = ingredients
        self._interactions = interactions
        self._allergies = known_allergies
        self._duplicates = known_duplicates
        self._limits = known_limits
        self._diagnoses = known_diagnoses

    @classmethod
    def read(
        cls, read_file: ReadFile, path: str, *, with_diagnoses: bool = True, with_labels: bool = True
    ) -> DrugSafety:
        """Read the tables FILES of the folder `path`. Raises TableUnusable, which says what to change.

        Bundles from before the rule read diagnoses, or interactions of labels, lack these tables, and are read without them.
        """
        ingredients = Ingredients.read(read_file, path)
        known_allergies = allergies.Allergies.read(read_file, path, ingredients)
        known_duplicates = duplicates.Duplicates.read(read_file, path, ingredients)
        known_limits = limits.Limits.read(read_file, path, ingredients)
        interactions = Interactions.read(read_file, path, ingredients, with_labels=with_labels)
        of_diagnoses = diagnoses.Diagnoses.read(read_file, path, ingredients) if with_diagnoses else None
        return cls(
            ingredients,
            interactions,
            known_allergies,
            known_duplicates,
            known_limits,
            known_diagnoses=of_diagnoses,
        )

    def between(self, drug: str, other: str) -> tuple[Finding, ...]:
        """The interactions of two drugs by name, the most serious first; () if there are none or a name is not known."""
        found = dict.fromkeys(self._interacting(self._drug(drug), self._drug(other)))
        return tuple(sorted(found, key=seriousness))

    def review(
        self,
        patient: Patient,
        present: Iterable[str],
        proposed: Sequence[str],
        removing: frozenset[Level] = REMOVING,
    ) -> Review:
        """Check each proposed drug, in the order of its rank, against the patient, present drugs and those kept before it.

        A drug with a finding of a level in `removing` is removed; contraindicated ones always are. Names that the tables do
        not have are kept, and listed as unchecked. Present drugs are checked against the patient and each other, and never
        removed; their order makes no difference, and one that stands twice counts once. No text makes it raise.
        """
        review = Reviewing(removing | {Level.CONTRAINDICATED})
        known = known_of(patient if self._diagnoses else replace(patient, diagnoses=None))
        against = self._allergies.against(known)
        had, told = self._present(present)
        review.note(told)
        if told or had or proposed:
            review.note([*self._allergies.unchecked(known), *known.told, *self._unread(patient, known)])
        taken = Taken()
        for drug in had:
            review.note_present(self._facts_lacking(drug, known))
            review.flag_present(self._findings(drug, known, against, taken))
            taken.add(drug)
        for name in proposed:
            drug = self._drug(name)
            review.note(self._unknown(drug))
            review.note(self._facts_lacking(drug, known))
            if review.decide(name, self._findings(drug, known, against, taken)):
                taken.add(drug)
        return review.result()

    def _drug(self, name: str) -> Drug:
        ingredients = self.ingredients.named(name)
        return Drug(name, ingredients, self._duplicates.groups(ingredients))

    def _present(self, names: Iterable[str]) -> tuple[list[Drug], list[Unchecked]]:
        """The present drugs that are known, and what is unchecked in the names. Names of the same ingredients are one drug."""
        known: dict[tuple[Ingredient, ...], list[str]] = {}
        told: list[Unchecked] = []
        for name, number in sorted(Counter(names).items()):
            drug = self._drug(name)
            told += self._unknown(drug)
            if drug.ingredients:
                known.setdefault(drug.ingredients, []).append(name)
            if number > 1:
                told.append(Unchecked(name, Kind.DUPLICATE, Reason.NAMED_TWICE, _LISTED_TWICE))
        for ingredients, several in known.items():
            if len(several) > 1:
                meant = " and ".join(each.name for each in ingredients)
                detail = f"they mean {meant}, which was counted once: see that it is not given twice"
                told.append(Unchecked(", ".join(several), Kind.DUPLICATE, Reason.NAMED_TWICE, detail))
        shared = self._duplicates.groups
        return [Drug(", ".join(each), means, shared(means)) for means, each in known.items()], told

    def _findings(self, drug: Drug, known: Known, against: allergies.Recorded, taken: Taken) -> list[Finding]:
        """All that speaks against a drug: the patient's allergies, limits and diagnoses, and the drugs taken."""
        return [
            *allergies.findings(drug.name, drug.ingredients, against),
            *self._limits.findings(drug.name, drug.ingredients, known),
            *(self._diagnoses.findings(drug.name, drug.ingredients, known) if self._diagnoses else ()),
            *self._among(drug, taken),
        ]

    def _facts_lacking(self, drug: Drug, known: Known) -> Iterator[Unchecked]:
        """What would have to be known of the patient for all checks of a drug."""
        yield from self._limits.unchecked(drug.name, drug.ingredients, known)
        if self._diagnoses is not None:
            yield from self._diagnoses.unchecked(drug.name, drug.ingredients, known)

    def _among(self, drug: Drug, taken: Taken) -> Iterator[Finding]:
        """The most serious interaction and duplicate with each of the drugs taken: several rows may say it of one pair."""
        for other in taken.interacting(drug, self._interactions):
            yield from _worst(self._interacting(drug, other))
        for other in taken.sharing(drug):
            pair = drug.name, drug.ingredients, other.name, other.ingredients
            yield from _worst(self._duplicates.between(*pair))

    def _unread(self, patient: Patient, known: Known) -> Iterator[Unchecked]:
        """That no table has all that diagnoses, pregnancy, breastfeeding or the kidneys forbid."""
        if patient.diagnoses:
            detail = diagnoses.NONE_READ if self._diagnoses is None else diagnoses.SOME_READ
            yield Unchecked("diagnoses", None, Reason.NOT_READ, detail)
        yield from self._limits.partial(known)

    def _interacting(self, drug: Drug, other: Drug) -> Iterator[Finding]:
        for ingredient in drug.ingredients:
            partners = self._interactions.partners(ingredient)
            for each in other.ingredients:
                for row in partners.get(each, ()):
                    yield Finding(drug.name, Kind.INTERACTION, row.level, other.name, *row[1:])

    def _unknown(self, drug: Drug) -> Iterator[Unchecked]:
        if not drug.ingredients:
            detail = f"no table has this name: nothing was checked{self.ingredients.near(drug.name)}"
            yield Unchecked(drug.name, None, Reason.UNKNOWN_NAME, detail)
        elif doubt := doubted(drug.name):
            detail = f"{doubt} leaves in doubt that it is given; it was counted: send the name alone, or leave it out"
            yield Unchecked(drug.name, None, Reason.NAME_DOUBTED, detail)
        if self.ingredients.local(drug.name):
            detail = "it is given locally, and was checked as if it were swallowed or injected"
            yield Unchecked(drug.name, None, Reason.LOCAL_ROUTE, detail)
        if other := self.ingredients.disagreement(drug.name):
            detail = (
                f"its brackets name {other}, which the rest does not: both were checked, correct one of them"
            )
            yield Unchecked(drug.name, None, Reason.NAMES_DISAGREE, detail)
        for name, caution in self.ingredients.cautions(drug.name).items():
            yield error_prone(drug.name, name, caution, self.ingredients)
        for each in drug.ingredients:
            if each.active and not each.listed:
                rows = ["its classes"] * bool(each.terms) + ["labels"] * self._interactions.has_label(each)
                only = f": only rows on {' and '.join(rows)} were checked" if rows else ""
                detail = f"the interactions have no entry for {each.name}{only}"
                yield Unchecked(drug.name, Kind.INTERACTION, Reason.NO_ENTRY, detail)
            if self._interactions.depends_on_route(each):
                detail = f"interactions of {each.name} that depend on how a drug is given were not checked"
                yield Unchecked(drug.name, Kind.INTERACTION, Reason.ROUTE_UNKNOWN, detail)


def _worst(findings: Iterable[Finding]) -> list[Finding]:
    """The most serious one, if there is any."""
    return sorted(findings, key=seriousness)[:1]
