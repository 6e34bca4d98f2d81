"""Names that are spelled like one that no table has: a suggestion for people, of which nothing is checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from models.drug_safety.words import key

_SHORTEST: Final = 5  # letters: shorter words are near to too many names
_MOST_WORDS: Final = 6  # of a text, from its beginning
_LETTERS: Final = 2  # that a name may be longer or shorter
_ALIKE: Final = 0.8  # ratio of difflib, from which on a name is near


class NearNames:
    """The names, by their first letters."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._by_letter: dict[str, list[str]] = {}
        for name in sorted(self._names):
            self._by_letter.setdefault(name[:1], []).append(name)

    def question(self, text: str) -> str:
        """ "; did you mean ...?" with a near name for each word of the text that is no name itself; "" if none is near."""
        words = [each for each in key(text).split() if len(each) >= _SHORTEST and each not in self._names]
        near = dict.fromkeys(found for each in words[:_MOST_WORDS] for found in self._near(each))
        return f"; did you mean {' or '.join(near)}?" if near else ""

    def _near(self, word: str) -> list[str]:
        alike = [each for each in self._by_letter.get(word[0], ()) if abs(len(each) - len(word)) <= _LETTERS]
        return difflib.get_close_matches(word, alike, 1, _ALIKE)
