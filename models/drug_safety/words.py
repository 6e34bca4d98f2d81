"""Names as the tables are asked for them: lower case, without accents, punctuation, and, if need be, salts and forms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 300  # characters: a longer text is the name of no drug
# What stands before a bar and a code of RxNorm, as FHIR writes tokens: the URI, and the object identifier of the HL7 registry.
_RXNORM: Final = re.compile(
    r"\s*(?:http://www\.nlm\.nih\.gov/research/umls/rxnorm|(?:urn:oid:)?2\.16\.840\.1\.113883\.6\.88)\s*\|\s*([0-9]+)\s*"
)
_TOKEN: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:\S+|[0-9]+(?:\.[0-9]+){3,})\s*\|[^|]*", re.IGNORECASE)
_MARKS: Final = "\u00ae\u2122"  # of registered names and of trade marks
_LIGATURES: Final = str.maketrans(
    {
        "œ": "oe",
        "Œ": "oe",
        "æ": "ae",
        "Æ": "ae",
        "ß": "ss",
        "\u00b5": "u",
        "\u03bc": "u",
        **dict.fromkeys(_MARKS, " "),
    }
)
_BETWEEN: Final = re.compile(r"[^a-z0-9]+")
_JOINED: Final = (
    re.compile(r"\s*[/+;&,|]\s*|\s+(?:and|with|et|w)\s+", re.IGNORECASE),
    re.compile(r"\s*[-/+;&,|]\s*"),
)
# What may follow the name of an ingredient without changing which it is.
_SALTS: Final = """
    acetate acetonide anhydrous axetil besilate besylate bisulfate bitartrate bromide calcium camsylate chloride cilexetil
    citrate cypionate decanoate dihydrate dihydrochloride dipropionate disodium disoproxil edisylate enanthate estolate
    ethylsuccinate fumarate furoate gluconate hbr hcl hemihydrate hippurate hyclate hydrobromide hydrochloride lactate
    lactobionate magnesium malate maleate medoxomil mesilate mesylate mofetil monohydrate na nitrate oxalate palmitate pamoate
    phos phosphate pivoxil potassium propionate proxetil saccharate sod sodium stearate succ succinate sulf sulfate sulphate
    tartrate tosylate trihydrate tromethamine valerate xinafoate
"""
SALTS: Final = frozenset(_SALTS.split())
# How a product releases its drug, or how strong it is: "Bactrim DS". Not HCT, D, DM, PM, AC or VK, which name an ingredient.
_FORMS: Final = "cc cd cr ds ec er ir la lar lp mr odt retard sr ss xl xr xt"
FORMS: Final = frozenset(_FORMS.split())
_DOTTED: Final = re.compile(
    r"(?<![a-z0-9.])(?:[a-z]\.){2,}(?:[a-z](?![a-z0-9]))?|(?<![a-z0-9.])[a-z]\.[a-z](?![a-z0-9.])"
)


def key(text: str) -> str:
    """The words of a name, in lower case and without accents, joined by single spaces; empty if it has none.

    Abbreviations lose their dots: "A.S.A." gives "asa".
    """
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text.translate(_LIGATURES))
        folded = "".join(each for each in decomposed if not unicodedata.combining(each)).lower()
    if "." in folded:
        folded = _DOTTED.sub(lambda found: found[0].replace(".", ""), folded)
    return _BETWEEN.sub(" ", folded).strip()


def rxnorm_alone(text: str) -> str:
    """A code of RxNorm behind its URI or object identifier as "rxnorm:CODE"; any other text as it is."""
    found = _RXNORM.fullmatch(text)
    return f"rxnorm:{found[1]}" if found else text


def is_token(text: str) -> bool:
    """Whether a text is one code behind the URI or the object identifier of a system."""
    return _TOKEN.fullmatch(text) is not None


def foreign(text: str) -> bool:
    """Whether letters, digits or pictures of the text are lost in its key, as those of other scripts are."""
    plain = unicodedata.normalize("NFKD", text)
    return any(
        not each.isascii() and (unicodedata.category(each)[0] in "LN" or unicodedata.category(each) == "So")
        for each in plain
        if each not in _MARKS and not key(each)
    )


def without_salts(name: str) -> Iterator[str]:
    """The key with ever more of the salts and forms that end it removed: "losartan potassium" gives "losartan"."""
    words = name.split(" ")
    while len(words) > 1 and (words[-1] in SALTS or words[-1] in FORMS):
        words.pop()
        yield " ".join(words)


def parts(text: str) -> Iterator[list[str]]:
    """How the text may list several ingredients: separated by / + ; & and the like, then by hyphens, too."""
    for separator in _JOINED:
        found = [part for part in separator.split(text) if part.strip()]
        if len(found) > 1:
            yield found
