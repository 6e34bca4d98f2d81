"""Names as the tables are asked for them: lower case, without accents, punctuation, and, if need be, without salts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 300  # characters: a longer text is the name of no drug
_LIGATURES: Final = str.maketrans({"œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae", "ß": "ss"})
_BETWEEN: Final = re.compile(r"[^a-z0-9]+")
_JOINED: Final = (
    re.compile(r"\s*[/+;&,|]\s*|\s+(?:and|with|et|w)\s+", re.IGNORECASE),
    re.compile(r"\s*[-/+;&,|]\s*"),
)
# What may follow the name of an ingredient without changing which it is.
_SALTS: Final = """
    acetate besilate besylate bitartrate bromide calcium chloride citrate cypionate decanoate dihydrate dihydrochloride
    disodium enanthate fumarate gluconate hbr hcl hydrobromide hydrochloride lactate magnesium malate maleate mesilate
    mesylate monohydrate nitrate oxalate phos phosphate potassium sod sodium succ succinate sulf sulfate sulphate tartrate
    tosylate trihydrate tromethamine valerate
"""
SALTS: Final = frozenset(_SALTS.split())


def key(text: str) -> str:
    """The words of a name, in lower case and without accents, joined by single spaces; empty if it has none."""
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text.translate(_LIGATURES))
        folded = "".join(each for each in decomposed if not unicodedata.combining(each)).lower()
    return _BETWEEN.sub(" ", folded).strip()


def without_salts(name: str) -> Iterator[str]:
    """The key with ever more of the salts that end it removed: "losartan potassium" gives "losartan"."""
    words = name.split(" ")
    while len(words) > 1 and words[-1] in SALTS:
        words.pop()
        yield " ".join(words)


def parts(text: str) -> Iterator[list[str]]:
    """How the text may list several ingredients: separated by / + ; & and the like, then by hyphens, too."""
    for separator in _JOINED:
        found = [part for part in separator.split(text) if part.strip()]
        if len(found) > 1:
            yield found
