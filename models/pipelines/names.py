"""Which names are nearly alike: what was probably meant by a name that a model does not know.

Two names are near when they differ in case, accents, spaces, hyphens, underscores or the order of their words, or by a
slip of the pen: one edit (a letter more, less, other, or two swapped), or two where every word is near by itself. Digits and
words of one letter must be the same, so that `lab_1` and `lab_2`, or `left_x` and `left_y`, are different names.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

WORD: Final = re.compile(r"[^\W_]+")
DIGITS: Final = re.compile(r"\d+")
LONGEST: Final = 200
# Past so many pairs of names only those that fold to the same are found: a slip of the pen is looked for in each pair.
PAIRS: Final = 250_000


def folded(name: str) -> str:
    """A name without case, accents and whatever is neither letter nor digit."""
    return "".join(_words(name))


def are_near(one: str, other: str) -> bool:
    """Whether two names may be meant for each other. See the module."""
    if max(len(one), len(other)) > LONGEST:
        return False
    return _are_near(_words(one), _words(other))


def near_names(wanted: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    """Those of the `wanted` names, in order, that one of the `given` is near to, and that one."""
    split = {name: _words(name) for name in given if len(name) <= LONGEST}
    known: dict[object, str] = {}
    for name, words in split.items():
        for form in _forms(words):
            known.setdefault(form, name)
    wanted = list(wanted)
    closely = len(wanted) * len(split) <= PAIRS
    near = {}
    for name in wanted:
        words = _words(name)
        found = next((known[form] for form in _forms(words) if form in known), None)
        if found is None and closely:
            found = next((other for other, parts in split.items() if _are_near(words, parts)), None)
        if found is not None:
            near[name] = found
    return near


def _words(name: str) -> tuple[str, ...]:
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )
    return tuple(WORD.findall(DIGITS.sub(_without_zeros, plain.casefold())))


def _without_zeros(digits: re.Match[str]) -> str:
    return digits[0].lstrip("0") or "0"


def _forms(words: tuple[str, ...]) -> Iterator[object]:
    """What equals that of another name which differs in nothing that counts."""
    if words:
        yield "".join(words)
        yield tuple(sorted(words))


def _are_near(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return False
    if not set(_forms(one)).isdisjoint(_forms(other)):
        return True
    text, meant = "".join(one), "".join(other)
    if abs(len(text) - len(meant)) > 2 or _exact(one) != _exact(other):
        return False
    if min(len(text), len(meant)) < 5:
        return _is_slip(text, meant)
    edits = _edits(text, meant)
    if edits == 2:
        return len(one) == len(other) and all(map(_is_slip, one, other))
    return edits <= 1


def _exact(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What must be the same in both names."""
    numbers = [found for word in words for found in DIGITS.findall(word)]
    return numbers, sorted(word for word in words if len(word) == 1)


def _is_slip(word: str, meant: str) -> bool:
    """Whether one word is a slip for the other. `age` is none for `page`: in short ones letters may only be swapped."""
    edits, shortest = _edits(word, meant), min(len(word), len(meant))
    if shortest < 5:
        return edits == 0 or (edits == 1 and sorted(word) == sorted(meant))
    return edits <= (1 if shortest < 8 else 2)


def _edits(one: str, other: str) -> int:
    """Letters that are more, less, other or swapped with the next; 3 for more than two (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        last, before, row = before, row, [index]
        for place, meant in enumerate(other, 1):
            cost = min(before[place] + 1, row[-1] + 1, before[place - 1] + (letter != meant))
            if index > 1 and place > 1 and letter == other[place - 2] and one[index - 2] == meant:
                cost = min(cost, last[place - 2] + 1)
            row.append(cost)
        if min(row) > 2:
            return 3
    return min(row[-1], 3)
