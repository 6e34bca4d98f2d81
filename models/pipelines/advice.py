"""`advice`: conditions, vitals, habits, symptoms and medicines of an adult in; advice out, each piece with its source.

Nothing is learnt: the rules of a written catalogue (see advice_catalogue) are applied as they stand, and no graph runs. An
item is shown if its rule holds and no contraindication does. Whatever depends on an absent value is not shown and says which
value it needs; no value is taken for normal. Red flags come first, and withhold the categories that they name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypedDict

from pydantic import Field

from models import units
from models.manifest import ManifestTable
from models.pipelines.advice_catalogue import Against, Catalogue, Flag, Item, Language, SourceTable
from models.pipelines.advice_contradictions import ambiguous, contradicted
from models.pipelines.advice_decisions import Shown, sort_out
from models.pipelines.advice_patient import (
    CONDITIONS,
    FIELDS,
    Person,
    bare_code,
    check_person,
    says_nothing,
)
from models.pipelines.advice_results import (
    AdviceItem,
    AdviceResult,
    CareAdvice,
    Reason,
    UncheckedFlag,
    Undetermined,
    Withheld,
)
from models.pipelines.advice_rules import Compares, Facts, InGroup, Rule, Test
from models.pipelines.contract import GraphSpec, ReadFile, Run
from models.pipelines.pregnancy import cannot_be_pregnant
from models.pipelines.recommendation_types import Unknown
from models.pipelines.side_files import SideFile
from models.pipelines.typed import TypedCase, TypedOptions, TypedPipeline

URGENCIES: Final = ("emergency", "urgent", "soon")
NOTHING_KNOWN: Final = {
    "en": "nothing but age, sex or pregnancy is known: send conditions, vitals or habits",
    "zh": "除年龄、性别或妊娠外一无所知:请提供疾病、体征或生活习惯",
}
TOO_YOUNG: Final = {
    "en": "the catalogue holds advice for people of {age} years or older",
    "zh": "本目录仅适用于 {age} 岁及以上者",
}
FLAGGED: Final = {"en": "first: {words}", "zh": "首先:{words}"}


class AdviceParameters(ManifestTable):
    """The `[parameters]` table of an advice manifest."""

    catalogue: SideFile = "catalogue.toml"


class AdviceOptions(TypedOptions):
    """The language of all texts."""

    language: Annotated[Language, Field(description="of all texts: English or Chinese")] = "en"


class _Cited(TypedDict):
    source: str
    url: str
    year: int


class Advice(TypedPipeline[AdviceParameters, Person, AdviceResult, AdviceOptions]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:
        """Read and check the catalogue. Raises BundleRefused."""
        self.catalogue = Catalogue.read(read(self.parameters.catalogue), self.parameters.catalogue)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """None: written rules answer."""
        return {}

    def check(self, value: Person) -> None:
        """Refuse values that contradict each other."""
        check_person(value)

    def open_bundle(self, folder: Path) -> Adviser:  # noqa: ARG002 - the intake half has read the catalogue
        """See TypedPipeline."""
        return Adviser(self.catalogue)


class Adviser:
    """Applies a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def score(self, run: Run, cases: Sequence[TypedCase[Person, AdviceOptions]]) -> list[AdviceResult]:  # noqa: ARG002 - no graph
        """See TypedScoring."""
        return [self.advise(case.input, case.options.language) for case in cases]

    def advise(self, person: Person, language: Language) -> AdviceResult:
        """What the catalogue says to one person."""
        table, facts = self._catalogue.table, facts_of(self._catalogue, person)
        words = _Words(self._catalogue, facts, language)
        flags = [flag for flag in self._catalogue.flags if flag.rule.holds(facts)]
        reason, codes = self._abstains(person, language), _codes(person)
        unknown = [code for code in codes if not self._catalogue.groups_of(code)]
        sorted_out = sort_out(() if reason else self._catalogue.items, flags, facts)
        return AdviceResult(
            seek_care=[words.care(flag) for flag in sorted(flags, key=_urgency)],
            items=[words.item(rank, each) for rank, each in enumerate(sorted_out.shown, 1)],
            withheld=[told for each in sorted_out.withheld for told in words.withheld(*each)],
            undetermined=[
                Undetermined(id=item.table.id, category=item.table.category, missing=missing)
                for item, missing in sorted_out.undetermined
            ],
            unchecked_flags=[
                UncheckedFlag(id=flag.table.id, missing=flag.rule.missing(facts))
                for flag in self._catalogue.flags
                if flag.rule.holds(facts) is None
            ],
            unchecked=[
                *contradicted(person, codes, language),
                *ambiguous([code for code in codes if code not in unknown], language),
            ],
            unknown=[Unknown(field=CONDITIONS, code=code) for code in unknown],
            language=language,
            catalogue_date=table.date,
            reviewed_by=table.reviewed_by,
            abstained=reason is not None,
            abstain_reason=reason,
        )

    def _abstains(self, person: Person, language: Language) -> str | None:
        if says_nothing(person):
            return NOTHING_KNOWN[language]
        least = self._catalogue.table.minimum_age
        return TOO_YOUNG[language].format(age=least) if person.age < least else None


