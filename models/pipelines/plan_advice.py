"""What a treatment plan says to the section of advice: one person, made of the plan's input and of the diagnosis jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, Protocol

from models.drug_safety.codes import System, read_code
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.words import key
from models.manifest import MANIFEST_NAME, BundleRefused, Fault
from models.pipelines.advice_patient import FIELDS, Person
from models.pipelines.plan_parameters import AdviceSection

# What a plan has from its context and its rule, or makes itself.
_SHARED: Final = frozenset(("age", "sex", "pregnant", "breastfeeding"))


class HasConditions(Protocol):
    """A catalogue of advice."""

    def groups_of(self, code: str) -> list[str]:
        """The groups that a condition falls into."""


def advice_fields() -> dict[str, tuple[Any, Any]]:
    """The fields that advice adds to the input of a plan: type and default of each."""
    own = (name for name in FIELDS if name not in _SHARED)
    return {name: (Person.model_fields[name].annotation, copy(Person.model_fields[name])) for name in own}


def person_of(facts: Mapping[str, Any], conditions: Iterable[str], medicines: Iterable[str]) -> Person:
    """The person of an input. Raises ValidationError."""
    given = {name: facts.get(name) for name in FIELDS}
    given["symptoms"] = given["symptoms"] or []
    given["medicines"] = sorted({*(given["medicines"] or ()), *medicines})
    return Person.model_validate({**given, "conditions": list(conditions)})


def for_advice(codes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The codes that are of ICD-10 without a doubt, and the others, which advice does not know.

    E880 is of neither: a fall in ICD-9-CM, and a metabolic disorder in ICD-10.
    """
    found = {code: read for code in codes if (read := read_code(code, (System.ICD_10,)))}
    known = {code: read.bare for code, read in found.items() if read.other is None}
    return list(dict.fromkeys(known.values())), [code for code in codes if code not in known]


class Medicines:
    """Which groups of medicines drugs belong to."""

    def __init__(self, section: AdviceSection, ingredients: Ingredients) -> None:
        """Raises BundleRefused for a group that names what the tables do not have: it would silently never match."""
        self._groups = {group: {key(name) for name in names} for group, names in section.medicines.items()}
        self._ingredients = ingredients
        known = set().union(*map(_keys, ingredients.all))
        for group, names in section.medicines.items():
            if lost := [name for name in names if key(name) not in known]:
                place = f"{MANIFEST_NAME}: parameters.advice.medicines.{group}"
                detail = (
                    f"the tables of the rule have no ingredient and no class {lost[0]!r}: correct the name"
                )
                raise BundleRefused(Fault(place, "manifest_invalid", detail))

    def of(self, drugs: Iterable[str]) -> Iterator[str]:
        """The groups of these drugs, by name, brand or code."""
        for drug in drugs:
            for ingredient in self._ingredients.named(drug):
                yield from (group for group, names in self._groups.items() if names & _keys(ingredient))


def _keys(ingredient: Ingredient) -> set[str]:
    return {key(ingredient.name), *ingredient.terms}
