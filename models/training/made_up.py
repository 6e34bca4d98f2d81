"""What a written text says and its source does not: numbers and drugs.

What is counted is a lower bound of what is made up: findings, negations and who is meant are not compared.
"""

import csv
import re
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

from models.training.rouge import words_of

TABLE: Final = Path(__file__).resolve().parents[1] / "drug_safety" / "tables" / "ingredients.csv"
# fmt: off
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
VALUES = {word: value for value, word in enumerate(ONES)} | {
    word: 10 * value for value, word in enumerate(TENS, 2)
}
_YEAR: Final = re.compile(
    rf"\b(nineteen|twenty|two thousand(?: and)?) ({'|'.join(VALUES)})\b(?: ({'|'.join(ONES[1:10])})\b)?"
)


def numbers_of(text: str) -> set[str]:
    """The numbers of a text, in digits: those up to 99 and years also where they are written in words."""
    found, words = set[str](), re.findall(r"[a-z]+|\d+", text.lower())
    for word, behind in zip_longest(words, words[1:], fillvalue=""):
        if word.isdecimal():
            found.add(str(int(word)))
        elif word in VALUES:
            found.add(str(VALUES[word]))
            if VALUES[word] >= 20 and 0 < VALUES.get(behind, 0) < 10:
                found.add(str(VALUES[word] + VALUES[behind]))
    return found | _years(" ".join(words))


def _years(text: str) -> set[str]:
    """Years in words: `nineteen eighty four`, `twenty twelve`, `two thousand and eight`."""
    found = set[str]()
    for century, tens, ones in _YEAR.findall(text):
        year = VALUES[tens] + (VALUES.get(ones, 0) if VALUES[tens] >= 20 else 0)
        if year >= 10 or century.startswith("two"):  # not twenty six
            found.add(str({"nineteen": 1900}.get(century, 2000) + year))
    return found


@cache
def drug_names() -> frozenset[str]:
    """The names of drugs of one word of five letters or more that the drug safety rule knows."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        names = {
            name.strip().lower()
            for row in csv.DictReader(file)
            for name in (row["ingredient"], *row["aliases"].split(";"))
        }
    return frozenset(name for name in names if re.fullmatch("[a-z]{5,}", name))


def drugs_of(text: str) -> set[str]:
    """The drugs that a text names, by `drug_names`."""
    return drug_names() & set(words_of(text))
