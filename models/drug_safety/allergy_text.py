"""How allergies are written: what separates them, the words around the names of allergens, and what plainly denies one.

English, with common French. No text is dropped without a word: what is no name of an allergen and none of the words here is
not understood.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from models.drug_safety.words import FORMS, SALTS, key

_HARD: Final = (
    r"[;|()\[\]{}<>\n\r\t\u2022\u2028\u3002\uff08\uff09\uff0c\uff1b]"
    r"|\b(?:also|plus|but|however|besides|except(?:ing)?(?: for)?|other than)\b"
)
_CLAUSES: Final = re.compile(_HARD + r"|(?<=[a-z]{3})\.\s", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"{_HARD}|[,/&+\u3001]|\b(?:and|or|nor|ou|et|ni)\b", re.IGNORECASE)
# What may set a salt apart from the name before it: "PCN - potassium" may be two allergens.
SET_APART: Final = re.compile(r":|\s[-\u2013\u2014]\s")
# What names no allergen and changes nothing.
_AROUND: Final = """
    a allergen allergens allergic allergies allergy an as at by cause caused causes causing developed develops drug drugs et
    experienced from gave get gets gives got had has have he her his history hx in is listed medication medications medicine
    medicines of on patient possible pt reaction reactions reported reports sensitive sensitivity severe mild moderate she
    states suspected the to unspecified was with w allergie allergique allergiques au aux la le les l de des du d connue connues
"""
_REACTIONS: Final = """
    abdominal anaphylactic anaphylactoid anaphylaxis angioedema arrhythmia bleeding blisters breath breathing bronchospasm
    bruising chills confusion constipation convulsion convulsions cough cramps delirium dermatitis diarrhea difficulty dizziness
    dizzy dyspnea edema eruption face facial fever flushing gi hallucination hallucinations headache headaches hive hives
    hypotension intolerance intolerant itch itching itchy johnson lip lips myalgia myalgias myopathy n nausea necrolysis pain
    palpitations pruritis pruritus rash rashes red redness respiratory seizure seizures shock shortness sjs skin sob stevens
    stomach swelling swollen sweating syncope syndrome ten throat tightness tongue unknown upset urticaria urticaire v vomiting
    weakness welts wheeze wheezing
"""
WORDS: Final = frozenset([*_AROUND.split(), *_REACTIONS.split()])
# What denies something, if only in part, or speaks of another person: an allergy beside one of these is told to be in doubt.
_DENYING: Final = """
    no not non never none without denies denied cannot nor neither tolerates tolerated pas sans aucune aucun absence nie
    ruled excluded family familial mother father brother sister son daughter mere pere frere soeur famille
"""
DENYING: Final = frozenset(_DENYING.split())

# What denies an allergy beyond doubt, in a clause that says nothing else; NAME stands for each allergen.
NAME: Final = "*"
COMMA: Final = ","
_OR: Final = "(?:or|nor|and|ou|et|ni)(?: to| a| au| aux| a la| a l| la| l)?"
# "A or B and C", or "A, B or C". "A B" and "A, B" are not plain: what stands behind may be an allergy of its own.
_NAMES: Final = rf"(?:\*(?: {_OR} \*)*|\*(?: , \*)+(?: ,)? {_OR} \*)"
_ALLERGY: Final = (
    "(?:drug )?(?:allergic )?(?:allergy|allergies|sensitivity|hypersensitivity|reaction|reactions)"
)
_HISTORY_OF: Final = re.compile(r"\bh/o\b", re.IGNORECASE)
_HISTORY: Final = "(?:(?:prior |previous |past |known )*(?:history|hx) (?:of )?(?:an |any )?)?"
_DENIED: Final = re.compile(
    r"(?:the )?(?:(?:patient|pt|he|she) )?(?:"
    rf"(?:has |had |with )?no (?:known )?{_HISTORY}(?:known )?(?:{_ALLERGY} (?:to|with) {_NAMES}|{_NAMES} {_ALLERGY})"
    rf"|(?:is |was )?not allergic to {_NAMES}"
    rf"|(?:denies|denied) (?:any )?{_HISTORY}(?:known )?(?:{_ALLERGY} to {_NAMES}|{_NAMES} {_ALLERGY})"
    rf"|(?:tolerates|tolerated) {_NAMES}(?: well)?"
    rf"|{_NAMES} {_ALLERGY} (?:is |was |has been )?(?:ruled out|excluded)"
    r")"
)
_TO: Final = "(?:a|au|aux)(?: la| l)?"
_FRENCH: Final = re.compile(
    r"(?:n a |il n y a |elle n a |il n a )?(?:pas|aucune|absence|sans|nie)(?: d| de| une| toute)? allergies?(?: connues?)?"
    rf" {_TO} {_NAMES}"
    rf"|(?:n est |il n est |elle n est )?(?:pas|non) allergique {_TO} {_NAMES}"
)


def denied(words: list[str]) -> bool:
    """Whether the words, with NAME in place of allergens, plainly deny an allergy to these. Doubt is no denial."""
    said = " ".join(words)
    return _DENIED.fullmatch(said) is not None or _FRENCH.fullmatch(said) is not None


def asks(text: str) -> bool:
    """Whether a text has a question mark of any script: what it seems to deny is then not known."""
    return any("QUESTION MARK" in unicodedata.name(each, "") for each in text)


def clauses(text: str) -> list[str]:
    """The clauses of a text: what stands between semicolons, brackets, full stops, or "but", "also" and the like."""
    return _stripped(_CLAUSES.split(text))


def listed(clause: str) -> list[str]:
    """The parts of a clause: what stands between commas and the like, or "and", "or"."""
    return _stripped(_BETWEEN.split(clause))


def clause_words(clause: str) -> list[str]:
    """The words of a clause, with COMMA for each comma and "or" for each slash."""
    spelled = _HISTORY_OF.sub("hx", clause).replace("/", " or ").replace("&", " and ").replace("\u3001", ",")
    return f" {COMMA} ".join(map(key, spelled.split(","))).split()


def salts(words: list[str]) -> int:
    """How many of these words, which follow the name of an ingredient, say which salt or form of it."""
    return next(
        (number for number, word in enumerate(words) if word not in SALTS and word not in FORMS), len(words)
    )


def _stripped(parts: list[str]) -> list[str]:
    return [part for each in parts if (part := each.strip())]
