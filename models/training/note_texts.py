"""Dialogues and notes as words: the tokenizer, and which words of a dialogue people kept for the note."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.training.note_stops import label_rules, stop_rules
from models.training.spoken_numbers import ODD_NUMBER, ODD_SIGN, digit_rules

POINT: Final = "\u00b7"  # what the point of a decimal is read as
ODD: Final = "\u00a7"  # what a number is read as that is not plain, as `.25`, `-2.5` and `<3`
_WORDS: Final = (
    "do",
    "does",
    "did",
    "have",
    "has",
    "had",
    "is",
    "are",
    "was",
    "were",
    "ca",
    "could",
    "would",
    "should",
    "wo",
    "ai",
)
UNMARKED: Final = r"(?i)(?<=" + "|".join(r"\b" + each for each in _WORDS) + r")nt\b"
"""The end of `dont` and its like, whose apostrophe is missing."""
COMMON: Final = frozenset(
    re.findall(
        r"\S+",
        """
        a an the of to in is was were am i you he she it that this these those and or do did does have has had are be been
        with for on at as by from so we they me him them there if what how when where which who your my his her its our
        their not no yes any some very just really about like um uh okay ok oh well doctor patient s t m re ve d ll
        """,
    )
) | set(string.punctuation)
"""Words that say little by themselves: English function words, fillers, and names of speakers."""


def note_tokenizer(table: Mapping[str, Any]) -> dict[str, Any]:
    """A `tokenizer.json` of word pieces in small letters that reads numbers as `spoken_numbers` says, and writes sentences.

    Labels and stops are read as `note_stops` says. "Thirty two" and "thirty-two" are read as "32". The point of "7.5" is
    read as another mark than the end of a sentence, and a number that is not plain as a mark, of whose sentence nothing may
    be kept.
    """
    numbers = [_replace(pattern, content) for pattern, content in digit_rules()]
    capitals = [_replace(f"(?<=^|[.] ){letter}", letter.upper()) for letter in string.ascii_lowercase]
    marks = [_replace(f" ?{mark} ?", mark) for mark in ("-", "/", "'")]
    marks += [_replace(f" ?{POINT} ?", "."), _replace(r"\bi\b", "I"), _replace(r"(?<=\d) : (?=\d)", ":")]
    quotes = [_replace("[\u2018\u2019]", "'"), _replace(UNMARKED, "n't")]
    labels, stops = ([_replace(*each) for each in rules] for rules in (label_rules(), stop_rules(POINT)))
    odd = [_replace(pattern, f" {ODD} ") for pattern in (ODD_NUMBER, ODD_SIGN)]
    points = [_replace(r"(?<=\d)\.(?=\d)", POINT), _replace(r"(?<=\d),(?=\d{3})", "")]
    return {
        **table,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*quotes, *labels, *odd, *stops, *points, *numbers, table["normalizer"]],
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [table["decoder"], {"type": "Fuse"}, *marks, *capitals],
        },
    }


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def kept_by_people(tokenizer: Tokenizer, dialogue: str, note: str, most: int) -> NDArray[np.float32]:
    """1 for each of the first `most` tokens [L] of a dialogue whose word stands in its note, in the same order, 0 for others.

    A run of words that both have counts if one of them says something; such a word alone may be out of order, too.
    """
    tokens = tokenizer.encode(dialogue).tokens[:most]
    number = np.cumsum([not token.startswith("##") for token in tokens]) - 1
    words = _words(tokens)
    spoken = [f"\0{at}" if _names_speaker(words, at) else word for at, word in enumerate(words)]
    written = _words(tokenizer.encode(note, add_special_tokens=False).tokens)
    kept, found = np.zeros(len(words), np.float32), set[int]()
    for ours, theirs, count in SequenceMatcher(None, spoken, written, autojunk=False).get_matching_blocks():
        if not COMMON.issuperset(written[theirs : theirs + count]):
            kept[ours : ours + count] = 1
            found.update(range(theirs, theirs + count))
    for place, word in enumerate(written):
        if place not in found and word not in COMMON:
            others = [at for at, each in enumerate(spoken) if each == word and not kept[at]]
            kept[others[:1]] = 1
    by_token: NDArray[np.float32] = kept[number]
    return by_token


def _words(tokens: Sequence[str]) -> list[str]:
    words = list[str]()
    for token in tokens:
        if token.startswith("##") and words:
            words[-1] += token.removeprefix("##")
        else:
            words.append(token)
    return words


def _names_speaker(words: Sequence[str], at: int) -> bool:
    """Whether a word is of `doctor :`, `patient :` or `guest _ family :`."""
    parts = words[at : at + 4]
    return (
        words[at] in {"[CLS]", "[SEP]", ":"}
        or (words[at] in {"doctor", "patient"} and parts[1:2] == [":"])
        or (words[at] == "guest" and parts[1:2] == ["_"] and parts[3:] == [":"])
        or "_" in words[max(0, at - 1) : at + 1]
    )


def mean_interval(rows: Sequence[float], seed: int) -> list[float]:
    """A 95 % interval of the mean of `rows`, by bootstrap of 2,000 samples."""
    values, chance = np.asarray(rows, float), np.random.default_rng(seed)
    drawn = [values[chance.integers(0, len(values), len(values))].mean() for _ in range(2000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return [float(low), float(high)]
