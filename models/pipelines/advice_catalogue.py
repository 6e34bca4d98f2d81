"""The catalogue of advice in a bundle: a TOML file of sources, groups of conditions, red flags and items.

It is checked as it is read, and refused whole, with every fault, if a rule asks for what no input has, if a bound is the same
for everybody, if a source or a group is used by nothing, or if nobody could ever be shown an item.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field

from models.drug_safety.codes import System, read_code
from models.manifest import (
    BundleRefused,
    Fault,
    ManifestInvalid,
    ManifestTable,
    Text,
    parse_table,
    toml_table,
)
from models.manifest_words import (
    DATE,
    ICD10_BEGINNING,
    ICD10_CODE,
    KEBAB_CASE,
    SNOMED_CODE,
    WEB_ADDRESS,
)
from models.pipelines.advice_patient import bare_code
from models.pipelines.advice_rules import InGroup, Rule, read_rule
from models.pipelines.advice_witness import witness

INVALID: Final = "catalogue_invalid"
ANY: Final = "_"  # in a prefix of ICD-10
UNREACHABLE: Final = "item_unreachable"
Language = Literal["en", "zh"]
Category = Literal["diet", "activity", "rest", "sleep", "alcohol", "smoking", "sun", "safety", "follow-up"]
Urgency = Literal["emergency", "urgent", "soon"]
Id = Annotated[str, Field(pattern=KEBAB_CASE, max_length=64)]
Clauses = Annotated[
    tuple[Text | Annotated[tuple[Text, ...], Field(min_length=1, strict=False)], ...],
    Field(min_length=1, strict=False),
]
TableT = TypeVar("TableT", bound="ManifestTable")


class Words(ManifestTable):
    """What people read, in both languages."""

    en: Text
    zh: Text

    def within(self, language: Language) -> str:
        """The words in a language."""
        return self.en if language == "en" else self.zh


class SourceTable(ManifestTable):
    """Where a fact stands. `focus` is that of the passage in MedQuAD, if it is there."""

    name: Text
    publisher: Text
    year: Annotated[int, Field(ge=1990, le=2100)]
    url: Annotated[str, Field(pattern=WEB_ADDRESS)]
    focus: Text | None = None


class GroupTable(Words):
    """A group of conditions: prefixes of ICD-10, and concepts of SNOMED CT without those below them.

    `_` in a prefix stands for any one character: `T36.__2` is intentional self-harm by what T36 has, of ICD-10-CM.
    `except_icd10` are prefixes that are longer than one of `icd10` and not of the group, as of a disorder in remission.
    """

    icd10: Annotated[tuple[Annotated[str, Field(pattern=ICD10_BEGINNING)], ...], Field(strict=False)] = ()
    except_icd10: Annotated[tuple[Annotated[str, Field(pattern=ICD10_CODE)], ...], Field(strict=False)] = ()
    snomed: Annotated[tuple[Annotated[str, Field(pattern=SNOMED_CODE)], ...], Field(strict=False)] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """A code of each prefix, and the concepts."""
        return (*(each.replace(ANY, "0") for each in self.icd10), *self.snomed)


class AgainstTable(Words):
    """When an item must not be shown, and the reason that is shown instead.

    If a value it asks for is absent, the item is undetermined; with `if_known` it is shown, and names the value as unchecked.
    `instead` are items that stand in its place: the reason holds only where one of them is shown.
    """

    when: Clauses
    if_known: bool = False
    instead: Annotated[tuple[Id, ...], Field(strict=False)] = ()


class FlagTable(Words):
    """A red flag: somebody should be seen, and items of some categories are withheld."""

    id: Id
    urgency: Urgency
    when: Clauses
    source: Id
    withholds: Annotated[tuple[Category, ...], Field(strict=False)] = ()


class ItemTable(Words):
    """One piece of advice."""

    id: Id
    category: Category
    priority: Annotated[int, Field(ge=1, le=3)] = 2
    grade: Text | None = None
    source: Id
    quote: Text | None = None
    when: Clauses
    unless: Annotated[tuple[AgainstTable, ...], Field(strict=False)] = ()


class CatalogueTable(ManifestTable):
    """The file."""

    title: Text
    date: Annotated[str, Field(pattern=DATE)]
    reviewed_by: Text | None = None
    minimum_age: Annotated[int, Field(ge=0, le=120)] = 18
    sources: dict[Id, SourceTable]
    groups: dict[Id, GroupTable]
    flags: Annotated[tuple[FlagTable, ...], Field(strict=False)] = ()
    items: Annotated[tuple[ItemTable, ...], Field(min_length=1, strict=False)]


@dataclass(frozen=True, slots=True)
class Against:
    """See AgainstTable."""

    rule: Rule
    table: AgainstTable


@dataclass(frozen=True, slots=True)
class Flag:
    """See FlagTable."""

    table: FlagTable
    source: SourceTable
    rule: Rule


@dataclass(frozen=True, slots=True)
class Item:
    """See ItemTable."""

    table: ItemTable
    source: SourceTable
    rule: Rule
    unless: tuple[Against, ...]


class Catalogue:
    """A catalogue that was read. Immutable."""

    def __init__(self, table: CatalogueTable, flags: Sequence[Flag], items: Sequence[Item]) -> None:
        self.table: Final = table
        self.flags: Final = tuple(flags)
        self.items: Final = tuple(sorted(items, key=lambda item: item.table.priority))
        self._prefixes = [
            (_beginning(prefix), name) for name, group in table.groups.items() for prefix in group.icd10
        ]
        self._excepted = {
            name: tuple(map(bare_code, group.except_icd10)) for name, group in table.groups.items()
        }
        self._concepts = [(code, name) for name, group in table.groups.items() for code in group.snomed]

    @classmethod
    def read(cls, content: bytes, file: str) -> Self:
        """The catalogue in the bytes of `file`. Raises BundleRefused with every fault."""
        try:
            written = toml_table(content.decode())
        except UnicodeDecodeError:
            raise ManifestInvalid(Fault(file, "file_not_text", "save this file as UTF-8")) from None
        except BundleRefused as refused:
            raise ManifestInvalid(*(Fault(file, INVALID, each.detail) for each in refused.faults)) from None
        table = parse_table(CatalogueTable, written, file=file, code=INVALID)
        reader = _Reader(table, file)
        flags, items = reader.flags(), reader.items()
        faults = reader.faults or [
            *reader.unused(flags, items), *reader.misplaced(items), *reader.unreachable(flags, items)
        ]  # fmt: skip
        if faults:
            raise ManifestInvalid(*faults)
        return cls(table, flags, items)

    def groups_of(self, code: str) -> list[str]:
        """The groups that a condition falls into; none if the catalogue does not know it."""
        folded = bare_code(code)
        if folded.isdigit():
            return list(dict.fromkeys(name for concept, name in self._concepts if concept == folded))
        if (read := read_code(folded, (System.ICD_10,))) and read.is_sequela:
            return []
        found = dict.fromkeys(name for prefix, name in self._prefixes if prefix.match(folded))
        return [name for name in found if not folded.startswith(self._excepted[name])]


def _beginning(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(bare_code(prefix)).replace(ANY, "."))


class _Reader:
    """Compiles the rules of a file, and collects what is wrong with them."""

    def __init__(self, table: CatalogueTable, file: str) -> None:
        self._table = table
        self._file = file
        self._codes = {name: [*map(bare_code, group.codes)] for name, group in table.groups.items()}
        self.faults: list[Fault] = []
        ids = Counter([*(flag.id for flag in table.flags), *(item.id for item in table.items)])
        for name, count in ids.items():
            if count > 1:
                self._fault("items", f"{count} items or flags are called {name!r}: give each its own id")
        for name, codes in self._codes.items():
            if not codes:
                self._fault(f"groups.{name}", "it has no codes: list some in `icd10` or `snomed`")
            prefixes = tuple(map(bare_code, table.groups[name].icd10))
            for code in table.groups[name].except_icd10:
                if bare_code(code) in prefixes or not bare_code(code).startswith(prefixes):
                    advice = f"{code} excepts nothing: write a code below one of `icd10`"
                    self._fault(f"groups.{name}.except_icd10", advice)

    def flags(self) -> list[Flag]:
        """The red flags."""
        return [
            Flag(flag, self._source(flag.source, place), self._rule(flag.when, place))
            for place, flag in self._placed("flags", self._table.flags)
        ]

    def items(self) -> list[Item]:
        """The items."""
        return [
            Item(
                item,
                self._source(item.source, place),
                self._rule(item.when, place),
                tuple(
                    Against(self._rule(each.when, f"{place}.unless[{index}]"), each)
                    for index, each in enumerate(item.unless)
                ),
            )
            for place, item in self._placed("items", self._table.items)
        ]

    def unused(self, flags: Sequence[Flag], items: Sequence[Item]) -> Iterator[Fault]:
        """Faults of sources and groups that nothing uses: mostly a slip of the pen elsewhere."""
        cited = {flag.table.source for flag in flags} | {item.table.source for item in items}
        rules = [flag.rule for flag in flags] + [item.rule for item in items]
        rules += [each.rule for item in items for each in item.unless]
        asked = {
            test.group
            for rule in rules
            for clause in rule.clauses
            for test in clause
            if isinstance(test, InGroup)
        }
        for name in sorted(self._table.sources.keys() - cited):
            yield Fault(f"{self._file}: sources.{name}", INVALID, "nothing cites it: remove it")
        for name in sorted(self._table.groups.keys() - asked):
            yield Fault(f"{self._file}: groups.{name}", INVALID, "no rule asks for it: remove it")

    def misplaced(self, items: Sequence[Item]) -> Iterator[Fault]:
        """Faults of items that stand in place of others and are not decided before them."""
        order = [item.table.id for item in sorted(items, key=lambda item: item.table.priority)]
        for index, item in enumerate(items):
            earlier = order[: order.index(item.table.id)]
            for name in (name for each in item.table.unless for name in each.instead if name not in earlier):
                reason = (
                    f"no item {name!r} comes before this one: name one of a lower priority, or put it before"
                )
                yield Fault(f"{self._file}: items[{index}].unless", INVALID, reason)

    def unreachable(self, flags: Sequence[Flag], items: Sequence[Item]) -> Iterator[Fault]:
        """Faults of items and flags that nobody could be shown."""
        oldest = read_rule([f"age >= {self._table.minimum_age}"], ()) if self._table.minimum_age else Rule(())
        for index, flag in enumerate(flags):
            if witness(flag.rule, (), self._codes) is None:
                yield Fault(
                    f"{self._file}: flags[{index}].when",
                    UNREACHABLE,
                    "it contradicts itself: nobody has this flag",
                )
        for index, item in enumerate(items):
            against = [each.rule for each in item.unless]
            against += [flag.rule for flag in flags if item.table.category in flag.table.withholds]
            wanted = Rule((*oldest.clauses, *item.rule.clauses))
            if witness(wanted, against, self._codes) is None:
                reason = (
                    "nobody is ever shown it: `when` contradicts itself, `minimum_age`, `unless` or red flags"
                )
                yield Fault(f"{self._file}: items[{index}].when", UNREACHABLE, reason)

    @staticmethod
    def _placed(kind: str, tables: Iterable[TableT]) -> Iterator[tuple[str, TableT]]:
        return ((f"{kind}[{index}]", table) for index, table in enumerate(tables))

    def _rule(self, clauses: Clauses, place: str) -> Rule:
        try:
            return read_rule(clauses, self._table.groups)
        except ValueError as error:
            self._fault(f"{place}.when", str(error))
            return Rule(())

    def _source(self, name: str, place: str) -> SourceTable:
        found = self._table.sources.get(name)
        if found is None:
            self._fault(f"{place}.source", f"there is no source {name!r}: add [sources.{name}]")
            return next(iter(self._table.sources.values()), SourceTable.model_construct())
        return found

    def _fault(self, place: str, reason: str) -> None:
        self.faults.append(Fault(f"{self._file}: {place}", INVALID, reason))
