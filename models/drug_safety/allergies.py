"""Recorded allergies: to an ingredient, to a class, to another member of a class, to a class that may cross-react.

A text may list several ("PCN (rash), also SULFA"). What is in it that no table has is reported, and the rest is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from models.drug_safety.allergy_text import NAME, SET_APART, WORDS, asks, denied, foreign, listed, salts
from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Patient, Reason, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients, error_prone
from models.drug_safety.tables import Line, ReadFile, read_table
from models.drug_safety.words import LONGEST, key

CLASSES: Final = ("class", "aliases", "members", "if_class", "if_member", "condition", "source", "date")
CROSS: Final = ("recorded", "against", "level", "condition", "source", "date")
FILES: Final = ("allergy_classes.csv", "allergy_cross.csv")
_LONGEST_TEXT: Final = 10 * LONGEST
_NONE: Final = "no known allergies"  # the class of what says that there are none
_ONE: Final = "an allergy to an ingredient holds for everything that contains it"


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


@dataclass(frozen=True)
class _Read:
    """What a text, or a part of one, is against; what of it is `lost`; whether it names an allergen, or says there is none.

    `denied`: it plainly says that what it is against is no allergy. `cautions` are on names in it that are often misread.
    """

    against: _Against
    lost: tuple[str, ...] = ()
    named: bool = False
    none: bool = False
    denied: bool = False
    cautions: tuple[tuple[str, str], ...] = ()


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
        self._most_words = max(known.most_words, *(len(name.split(" ")) for name in self._names))
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

    def against(self, patient: Patient) -> dict[Ingredient, list[tuple[str, Against]]]:
        """What the patient's allergies are against, each with the text as recorded."""
        found: dict[Ingredient, list[tuple[str, Against]]] = {}
        for text in sorted(set(patient.allergies or ())):
            for ingredient, reasons in self._understood(text).against.items():
                found.setdefault(ingredient, []).extend((text, reason) for reason in reasons)
        return found

    def unchecked(self, patient: Patient) -> Iterator[Unchecked]:
        """Allergies that are not known, or not understood, and texts that deny others."""
        if patient.allergies is None:
            yield Unchecked(
                "", Kind.ALLERGY, Reason.ALLERGIES_UNKNOWN, "it is not known whether there are allergies"
            )
        texts = {text: self._understood(text) for text in sorted(set(patient.allergies or ()))}
        denied = any(each.against for each in texts.values())
        for text, each in texts.items():
            for part in each.lost:
                detail = "no table has this allergen, or this part of the text"
                yield Unchecked(part, Kind.ALLERGY, Reason.ALLERGY_NOT_UNDERSTOOD, detail)
            for name, caution in each.cautions:
                yield error_prone(text, name, caution, self._ingredients)
            if each.none and denied:
                detail = "it says that there are no allergies, beside others that were checked: correct one"
                yield Unchecked(text, Kind.ALLERGY, Reason.ALLERGY_NOT_UNDERSTOOD, detail)

    def _understand(self, text: str) -> _Read:
        """What a recorded text is against, and which parts of it are not understood."""
        if len(text) > _LONGEST_TEXT:
            return _Read({}, lost=(text,))
        plain, asking = key(text), asks(text)
        whole = self._ingredients.named(plain) if plain.isdigit() else ()
        if not foreign(text) and not asking and (whole or self._exact(plain) is not None):
            against = self._exact(plain) or _merged(map(self._by_ingredient, whole))
            cautions = tuple(self._cautions(plain).items())
            return _Read(against, none=self._none(plain), cautions=cautions)
        read = [(part, self._part(part)) for part in listed(text)]
        parts = dict(read)
        against = _merged(each.against for each in _holding([each for _, each in read], asking=asking))
        lost = [part for part, each in parts.items() if each.lost or (each.none and (against or asking))]
        named = any(each.named for each in parts.values())
        none = any(each.none for each in parts.values())
        if not lost and (not named or (none and any(not each.named for each in parts.values()))):
            lost = [text.strip() or text]  # words alone, such as a reaction
        found = {caution: None for each in parts.values() for caution in each.cautions}
        return _Read(against, tuple(lost), named, none and not against, cautions=tuple(found))

    def _part(self, part: str) -> _Read:
        """One part of a text: the names in it, the longest first, and whether words are left."""
        words = key(part).split()
        found: list[_Against] = []
        cautions: dict[str, str] = {}
        left: list[str] = []
        said: list[str] = []  # the whole part, with NAME for what it names
        none, place = False, 0
        while place < len(words):
            name = self._name_at(words, place)
            if name is None:
                left += [words[place]] if words[place] not in WORDS else []
                said.append(words[place])
                place += 1
                continue
            none |= self._none(name)
            said += name.split() if self._none(name) else [NAME]
            found.append(self._exact(name) or {})
            cautions |= self._cautions(name)
            place += len(name.split(" "))
            number = self._salts(words, place)
            left += words[place : place + number] if SET_APART.search(part) else []
            place += number
        if none and len(found) > 1:
            left.append(part)  # none, beside one
            none = False
        denial = denied(said)
        lost = (part,) if left or denial or foreign(part) else ()
        return _Read(_merged(found), lost, bool(found), none, denial, tuple(cautions.items()))

    def _name_at(self, words: list[str], place: int) -> str | None:
        """The longest name of an allergen that begins with this word."""
        for end in range(min(len(words), place + self._most_words), place, -1):
            if self._exact(name := " ".join(words[place:end])) is not None:
                return name
        return None

    def _salts(self, words: list[str], place: int) -> int:
        """How many words from here say which salt: "sodium phosphate" does, "magnesium sulfate" is another drug."""
        number = salts(words[place:])
        name = self._name_at(words, place) or ""
        return 0 if " " in name and not name.startswith("sodium ") else number

    def _exact(self, plain: str) -> _Against | None:
        """What the allergen with this key is against; None if it is not known."""
        if (named := self._names.get(plain)) is not None:
            return self._by_class(named)
        if ingredients := self._ingredients.exact(plain):
            return _merged(map(self._by_ingredient, ingredients))
        return None

    def _cautions(self, plain: str) -> dict[str, str]:
        return {} if plain in self._names else self._ingredients.cautions(plain)

    def _none(self, plain: str) -> bool:
        named = self._names.get(plain)
        return named is not None and key(named.line["class"]) == _NONE

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


def findings(
    drug: str, ingredients: Iterable[Ingredient], against: dict[Ingredient, list[tuple[str, Against]]]
) -> Iterator[Finding]:
    """The allergies against a drug, one finding for each recorded text: the most serious."""
    worst: dict[str, Against] = {}
    for ingredient in ingredients:
        for text, reason in against.get(ingredient, ()):
            if text not in worst or _order(reason) < _order(worst[text]):
                worst[text] = reason
    for text, reason in worst.items():
        why = (
            "the same ingredient"
            if reason.kind is Kind.ALLERGY
            else "the same class, or one that may cross-react"
        )
        yield Finding(
            drug,
            reason.kind,
            reason.level,
            text,
            reason.condition,
            why,
            reason.rule,
            reason.source,
            reason.date,
        )


def _holding(parts: list[_Read], *, asking: bool) -> Iterator[_Read]:
    """The parts whose allergies count: "tolerates penicillin (hives)" and "not allergic to it?" deny nothing beyond doubt."""
    for place, each in enumerate(parts):
        after = parts[place + 1] if place + 1 < len(parts) else None
        if asking or not each.denied or (after is not None and not after.named):
            yield each


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