def facts_of(catalogue: Catalogue, person: Person) -> Facts:
    """What is known of a person. Whoever cannot be pregnant is not; every other absent value stays unknown."""
    values = {name: getattr(person, name) for name in FIELDS}
    if person.pregnant is None and cannot_be_pregnant(person.sex, person.age):
        values["pregnant"] = False
    groups: dict[str, tuple[str, ...]] = {}
    for code in _codes(person):
        for name in catalogue.groups_of(code):
            groups[name] = (*groups.get(name, ()), code)
    return Facts(values, groups)


def _urgency(flag: Flag) -> int:
    return URGENCIES.index(flag.table.urgency)


class _Words:
    """Reasons and red flags in one language."""

    def __init__(self, catalogue: Catalogue, facts: Facts, language: Language) -> None:
        self._groups = catalogue.table.groups
        self._facts = facts
        self._language = language

    def reasons(self, rule: Rule) -> list[Reason]:
        """What of the input makes a rule hold."""
        found = [reason for test in rule.reasons(self._facts) for reason in self._reasons(test)]
        return list({(reason.field, reason.value): reason for reason in found}.values())

    def _reasons(self, test: Test) -> Iterator[Reason]:
        if isinstance(test, InGroup):
            display = self._groups[test.group].within(self._language)
            for code in self._facts.groups[test.group]:
                yield Reason(field=CONDITIONS, value=code, display=display)
        else:
            field = test.field
            value = self._facts.values[field.name] if isinstance(test, Compares) else test.value
            written = (
                f"{value:g}{units.after(field.unit)}" if isinstance(value, float) else str(value).lower()
            )
            yield Reason(field=field.name, value=written, display=field.titles[self._language])

    def care(self, flag: Flag) -> CareAdvice:
        """A red flag."""
        return CareAdvice(
            id=flag.table.id,
            urgency=flag.table.urgency,
            text=flag.table.within(self._language),
            because=self.reasons(flag.rule),
            **_cited(flag.source),
        )

    def item(self, rank: int, shown: Shown) -> AdviceItem:
        """Advice that is shown."""
        table = shown.item.table
        return AdviceItem(
            rank=rank,
            id=table.id,
            category=table.category,
            text=table.within(self._language),
            because=self.reasons(shown.item.rule),
            grade=table.grade,
            unchecked=list(shown.unchecked),
            **_cited(shown.item.source),
        )

    def withheld(self, item: Item, flags: Sequence[Flag], against: Sequence[Against]) -> Iterator[Withheld]:
        """Every reason for which advice that fits is not shown."""
        told = [
            (flag.rule, FLAGGED[self._language].format(words=flag.table.within(self._language)))
            for flag in flags
        ]
        told += [(each.rule, each.table.within(self._language)) for each in against]
        for rule, reason in told:
            because = self.reasons(rule)
            yield Withheld(id=item.table.id, category=item.table.category, reason=reason, because=because)


def _cited(source: SourceTable) -> _Cited:
    return {"source": f"{source.publisher}: {source.name}", "url": source.url, "year": source.year}


def _codes(person: Person) -> list[str]:
    """The conditions in one order and spelling, each once."""
    return [
        code
        for _, code in sorted({bare_code(code): code.upper() for code in sorted(person.conditions)}.items())
    ]


load = Advice.load
