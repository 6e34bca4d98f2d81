"""One review of drugs under way: the drugs taken so far, what was decided and noted, and the order of both in the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from models.drug_safety.findings import SEVERITY, Finding, Level, Reason, Review, Unchecked
from models.drug_safety.ingredients import Ingredient
from models.drug_safety.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Drug:
    """A drug by its name as given. `shared` is what makes another drug with one of it a duplicate."""

    name: str
    ingredients: tuple[Ingredient, ...]
    shared: frozenset[Ingredient | str]


class Taken:
    """The drugs that a proposed one is compared with: present ones, and those kept so far."""

    def __init__(self) -> None:
        self._by_ingredient: dict[Ingredient, list[Drug]] = {}
        self._by_shared: dict[Ingredient | str, list[Drug]] = {}

    def add(self, drug: Drug) -> None:
        """Compare later drugs with this one, too."""
        for ingredient in drug.ingredients:
            self._by_ingredient.setdefault(ingredient, []).append(drug)
        for shared in drug.shared:
            self._by_shared.setdefault(shared, []).append(drug)

    def interacting(self, drug: Drug, interactions: Interactions) -> Iterable[Drug]:
        """Those that have an interaction with the drug, each once."""
        taken = self._by_ingredient
        partners = (taken.keys() & interactions.partners(each).keys() for each in drug.ingredients)
        return dict.fromkeys(other for some in partners for each in some for other in taken[each])

    def sharing(self, drug: Drug) -> Iterable[Drug]:
        """Those that share an ingredient or a group with the drug, each once."""
        taken = self._by_shared
        return dict.fromkeys(other for each in taken.keys() & drug.shared for other in taken[each])


class Reviewing:
    """One review under way: what was decided so far."""

    def __init__(self, removing: frozenset[Level]) -> None:
        self._removing = removing
        self._kept: list[str] = []
        self._removed: list[Finding] = []
        self._flagged: list[Finding] = []
        self._unchecked: dict[Unchecked, None] = {}
        self._present: list[Finding] = []
        self._present_unchecked: dict[Unchecked, None] = {}

    def note(self, unchecked: Iterable[Unchecked]) -> None:
        """Add to what was not checked."""
        self._unchecked.update(dict.fromkeys(unchecked))

    def note_present(self, unchecked: Iterable[Unchecked]) -> None:
        """Add to what was not checked of present drugs."""
        self._present_unchecked.update(dict.fromkeys(unchecked))

    def flag_present(self, findings: Iterable[Finding]) -> None:
        """Add to what was found of present drugs."""
        self._present.extend(findings)

    def decide(self, name: str, findings: list[Finding]) -> bool:
        """Keep or remove a drug. Findings that alone would not have removed it are of no interest once it is removed."""
        findings.sort(key=seriousness)
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
            tuple(sorted(self._present, key=seriousness)),
            tuple(sorted(self._present_unchecked, key=_place)),
        )


def seriousness(finding: Finding) -> tuple[int, Finding]:
    """By what findings are sorted: the most serious first."""
    return SEVERITY[finding.level], finding


# What stands first among what was not checked: what of the input nobody has understood, then what of it may be wrong.
_FIRST: Final = (
    Reason.ALLERGY_NOT_UNDERSTOOD,
    Reason.ALLERGY_NOT_NAMED,
    Reason.DIAGNOSIS_NOT_UNDERSTOOD,
    Reason.AMBIGUOUS_CODE,
    Reason.UNKNOWN_NAME,
    Reason.NAMES_DISAGREE,
    Reason.CONTRADICTED,
    Reason.ALLERGY_BY_CODE,
    Reason.ALLERGY_DOUBTED,
    Reason.ALLERGY_DENIED,
    Reason.ERROR_PRONE_NAME,
    Reason.NAME_DOUBTED,
    Reason.NAMED_TWICE,
)


def _place(unchecked: Unchecked) -> tuple[int, str, str, str, str]:
    rank = _FIRST.index(unchecked.reason) if unchecked.reason in _FIRST else len(_FIRST)
    return rank, unchecked.subject, unchecked.check or "", unchecked.reason, unchecked.detail
