"""Interactions between ingredients, by substance and by class, in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from models.drug_safety.findings import SEVERITY, Level
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.tables import Line, ReadFile, read_table
from models.drug_safety.words import key

COLUMNS = ("first", "second", "level", "condition", "mechanism", "rule", "source", "date")
LANGUAGE = "fr"
# The reference's rows on how a drug is given, of which nothing is known here. Drugs with such a row are reported.
ROUTES = frozenset({"medicaments administres par voie orale", "medicaments utilises par voie vaginale"})


class Interaction(NamedTuple):
    """One row of the table. `rule` is the pair of substances or classes as published."""

    level: Level
    condition: str
    mechanism: str
    rule: str
    source: str
    date: str


class Interactions:
    """What interacts with what. The rows of an ingredient are collected when it is first asked for."""

    def __init__(self, rows: Iterable[tuple[str, str, Interaction]], ingredients: Ingredients) -> None:
        self._rows: dict[str, list[tuple[str, Interaction]]] = {}
        self._members: dict[str, list[Ingredient]] = {}
        for first, second, row in rows:
            self._rows.setdefault(first, []).append((second, row))
            if first != second:
                self._rows.setdefault(second, []).append((first, row))
        for ingredient in ingredients.all:
            for term in ingredient.terms:
                self._members.setdefault(term, []).append(ingredient)
        by_route = {end for route in ROUTES for end, _ in self._rows.get(route, ())}
        self._by_route = frozenset(each for end in by_route for each in self._members.get(end, ()))
        self._partners: dict[Ingredient, dict[Ingredient, tuple[Interaction, ...]]] = {}

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Interactions:
        """Read interactions.csv. Raises TableUnusable."""
        known = ROUTES.union(*(ingredient.terms for ingredient in ingredients.all))
        lines = read_table(read, f"{folder}/interactions.csv", COLUMNS, ["first", "second", "level"])
        return cls([_row(line, known) for line in lines], ingredients)

    def partners(self, ingredient: Ingredient) -> dict[Ingredient, tuple[Interaction, ...]]:
        """All that interacts with the ingredient, with the rows that say so, the most serious first."""
        found = self._partners.get(ingredient)
        if found is None:
            found = self._partners[ingredient] = self._collect(ingredient)
        return found

    def depends_on_route(self, ingredient: Ingredient) -> bool:
        """Whether there is a row on the ingredient and whatever is given by some route."""
        return ingredient in self._by_route

    def _collect(self, ingredient: Ingredient) -> dict[Ingredient, tuple[Interaction, ...]]:
        found: dict[Ingredient, dict[tuple[str, str, str], Interaction]] = {}
        for term in ingredient.terms:
            for end, row in self._rows.get(term, ()):
                for other in self._members.get(end, ()):
                    if other is not ingredient:
                        rows = found.setdefault(other, {})
                        kept = rows.setdefault(row[:3], row)
                        if row.rule < kept.rule:  # whatever the direction, the same one of equal rows
                            rows[row[:3]] = row
        return {other: tuple(sorted(rows.values(), key=_order)) for other, rows in found.items()}


def _order(row: Interaction) -> tuple[int, Interaction]:
    return SEVERITY[row.level], row


def _row(line: Line, known: frozenset[str]) -> tuple[str, str, Interaction]:
    level = line.word("level", Level)
    for end in ("first", "second"):
        if key(line[end]) not in known:
            raise line.refused(f"{line[end]!r} is no substance or class of substances.csv: add it there")
    rule = line["rule"] or f"{line['first']} with {line['second']}"
    row = Interaction(level, line["condition"], line["mechanism"], rule, line["source"], line["date"])
    return key(line["first"]), key(line["second"]), row
