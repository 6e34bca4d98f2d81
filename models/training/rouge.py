"""How much of a text by a person a written text has: ROUGE (Lin 2004) as F1, over words in small letters, without stemming.

A word is a run of letters and digits of any script, and each Chinese character by itself.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import TypeVar

Part = TypeVar("Part", bound=Hashable)
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def words_of(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.lower())


def rouge_1(found: str, wanted: str) -> float:
    """F1 of the words that both have, counted; 0 where either has none."""
    return _f1(Counter(words_of(found)), Counter(words_of(wanted)))


def rouge_2(found: str, wanted: str) -> float:
    """The same of pairs of neighbouring words."""
    return _f1(Counter(pairwise(words_of(found))), Counter(pairwise(words_of(wanted))))


def rouge_l(found: str, wanted: str) -> float:
    """The same of the longest common subsequence of words."""
    ours, theirs = words_of(found), words_of(wanted)
    shared = _longest_common(ours, theirs)
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def _f1(ours: Counter[Part], theirs: Counter[Part]) -> float:
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(above, row[place - 1])
            before = above
    return row[-1]
