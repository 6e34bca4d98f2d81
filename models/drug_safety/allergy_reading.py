"""Reads one recorded allergy: the names in it that count, and what of it denies, is in doubt, or is not understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NamedTuple

from models.drug_safety.allergy_text import (
    DENYING,
    NAME,
    SET_APART,
    WORDS,
    asks,
    clause_words,
    clauses,
    denied,
    listed,
    salts,
)
from models.drug_safety.chinese import in_english, is_chinese, negative_in_words
from models.drug_safety.words import LONGEST, foreign, key

LONGEST_TEXT: Final = 10 * LONGEST
_LOST, _DOUBTED, _DENIED = "lost", "doubted", "denied"


class Allergens(NamedTuple):
    """What names an allergen, and what says that there is none, by keys. A name has at most `most_words` words."""

    is_name: Callable[[str], bool]
    says_none: Callable[[str], bool]
    most_words: int


@dataclass(frozen=True)
class Read:
    """What a text says. `names` are keys of what counts as an allergy; `none`: it says that there are no allergies.

    `lost`, `doubted` and `denied` are parts of the text as given: not understood; counted, though something in them denies or
    asks; and plain denials, which do not count.
    """

    names: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    none: bool = False


class _Part(NamedTuple):
    text: str
    names: tuple[str, ...] = ()
    none: bool = False  # it says that there are no allergies
    denies: bool = False  # plainly those that it names
    lost: bool = False  # some word of it is not understood

    @property
    def has_denying_word(self) -> bool:
        return not DENYING.isdisjoint(key(self.text).split())


def read_allergy(text: str, allergens: Allergens) -> Read:
    """Read a recorded text.

    Of one in Chinese, or with a minus sign, the parts that are not understood, denied or in doubt are the whole text.
    """
    if len(text) > LONGEST_TEXT:
        return Read(lost=(text,))
    worded = negative_in_words(text)
    if not is_chinese(text) and worded == text:
        return _read(text, allergens)
    read = _read(in_english(worded), allergens)
    lost, doubted, denied_ones = ((text,) if each else () for each in (read.lost, read.doubted, read.denied))
    return Read(read.names, lost, doubted, denied_ones, read.none)


def _read(text: str, allergens: Allergens) -> Read:
    plain, asking = key(text), asks(text)
    if allergens.is_name(plain) and not asking and not foreign(text):
        none = allergens.says_none(plain)
        return Read(() if none else (plain,), none=none)
    parts = [part for clause in clauses(text) for part in _clause(clause, allergens)]
    followed = zip_longest(parts, parts[1:])
    told = [(each, _telling(each, after, asking=asking)) for each, after in followed]
    names = tuple(
        dict.fromkeys(name for each, telling in told if telling is not _DENIED for name in each.names)
    )
    found: dict[str, dict[str, None]] = {_LOST: {}, _DOUBTED: {}, _DENIED: {}}
    for each, telling in told:
        if telling or (each.none and names):
            found[telling or _DOUBTED][each.text] = None
    silent = [each for each in parts if not each.names and not each.none]
    if not any(found.values()) and (
        len(silent) == len(parts) or (silent and any(each.none for each in parts))
    ):
        found[_LOST][text.strip() or text] = None  # words alone, such as a reaction
    none = any(each.none for each in parts) and not names
    return Read(names, tuple(found[_LOST]), tuple(found[_DOUBTED]), tuple(found[_DENIED]), none)


def _telling(part: _Part, after: _Part | None, *, asking: bool) -> str:
    """What is reported of a part. A question denies nothing, nor does a part before a reaction: "tolerates it (hives)"."""
    reaction = after is not None and not after.names and not after.none
    if part.denies and not asking and not reaction:
        return _DENIED
    if part.names and (part.denies or asking or (part.lost and part.has_denying_word)):
        return _DOUBTED
    return _LOST if part.lost or (part.none and asking) else ""


def _clause(clause: str, allergens: Allergens) -> list[_Part]:
    """A clause as one denial, or its parts."""
    names, said, _ = _named(clause_words(clause), allergens)
    if names and denied(said) and not foreign(clause):
        return [_Part(clause, tuple(names), denies=True)]
    return [_part(each, allergens) for each in listed(clause)]


def _part(part: str, allergens: Allergens) -> _Part:
    names, said, apart = _named(key(part).split(), allergens)
    if names and denied(said) and not foreign(part):
        return _Part(part, tuple(names), denies=True)
    none = [each for each in names if allergens.says_none(each)]
    around = WORDS.union((NAME,), *(each.split() for each in none))
    left = [each for each in said if each not in around]
    if SET_APART.search(part):
        left += apart
    others = tuple(each for each in names if each not in none)
    lost = bool(left) or foreign(part) or (bool(none) and len(names) > 1)
    return _Part(part, others, bool(none) and not others, lost=lost)


def _named(words: list[str], allergens: Allergens) -> tuple[list[str], list[str], list[str]]:
    """The names in the words, the longest first; the words with NAME in place of each; and the salts behind names."""
    names: list[str] = []
    said: list[str] = []
    apart: list[str] = []
    place = 0
    while place < len(words):
        name = _name_at(words, place, allergens)
        if not name:
            said.append(words[place])
            place += 1
            continue
        names.append(name)
        said += name.split() if allergens.says_none(name) else [NAME]
        place += len(name.split())
        number = _salts(words, place, allergens)
        apart += words[place : place + number]
        place += number
    return names, said, apart


def _name_at(words: list[str], place: int, allergens: Allergens) -> str:
    """The longest name of an allergen that begins with this word; "" if none does."""
    ends = range(min(len(words), place + allergens.most_words), place, -1)
    return next((name for end in ends if allergens.is_name(name := " ".join(words[place:end]))), "")


def _salts(words: list[str], place: int, allergens: Allergens) -> int:
    """How many words from here say which salt: "sodium phosphate" does, "magnesium sulfate" is another drug."""
    name = _name_at(words, place, allergens)
    return 0 if " " in name and not name.startswith("sodium ") else salts(words[place:])
