"""Recorded allergies: to an ingredient, to a class, to another member of a class, to a class that may cross-react.

A text may list several ("PCN (rash), also SULFA"). What is in it that no table has is reported, and the rest is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from models.drug_safety.allergy_reading import Allergens, Read, read_allergy
from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Reason, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients, error_prone
from models.drug_safety.known import CodedAllergy, Known
from models.drug_safety.near_names import NearNames
from models.drug_safety.tables import Line, ReadFile, read_table
from models.drug_safety.words import is_token, key, rxnorm_alone

CLASSES: Final = ("class", "aliases", "members", "if_class", "if_member", "condition", "source", "date")
CROSS: Final = ("recorded", "against", "level", "condition", "source", "date")
FILES: Final = ("allergy_classes.csv", "allergy_cross.csv")
_NONE: Final = "no known allergies"  # the class of what says that there are none
_ONE: Final = "an allergy to an ingredient holds for everything that contains it"
_DOUBTED: Final = (
    "it was counted as an allergy, though something in it denies or asks: correct the text if it is none"
)
_DENIED: Final = "it denies this allergy, and was not counted"
_BOTH: Final = "it says that there are no allergies, beside others that were checked: correct one"


@dataclass(frozen=True)
class Against:
    """Why an allergy is against an ingredient."""

    kind: Kind
    level: Level
    condition: str
    rule: str
    source: str
    date: str


_Against = dict[Ingredient, tuple[Against, ...]]
# What the recorded allergies are against, each with the text as recorded, or the code that stands for it.
Recorded = dict[Ingredient, list[tuple[str, Against]]]


@dataclass(frozen=True)
class _Class:
    line: Line
    members: tuple[Ingredient, ...]
    if_class: Level | None
    if_member: Level | None

    def against(self, level: Level | None, kind: Kind, but: Ingredient | None = None) -> _Against:
        """What an allergy of the class is against, at this level."""
        if level is None:
            return {}
        words = self.line["condition"], self.line["class"], self.line["source"], self.line["date"]
        return {each: (Against(kind, level, *words),) for each in self.members if each is not but}


class Allergies:
    """The classes of allergens, and what an allergy to each is against."""

    def __init__(
        self, classes: Iterable[_Class], cross: Iterable[tuple[str, _Class]], known: Ingredients
    ) -> None:
        self._ingredients = known
        self._classes = {key(each.line["class"]): each for each in classes}
        self._names = {
            key(name): each
            for each in self._classes.values()
            for name in [each.line["class"], *each.line.listed("aliases")]
        }
        most_words = max(known.most_words, *(len(name.split(" ")) for name in self._names))
        self._allergens = Allergens(self._is_name, self._says_none, most_words)
        self._cross: dict[str, list[_Class]] = {}
        for recorded, each in cross:
            self._cross.setdefault(recorded, []).append(each)
        # Texts recur from patient to patient; no more than some are kept.
        self._understood = lru_cache(maxsize=2048)(self._understand)

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Allergies:
        """Read both tables. Raises TableUnusable."""
        lines = read_table(read, f"{folder}/allergy_classes.csv", CLASSES, ["class"])
        classes: dict[str, _Class] = {}
        names: dict[str, str] = {}
        for line in lines:
            for name in [line["class"], *line.listed("aliases")]:
                if names.setdefault(key(name), line["class"]) != line["class"] or not key(name):
                    raise line.refused(f"another row has the name {name!r}: a name means one class")
            if key(line["class"]) in classes:
                raise line.refused("the class is listed before: merge both rows")
            classes[key(line["class"])] = _class(line, ingredients)
        cross = []
        for line in read_table(read, f"{folder}/allergy_cross.csv", CROSS, ["recorded", "against", "level"]):
            if key(line["recorded"]) not in classes:
                raise line.refused(f"allergy_classes.csv has no class {line['recorded']!r}")
            rule = f"{line['recorded']} with other classes"
            crossing = Line(line.path, line.number, {**line.cells, "class": rule})
            members = tuple(ingredients.member(line, each) for each in line.listed("against"))
            cross.append((key(line["recorded"]), _Class(crossing, members, None, line.word("level", Level))))
        return cls(classes.values(), cross, ingredients)

    def against(self, known: Known) -> Recorded:
        """What the patient's allergies are against, each with the text as recorded, or the code that stands for it."""
        found: Recorded = {}
        recorded = sorted({(text, text) for text in known.patient.allergies or ()})
        for shown, text in [
            *recorded,
            *((f"{each.code} ({each.allergen})", each.allergen) for each in self._lacked(known)),
        ]:
            for ingredient, reasons in self._understood(text)[1].items():
                found.setdefault(ingredient, []).extend((shown, reason) for reason in reasons)
        return found

    def _lacked(self, known: Known) -> Iterator[CodedAllergy]:
        """The allergies by code whose class no recorded text names, nor a member of it."""
        names = {name for text in known.patient.allergies or () for name in self._understood(text)[0].names}
        for each in known.allergies:
            named = self._classes[key(each.allergen)]
            if not any(
                self._names.get(name) is named
                or not {*named.members}.isdisjoint(self._ingredients.exact(name))
                for name in names
            ):
                yield each

    def unchecked(self, known: Known) -> Iterator[Unchecked]:
        """Allergies that are not known, or not understood, and what of the texts denies an allergy or is in doubt."""
        patient = known.patient
        for coded in self._lacked(known):
            detail = (
                f"the allergies lack {coded.allergen}, which were counted by this code: correct one of them"
            )
            yield Unchecked(coded.code, Kind.ALLERGY, Reason.ALLERGY_BY_CODE, detail)
        if patient.allergies is None:
            yield Unchecked(
                "", Kind.ALLERGY, Reason.ALLERGIES_UNKNOWN, "it is not known whether there are allergies"
            )
        texts = {text: self._understood(text)[0] for text in sorted(set(patient.allergies or ()))}
        counted = any(self._understood(text)[1] for text in texts)
        for text, each in texts.items():
            for part in each.lost:
                near = self._near.question(part)
                detail = f"no table has this allergen, or this part of the text{near}"
                yield Unchecked(part, Kind.ALLERGY, Reason.ALLERGY_NOT_UNDERSTOOD, detail)
            for part in each.doubted:
                yield Unchecked(part, Kind.ALLERGY, Reason.ALLERGY_DOUBTED, _DOUBTED)
            for part in each.denied:
                yield Unchecked(part, Kind.ALLERGY, Reason.ALLERGY_DENIED, _DENIED)
            for name, caution in self._cautions(each):
                yield error_prone(text, name, caution, self._ingredients)
            if each.none and counted:
                yield Unchecked(text, Kind.ALLERGY, Reason.ALLERGY_DOUBTED, _BOTH)

    @cached_property
    def _near(self) -> NearNames:
        return NearNames([*self._names, *self._ingredients.names])

    def _understand(self, text: str) -> tuple[Read, _Against]:
        """What a recorded text says, and what it is against."""
        plain = key(text)
        if is_token(text):
            code = rxnorm_alone(text)
            coded = () if code == text else self._ingredients.named(code)
            return Read(lost=() if coded else (text,)), _merged(map(self._by_ingredient, coded))
        if plain.isdigit() and (coded := self._ingredients.named(plain)):
            return Read(), _merged(map(self._by_ingredient, coded))
        read = read_allergy(text, self._allergens)
        return read, _merged(self._exact(each) for each in read.names)

    def _is_name(self, plain: str) -> bool:
        return plain in self._names or bool(self._ingredients.exact(plain))

    def _says_none(self, plain: str) -> bool:
        named = self._names.get(plain)
        return named is not None and key(named.line["class"]) == _NONE

    def _exact(self, plain: str) -> _Against:
        """What the allergen with this key is against; nothing if it is not known."""
        if (named := self._names.get(plain)) is not None:
            return self._by_class(named)
        return _merged(map(self._by_ingredient, self._ingredients.exact(plain)))

    def _cautions(self, read: Read) -> Iterator[tuple[str, str]]:
        """What is to be said of names that are often misread."""
        for name in read.names:
            if name not in self._names:
                yield from self._ingredients.cautions(name).items()

    def _by_class(self, named: _Class) -> _Against:
        crossing = self._cross.get(key(named.line["class"]), [])
        return _merged(
            [
                named.against(named.if_class, Kind.ALLERGY_CLASS),
                *(each.against(each.if_member, Kind.ALLERGY_CLASS) for each in crossing),
            ]
        )

    def _by_ingredient(self, ingredient: Ingredient) -> _Against:
        itself = Against(Kind.ALLERGY, Level.CONTRAINDICATED, "", ingredient.name, _ONE, "2026")
        found: list[_Against] = [{ingredient: (itself,)}]
        for name, each in self._classes.items():
            if ingredient in each.members:
                found.append(each.against(each.if_member, Kind.ALLERGY_CLASS, but=ingredient))
                if each.if_member is not None:
                    crossing = self._cross.get(name, [])
                    found.extend(
                        other.against(other.if_member, Kind.ALLERGY_CLASS, ingredient) for other in crossing
                    )
        return _merged(found)


