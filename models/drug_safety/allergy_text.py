"""How allergies are written: what separates them, and the words around the names of allergens.

No text is dropped without a word: what is no name of an allergen and none of the words here is not understood.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from models.drug_safety.words import FORMS, SALTS, key

_BETWEEN: Final = re.compile(
    r"[,;/&+|()\[\]{}<>\n\r\t\u2022\u2028\u3001\u3002\uff08\uff09\uff0c\uff1b]"
    r"|\b(?:and|or|also|plus|but|however|besides|except(?:ing)?(?: for)?|other than)\b",
    re.IGNORECASE,
)
# What may set a salt apart from the name before it: "PCN - potassium" may be two allergens.
SET_APART: Final = re.compile(r":|\s[-\u2013\u2014]\s")
# What names no allergen and changes nothing.
_AROUND: Final = """
    a allergen allergens allergic allergies allergy an as at by cause caused causes causing developed develops drug drugs et
    experienced from gave get gets gives got had has have he her his history hx in is listed medication medications medicine
    medicines of on patient possible pt reaction reactions reported reports sensitive sensitivity severe mild moderate she
    states suspected the to unspecified was with w
"""
_REACTIONS: Final = """
    abdominal anaphylactic anaphylactoid anaphylaxis angioedema arrhythmia bleeding blisters breath breathing bronchospasm
    bruising chills confusion constipation convulsion convulsions cough cramps delirium dermatitis diarrhea difficulty dizziness
    dizzy dyspnea edema eruption face facial fever flushing gi hallucination hallucinations headache headaches hive hives
    hypotension intolerance intolerant itch itching itchy johnson lip lips myalgia myalgias myopathy n nausea necrolysis pain
    palpitations pruritis pruritus rash rashes red redness respiratory seizure seizures shock shortness sjs skin sob stevens
    stomach swelling swollen sweating syncope syndrome ten throat tightness tongue unknown upset urticaria v vomiting weakness
    welts wheeze wheezing
"""
WORDS: Final = frozenset([*_AROUND.split(), *_REACTIONS.split()])
# What denies an allergy beyond doubt, in a part of a text that says nothing else; NAME stands for each allergen.
NAME: Final = "*"
_NAMES: Final = r"\*(?: \*)*"
_ALLERGY: Final = "(?:allergy|allergies|sensitivity|reaction|reactions)"
_DENIED: Final = re.compile(
    r"(?:the )?(?:(?:patient|pt|he|she) )?(?:"
    rf"(?:has |had |with )?no (?:known )?(?:history of |hx of )?(?:drug )?{_ALLERGY} (?:to|with) {_NAMES}"
    rf"|(?:has |had |with )?no (?:known )?{_NAMES} {_ALLERGY}"
    rf"|(?:is |was )?not allergic to {_NAMES}"
    rf"|(?:denies|denied) (?:any )?(?:{_ALLERGY} to {_NAMES}|{_NAMES} {_ALLERGY})"
    rf"|(?:tolerates|tolerated) {_NAMES}(?: well)?"
    r")"
)


def denied(words: list[str]) -> bool:
    """Whether the words, with NAME in place of allergens, plainly deny an allergy to these. Doubt is no denial."""
    return _DENIED.fullmatch(" ".join(words)) is not None


def asks(text: str) -> bool:
    """Whether a text has a question mark of any script: what it seems to deny is then not known."""
    return any("QUESTION MARK" in unicodedata.name(each, "") for each in text)


def listed(text: str) -> list[str]:
    """The parts of a text: what stands between commas and the like, in brackets, or after "and", "also", "but"."""
    return [part for each in _BETWEEN.split(text) if (part := each.strip())]


def foreign(text: str) -> bool:
    """Whether letters, digits or pictures of the text are lost in its key, as those of other scripts are."""
    plain = unicodedata.normalize("NFKD", text)
    return any(
        not each.isascii() and (unicodedata.category(each)[0] in "LN" or unicodedata.category(each) == "So")
        for each in plain
        if not key(each)
    )


def salts(words: list[str]) -> int:
    """How many of these words, which follow the name of an ingredient, say which salt or form of it."""
    return next(
        (number for number, word in enumerate(words) if word not in SALTS and word not in FORMS), len(words)
    )
