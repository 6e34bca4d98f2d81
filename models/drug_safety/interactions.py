"""Interactions between ingredients, by substance and by class, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from models.drug_safety.findings import SEVERITY, Level
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.tables import Line, ReadFile, read_table
from models.drug_safety.words import key

COLUMNS = ("first", "second", "level", "condition", "mechanism", "rule", "source", "date")
LABEL_COLUMNS = ("first", "second", "level", "condition", "mechanism", "source", "date")
LANGUAGE = "fr"
# Rows on ingredients, by their English names, that the reference lacks or takes less seriously than labels do.
LABELS: Final = "label_interactions.csv"
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
    language: str = LANGUAGE


Pair = tuple[Ingredient, Ingredient, Interaction]


class Interactions:
    """What interacts with what. The rows of an ingredient are collected when it is first asked for."""

    def __init__(
        self,
        rows: Iterable[tuple[str, str, Interaction]],
        ingredients: Ingredients,
        labels: Iterable[Pair] = (),
    ) -> None:
        self._rows: dict[str, list[tuple[str, Interaction]]] = {}
        self._members: dict[str, list[Ingredient]] = {}
        for first, second, row in rows:
            self._rows.setdefault(first, []).append((second, row))
            if first != second:
                self._rows.setdefault(second, []).append((first, row))
        for ingredient in ingredients.all:
            for term in ingredient.terms:
                self._members.setdefault(term, []).append(ingredient)
        self._of_labels: dict[Ingredient, list[tuple[Ingredient, Interaction]]] = {}
        for one, other, row in labels:
            self._of_labels.setdefault(one, []).append((other, row))
            self._of_labels.setdefault(other, []).append((one, row))
        by_route = {end for route in ROUTES for end, _ in self._rows.get(route, ())}
        self._by_route = frozenset(each for end in by_route for each in self._members.get(end, ()))
        self._partners: dict[Ingredient, dict[Ingredient, tuple[Interaction, ...]]] = {}

    @classmethod
    def read(
        cls, read: ReadFile, folder: str, ingredients: Ingredients, *, with_labels: bool = True
    ) -> Interactions:
        """Read interactions.csv and, if there is one, the table of labels. Raises TableUnusable."""
        known = ROUTES.union(*(ingredient.terms for ingredient in ingredients.all))
        lines = read_table(read, f"{folder}/interactions.csv", COLUMNS, ["first", "second", "level"])
        labels = list(_read_labels(read, folder, ingredients)) if with_labels else []
        return cls([_row(line, known) for line in lines], ingredients, labels)

    def partners(self, ingredient: Ingredient) -> dict[Ingredient, tuple[Interaction, ...]]:
        """All that interacts with the ingredient, with the rows that say so, the most serious first."""
        found = self._partners.get(ingredient)
        if found is None:
            found = self._partners[ingredient] = self._collect(ingredient)
        return found

    def has_label(self, ingredient: Ingredient) -> bool:
        """Whether the table of labels has a row on the ingredient."""
        return ingredient in self._of_labels

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
        for other, row in self._of_labels.get(ingredient, ()):
            rows = found.setdefault(other, {})
            if not any(SEVERITY[each.level] <= SEVERITY[row.level] for each in rows.values()):
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


def _read_labels(read: ReadFile, folder: str, ingredients: Ingredients) -> Iterator[Pair]:
    """Each pair of ingredients of each row once. Raises TableUnusable, also for an ingredient with itself."""
    for line in read_table(read, f"{folder}/{LABELS}", LABEL_COLUMNS, ["first", "second", "level"]):
        ends = [[ingredients.member(line, each) for each in line.listed(end)] for end in ("first", "second")]
        level, condition, mechanism = line.word("level", Level), line["condition"], line["mechanism"]
        for one in ends[0]:
            for other in ends[1]:
                if one is other:
                    raise line.refused(f"{one.name} stands in first and in second")
                words = f"{one.name} with {other.name}", line["source"], line["date"], "en"
                yield one, other, Interaction(level, condition, mechanism, *words)