def findings(drug: str, ingredients: Iterable[Ingredient], against: Recorded) -> Iterator[Finding]:
    """The allergies against a drug: the most serious reason of each recorded text, and each reason once."""
    worst: dict[str, Against] = {}
    for ingredient in ingredients:
        for text, reason in against.get(ingredient, ()):
            if text not in worst or _order(reason) < _order(worst[text]):
                worst[text] = reason
    texts: dict[Against, list[str]] = {}
    for text, reason in worst.items():
        texts.setdefault(reason, []).append(text)
    for reason, recorded in texts.items():
        same = reason.kind is Kind.ALLERGY
        why = "the same ingredient" if same else "the same class, or one that may cross-react"
        words = reason.condition, why, reason.rule, reason.source, reason.date
        yield Finding(drug, reason.kind, reason.level, "; ".join(recorded), *words)


def _class(line: Line, ingredients: Ingredients) -> _Class:
    members = tuple(ingredients.member(line, each) for each in line.listed("members"))
    if members and not line["if_class"]:
        raise line.refused("fill in if_class")
    levels = [line.word(column, Level) if line[column] else None for column in ("if_class", "if_member")]
    return _Class(line, members, *levels)


def _merged(found: Iterable[_Against]) -> _Against:
    merged: _Against = {}
    for each in found:
        for ingredient, reasons in each.items():
            merged[ingredient] = (*merged.get(ingredient, ()), *reasons)
    return merged


def _order(reason: Against) -> tuple[int, str, str]:
    return SEVERITY[reason.level], reason.kind, reason.rule
