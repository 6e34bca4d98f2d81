"""Duplicate therapy: the same ingredient in two drugs, or two of a group of which one is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from models.drug_safety.findings import Finding, Kind, Level
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.tables import Line, ReadFile, TableUnusable, read_table

COLUMNS: Final = ("group", "members", "level", "same_ingredient", "condition", "source", "date")
FILES: Final = ("duplicates.csv",)
ALL: Final = (
    "*"  # the group of all ingredients: how serious the same one twice is, unless a row on it says so
)


class Group(NamedTuple):
    """One row. `level` is that of two members, `same_ingredient` that of one member twice; None says nothing."""

    name: str
    level: Level | None
    same_ingredient: Level | None
    condition: str
    source: str
    date: str


class Duplicates:
    """The groups of each ingredient."""

    def __init__(self, groups: dict[Ingredient, tuple[Group, ...]], same: Group) -> None:
        self._groups = groups
        self._same = same

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Duplicates:
        """Read duplicates.csv. Raises TableUnusable."""
        path = f"{folder}/duplicates.csv"
        groups: dict[Ingredient, tuple[Group, ...]] = {}
        same: Group | None = None
        for line in read_table(read, path, COLUMNS, ["group"]):
            level, twice = _level(line, "level"), _level(line, "same_ingredient")
            if level is twice is None:
                raise line.refused("give a level")
            group = Group(line["group"], level, twice, line["condition"], line["source"], line["date"])
            if group.name == ALL:
                same = group
            for name in line.listed("members"):
                member = ingredients.member(line, name)
                groups[member] = (*groups.get(member, ()), group)
        if same is None or same.same_ingredient is None:
            raise TableUnusable(path, f"add a row of the group {ALL}, with a level in same_ingredient")
        return cls(groups, same)

    def groups(self, ingredients: Iterable[Ingredient]) -> frozenset[Ingredient | str]:
        """What two drugs must share to be duplicates: active ingredients, and names of groups."""
        active = [each for each in ingredients if each.active]
        return frozenset(active).union(group.name for each in active for group in self._groups.get(each, ()))

    def between(
        self, drug: str, ingredients: Iterable[Ingredient], with_: str, others: Iterable[Ingredient]
    ) -> Iterator[Finding]:
        """Why the drug is a duplicate of the other: for each shared ingredient, or for each shared group."""
        for ingredient in ingredients:
            for other in others:
                if ingredient is other and ingredient.active:
                    yield self._same_ingredient(drug, ingredient, with_)
                elif ingredient is not other:
                    for group in self._groups.get(ingredient, ()):
                        if group.level is not None and group in self._groups.get(other, ()):
                            yield _finding(drug, with_, group, group.level, f"both are {group.name}")

    def _same_ingredient(self, drug: str, ingredient: Ingredient, with_: str) -> Finding:
        stated = [group for group in self._groups.get(ingredient, ()) if group.same_ingredient is not None]
        group = stated[0] if stated else self._same
        assert group.same_ingredient is not None
        return _finding(drug, with_, group, group.same_ingredient, f"both contain {ingredient.name}")


def _level(line: Line, column: str) -> Level | None:
    return line.word(column, Level) if line[column] else None


def _finding(drug: str, with_: str, group: Group, level: Level, why: str) -> Finding:
    rule = "same ingredient" if group.name == ALL else group.name
    return Finding(drug, Kind.DUPLICATE, level, with_, group.condition, why, rule, group.source, group.date)
