"""Numbers as people say them: which words belong to them, and which a tokenizer reads as digits.

"One forty five over ninety" may be 145/90 or 1 45/90, and "one forty milligrams" 140 or 1 x 40: such numbers stay words. Read
as digits are whole numbers from 2 to 99 that no other number stands beside, and years. The tokenizer does it: words that are
single tokens tell `note_plans` which parts are to be kept together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from models.training.made_up import ONES, TENS

LARGE: Final = ("hundred", "hundreds", "thousand", "thousands", "million", "millions", "dozen")
FRACTIONS: Final = ("half", "halves", "third", "thirds", "quarter", "quarters", "eighth", "eighths")
ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
    "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip
MONTHS: Final = (
    "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
NUMERALS: Final = tuple(dict.fromkeys((*ONES, *TENS, *LARGE, *FRACTIONS, *ORDINALS, *MONTHS)))
JOINS: Final = (
    "to",
    "or",
    "and",
    "over",
    "by",
    "through",
    "plus",
    "minus",
    "past",
    "slash",
    "point",
    "oh",
    "o",
    "of",
    "x",
    "may",
)
"""Words that belong to a number where they stand between parts of it."""

_BESIDE: Final = "|".join((*ONES, *TENS, *LARGE, "point", "oh", "o"))
_BEHIND: Final = "|".join((_BESIDE, *FRACTIONS, *ORDINALS, "[0-9]+"))


_DIGITS: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?[A-Za-z]{0,8}%?"
_NAMED: Final = r"[A-Za-z]{1,12}[0-9]+[A-Za-z0-9]{0,8}(?:[-/][A-Za-z0-9]+)*|(?i:covid)-19"
_PLAIN: Final = rf"(?:{_DIGITS}(?:[-/:]{_DIGITS})*(?:-[A-Za-z]+)*|{_NAMED})(?:'s)?"
ODD_NUMBER: Final = rf"(?<!\S)(?![\"'(\[]*(?:{_PLAIN})[.,;:?!)\]\"']*(?!\S))\S*\p{{N}}[^\s.,;:?!]*"
"""What has a digit or another sign of a number and is not plain: with a sign, a relation, a point in front, a comma that is
not of thousands, a fraction in one sign, digits of another script. Plain are `7.5`, `1,000`, `120/80`, `10mg`, `2-3`, `B12`."""
ODD_SIGN: Final = r"(?<!\S)[^\s\w,.;:?!\"'()\[\]]+(?=\s+\S*\p{N})"
"""A sign by itself in front of a number: `< 3`."""


def digit_rules() -> list[tuple[str, str]]:
    """Patterns (Oniguruma) and what replaces them, in the order in which they apply.

    What may stand in front is looked at behind the words: a look-behind in front of them would be tried at each letter.
    """
    numbers = dict(_words())
    years = [
        *((f"two thousand(?: and)? {numbers[year]}", 2000 + year) for year in range(10, 30)),
        *((f"two thousand(?: and)? {numbers[year]}", 2000 + year) for year in range(1, 10)),
        *((f"nineteen {numbers[year]}", 1900 + year) for year in reversed(range(10, 100))),
        *((f"twenty {numbers[year]}", 2000 + year) for year in reversed(range(10, 30))),
    ]
    alone = [(numbers[number], number) for number in reversed(range(2, 100))]
    return [("(?i)\\bthirtieth\\b", "30th"), *(_rule(words, number) for words, number in (*years, *alone))]


def _rule(words: str, number: int) -> tuple[str, str]:
    words = words.replace(" ", "[ -]")
    before = rf"(?<!\b(?:{_BESIDE})[ -]{words})(?<![0-9][ -]{words})(?<!\b(?:hundred|thousand|million) and {words})"
    after = rf"(?![ -](?:{_BEHIND})\b(?!'))(?! and (?:an? )?(?:half|third|quarter|eighth|(?:two|three) (?:quarters|thirds))\b)"
    return rf"(?i)\b{words}\b{before}{after}", str(number)


def _words() -> Iterator[tuple[int, str]]:
    """The words of each number below 100."""
    for number, word in enumerate(ONES):
        yield number, word
    for tens, word in enumerate(TENS, 2):
        yield 10 * tens, word
        for ones in range(1, 10):
            yield 10 * tens + ones, f"{word} {ONES[ones]}"
