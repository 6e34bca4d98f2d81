"""The drug safety rule: reviews proposed drugs against the patient, the present drugs and each other.

It stands apart from every model and runs after all of them. It knows what its tables say, and reports what they do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from models.drug_safety import allergies, diagnoses, duplicates, limits
from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Patient, Reason, Review, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients, error_prone
from models.drug_safety.interactions import LABELS, Interactions
from models.drug_safety.known import Known, known_of
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


@dataclass(frozen=True, eq=False)
class _Drug:
    """A drug by its name as given. `shared` is what makes another drug with one of it a duplicate."""

    name: str
    ingredients: tuple[Ingredient, ...]
    shared: frozenset[Ingredient | str]


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
        return tuple(sorted(found, key=_seriousness))

    def review(
        self,
        patient: Patient,
        present: Iterable[str],
        proposed: Sequence[str],
        removing: frozenset[Level] = REMOVING,
    ) -> Review:
        """Check each proposed drug, in the order of its rank, against the patient, present drugs and those kept before it.

        A drug with a finding of a level in `removing` is removed; contraindicated ones always are. Names that the tables do
        not have are kept, and listed as unchecked. The order of the present drugs makes no difference. No text makes it raise.
        """
        review = _Reviewing(removing | {Level.CONTRAINDICATED})
        known = known_of(patient if self._diagnoses else replace(patient, diagnoses=None))
        against = self._allergies.against(known)
        taken = _Taken()
        if proposed:
            review.note(self._allergies.unchecked(known))
            review.note(known.told)
            review.note(self._unread(patient))
        for drug in self._present(present, review):
            taken.add(drug)
        for name in proposed:
            drug = self._drug(name)
            review.note(self._unknown(drug))
            review.note(self._limits.unchecked(name, drug.ingredients, known))
            if self._diagnoses is not None:
                review.note(self._diagnoses.unchecked(name, drug.ingredients, known))
            found = [
                *allergies.findings(name, drug.ingredients, against),
                *self._limits.findings(name, drug.ingredients, known),
                *self._by_diagnosis(drug, known),
                *self._among(drug, taken),
            ]
            if review.decide(name, found):
                taken.add(drug)
        return review.result()

    def _drug(self, name: str) -> _Drug:
        ingredients = self.ingredients.named(name)
        return _Drug(name, ingredients, self._duplicates.groups(ingredients))

    def _present(self, names: Iterable[str], review: _Reviewing) -> Iterable[_Drug]:
        """The present drugs, each once: two names of the same ingredients are one, and told."""
        known: dict[tuple[Ingredient, ...], list[str]] = {}
        for name in sorted(set(names)):
            drug = self._drug(name)
            review.note(self._unknown(drug))
            if drug.ingredients:
                known.setdefault(drug.ingredients, []).append(name)
        for ingredients, several in known.items():
            if len(several) > 1:
                meant = " and ".join(each.name for each in ingredients)
                detail = f"they mean {meant}, which was counted once: see that it is not given twice"
                review.note([Unchecked(", ".join(several), Kind.DUPLICATE, Reason.NAMED_TWICE, detail)])
            yield _Drug(", ".join(several), ingredients, self._duplicates.groups(ingredients))

    def _among(self, drug: _Drug, taken: _Taken) -> Iterator[Finding]:
        """Interactions and duplicates among the drugs taken; once each, also if several ingredients have the same row."""
        for other in taken.interacting(drug, self._interactions):
            yield from dict.fromkeys(self._interacting(drug, other))
        for other in taken.sharing(drug):
            pair = drug.name, drug.ingredients, other.name, other.ingredients
            yield from dict.fromkeys(self._duplicates.between(*pair))

    def _by_diagnosis(self, drug: _Drug, known: Known) -> Iterator[Finding]:
        if self._diagnoses is not None:
            yield from self._diagnoses.findings(drug.name, drug.ingredients, known)

    def _unread(self, patient: Patient) -> Iterator[Unchecked]:
        """That no table has all that diagnoses forbid."""
        if patient.diagnoses:
            detail = diagnoses.NONE_READ if self._diagnoses is None else diagnoses.SOME_READ
            yield Unchecked("diagnoses", None, Reason.NOT_READ, detail)

    def _interacting(self, drug: _Drug, other: _Drug) -> Iterator[Finding]:
        for ingredient in drug.ingredients:
            partners = self._interactions.partners(ingredient)
            for each in other.ingredients:
                for row in partners.get(each, ()):
                    yield Finding(drug.name, Kind.INTERACTION, row.level, other.name, *row[1:])

    def _unknown(self, drug: _Drug) -> Iterator[Unchecked]:
        if not drug.ingredients:
            detail = f"no table has this name: nothing was checked{self.ingredients.near(drug.name)}"
            yield Unchecked(drug.name, None, Reason.UNKNOWN_NAME, detail)
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


class _Taken:
    """The drugs that a proposed one is compared with: present ones, and those kept so far."""

    def __init__(self) -> None:
        self._by_ingredient: dict[Ingredient, list[_Drug]] = {}
        self._by_shared: dict[Ingredient | str, list[_Drug]] = {}

    def add(self, drug: _Drug) -> None:
        """Compare later drugs with this one, too."""
        for ingredient in drug.ingredients:
            self._by_ingredient.setdefault(ingredient, []).append(drug)
        for shared in drug.shared:
            self._by_shared.setdefault(shared, []).append(drug)

    def interacting(self, drug: _Drug, interactions: Interactions) -> Iterable[_Drug]:
        """Those that have an interaction with the drug, each once."""
        taken = self._by_ingredient
        partners = (taken.keys() & interactions.partners(each).keys() for each in drug.ingredients)
        return dict.fromkeys(other for some in partners for each in some for other in taken[each])

    def sharing(self, drug: _Drug) -> Iterable[_Drug]:
        """Those that share an ingredient or a group with the drug, each once."""
        taken = self._by_shared
        return dict.fromkeys(other for each in taken.keys() & drug.shared for other in taken[each])


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
        """The review of the drugs decided so far."""
        return Review(
            tuple(self._kept),
            tuple(self._removed),
            tuple(self._flagged),
            tuple(sorted(self._unchecked, key=_place)),
        )


def _seriousness(finding: Finding) -> tuple[int, Finding]:
    return SEVERITY[finding.level], finding


# What stands first among what was not checked: allergies and diagnoses that nobody has checked, then what may be wrong.
_FIRST: Final = (
    Reason.ALLERGY_NOT_UNDERSTOOD,
    Reason.ALLERGY_NOT_NAMED,
    Reason.DIAGNOSIS_NOT_UNDERSTOOD,
    Reason.CONTRADICTED,
    Reason.ALLERGY_BY_CODE,
    Reason.ALLERGY_DOUBTED,
    Reason.ALLERGY_DENIED,
)


def _place(unchecked: Unchecked) -> tuple[int, str, str, str, str]:
    rank = _FIRST.index(unchecked.reason) if unchecked.reason in _FIRST else len(_FIRST)
    return rank, unchecked.subject, unchecked.check or "", unchecked.reason, unchecked.detail
