"""Names of drugs as orders write them: "metoprolol succ er 50 mg tablet", "10 ml vial: insulin glargine 100 unit/ml sc soln".

A name is taken only if all the rest is understood: one word beside the names that is not of order_words.py ("hold", "no",
"HCT"), and the order means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from models.drug_safety.order_words import (
    AMOUNTS,
    BEHIND_A_STRENGTH,
    EVERY,
    FOR,
    LOCAL,
    PHRASES,
    REASONS,
    UNITS,
    WORDS,
)
from models.drug_safety.words import FORMS, SALTS, key

_LONGEST_PHRASE: Final = 2
_SHORTEST_NAME: Final = 4  # letters: shorter words may mean much else where the rest is not understood
_STRENGTH: Final = re.compile(r"(\d+)([a-z]*)")
_SMALL: Final = 4  # a number up to this one that says no unit may be part of a name, as in "Tylenol 3"
_QUESTION: Final = re.compile("[?\uff1f\u00bf]")
_NOTHING: Final = re.compile(
    rf"(?<![\d.,])0+(?:[.,]0+)?\s*-?(?:{'|'.join(sorted(AMOUNTS))})(?![a-z0-9])", re.IGNORECASE
)
_ELEMENTS: Final = re.compile(r"\b(?:iod|gallium|strontium)")  # a number behind one may be that of an isotope


class Order(NamedTuple):
    """What an order names, as keys, and whether a word in it says that the drug is given locally, as an ointment is."""

    names: tuple[str, ...]
    local: bool


def read_order(text: str, is_name: Callable[[str], bool], most_words: int) -> Order | None:
    """The names in an order; None if it has none, or something that is neither a name nor understood.

    `is_name` tells whether a key is a name, of at most `most_words` words.
    """
    words = key(text.replace("%", " percent ").replace("#", " number ")).split()
    return _Reading(words, is_name, most_words).order()


def doubted(text: str) -> str:
    """What in the text leaves in doubt that the drug is given: a question mark, or a strength of 0; "" if nothing does."""
    if _QUESTION.search(text):
        return "a question mark"
    return "a strength of 0" if _NOTHING.search(text) else ""


def names_in(text: str, is_name: Callable[[str], bool], most_words: int) -> list[str]:
    """The names in a text of which something else is not understood, for people to look at; words of orders are none."""
    words, found, place = key(text).split(), list[str](), 0
    while place < len(words):
        longest = min(most_words, len(words) - place)
        ahead = (" ".join(words[place : place + number]) for number in range(longest, 0, -1))
        name = next((each for each in ahead if len(each) >= _SHORTEST_NAME and is_name(each)), "")
        if name and name not in WORDS | SALTS | FORMS:
            found.append(name)
        place += max(1, len(name.split()))
    return list(dict.fromkeys(found))


class _Reading:
    """Reads the words of one order from the left."""

    def __init__(self, words: list[str], is_name: Callable[[str], bool], most_words: int) -> None:
        self._words = words
        self._is_name = is_name
        self._most_words = most_words
        self._names: list[str] = []
        self._place = 0
        self._strength = self._reason = False

    def order(self) -> Order | None:
        """See read_order."""
        while self._place < len(self._words):
            if not (number := self._name() or self._phrase() or self._number() or self._word()):
                return None
            self._place += number
        return Order(tuple(self._names), not LOCAL.isdisjoint(self._words)) if self._names else None

    def _name(self) -> int:
        """How many words from here are a name, the longest one, and the salts behind it; 0 if none."""
        if not (number := self._longest_name(self._place)) or self._phrase():
            return 0
        self._names.append(" ".join(self._words[self._place : self._place + number]))
        after = self._place + number
        while after < len(self._words) and self._words[after] in SALTS | FORMS and not self._another(after):
            after += 1
        return after - self._place

    def _another(self, start: int) -> bool:
        """Whether a salt is another drug: "potassium chloride" is, "sodium phosphate" is the salt of the one before it."""
        return self._words[start] != "sodium" and self._longest_name(start) > 1

    def _longest_name(self, start: int) -> int:
        longest = min(self._most_words, len(self._words) - start)
        return next(
            (n for n in range(longest, 0, -1) if self._is_name(" ".join(self._words[start : start + n]))), 0
        )

    def _phrase(self) -> int:
        ahead = " ".join(self._words[self._place : self._place + _LONGEST_PHRASE])
        return _LONGEST_PHRASE if ahead in PHRASES else 0

    def _number(self) -> int:
        """How many words from here are numbers and the unit behind them: "0 4 mg", "5 325mg"; 0 if they may be of a name."""
        place, unit, numbers = self._place, "", 0
        while not unit and place < len(self._words) and (found := _STRENGTH.fullmatch(self._words[place])):
            number, unit = found.groups()
            if unit and unit not in UNITS and unit != "x" and not (unit == "d" and self._lasts()):
                return 0
            numbers, place = numbers + 1, place + 1
        if not numbers:
            return 0
        following = self._words[place] if place < len(self._words) else ""
        if following == "d" and self._lasts():
            return place + 1 - self._place
        if unit in UNITS or following in UNITS:
            self._strength = True
        elif numbers == 1 and self._doubtful(int(number), following):
            return 0
        return place - self._place

    def _lasts(self) -> bool:
        """Whether the number from here says for how long: "x 10 d"."""
        return self._strength and self._place > 0 and self._words[self._place - 1] in {"x", "for"}

    def _doubtful(self, number: int, following: str) -> bool:
        """Whether a single number without a unit may be part of a name."""
        element = any(_ELEMENTS.search(name) for name in self._names)
        return element or (number <= _SMALL and not self._strength and following not in WORDS)

    def _word(self) -> int:
        word = self._words[self._place]
        self._reason |= word in FOR
        known = word in WORDS or EVERY.fullmatch(word) is not None
        known |= self._strength and word in BEHIND_A_STRENGTH
        return int(known or (self._reason and word in REASONS))
