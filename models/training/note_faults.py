"""Statements of a note that its dialogue does not make: denials that were lost, and denials that were added.

A check of texts alone, by patterns, which shares nothing with the rules that make the notes. A note is read as sentences, and
these as parts at a `but`; a part denies if it has a word of denial or reversal (`no`, `didn't`, `stopped`, `if`). The words of
a part that say something must stand together in one statement of the dialogue that denies as the part does:

- a sentence, or its part at a `but`, which denies if it has such a word; a `No,` that begins it is an answer, and is not of it;
- the last question of a turn, which is denied if the next turn begins with a plain `no`, and affirmed if it begins with `yes`;
- a question of `what`, `when` and the like, whose words are taken for said.

Numbers are not compared, nor words that say little. Who is meant, and what follows from several sentences, is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from models.training.made_up import VALUES
from models.training.note_texts import COMMON

_FIRST = r"^(?:(?:oh|well|um+|uh|okay|ok|so|and|or|also|ah|now|then)\b[, ]*)*"
_NO = "(?:no|nope|nah)"
_WHO = "(?:i|you|he|she|it|we|they|there)"
DENIAL = re.compile(
    r"\b(?:no|not|never|none|nothing|nobody|neither|nor|without|nope|nah|cannot|negative|unable|den(?:y|ies|ied|ying)|lack\w*"
    r"|absen\w+|\w+n't|stop\w*|quit(?:s|ting)?|avoid\w*|discontinu\w+|refus\w+|declin\w+|hardly|rarely|if|unless|except|until)\b"
)
ANSWER = re.compile(rf"{_FIRST}{_NO}\b(?=[,.!]|$| (?:{_WHO}|sir|doctor|ma'am)\b)[,.! ]*")
NO = re.compile(
    rf"{_FIRST}(?:(?:{_NO}|never|none|negative)\b(?=[,.!?]|$| (?:{_WHO}|sir|doctor|ma'am|no|never|none|not|that)\b)"
    rf"|not (?:at all|that|to my)|{_WHO} (?:\w+n't|\w+ not|(?:\w+ )?never)\b)"
)
YES = re.compile(
    rf"{_FIRST}(?:(?:yes|yeah|yep|yup|yea|correct|right|absolutely|definitely|exactly|sure)\b"
    rf"|{_WHO} (?:do|does|did|have|has|had|am|is|are|was|were|can|could|will|would)\b[.,!])"
)
UNCLEAR = re.compile(
    r"\b(?:but|just|only|except|mean|actually|sometimes|maybe|idea|clue|problem|know|remember|sure|really|used to)\b"
)
ASKS = re.compile(rf"{_FIRST}(?:what|which|when|where|who|whose|why|how)\b(?! about)")
NUMERIC = frozenset(VALUES) | {"hundred", "thousand", "million", "point"}


class Faults(NamedTuple):
    """Parts of a note: those that deny, those that say what the dialogue denies or leaves open, and those that deny what it
    does not deny. The texts are of the note."""

    denials: list[str]
    lost: list[str]
    added: list[str]


class _Statement(NamedTuple):
    words: frozenset[str]
    denied: bool


def faults_of(dialogue: str, note: str) -> Faults:
    """What is wrong in a note."""
    said = list(_statements(dialogue))
    found = Faults([], [], [])
    for sentence in re.split(r"(?<!\d)[.](?:\s|$)|[.](?=\s|$)", note.lower()):
        for part in _parts(sentence):
            denies, words = DENIAL.search(part) is not None, _content(part)
            if denies:
                found.denials.append(part)
            if words and not any(words <= each.words and each.denied is denies for each in said):
                (found.added if denies else found.lost).append(part)
    return found


def _statements(dialogue: str) -> Iterator[_Statement]:
    turns = [each for each in map(_spoken, dialogue.lower().replace("\u2019", "'").splitlines()) if each]
    for turn, answer in zip(turns, [*turns[1:], ""], strict=True):
        sentences = [each for each in re.split(r"(?<=[.?!])\s+", turn) if each.strip(" .?!")]
        for at, sentence in enumerate(sentences):
            if not sentence.endswith("?"):
                for part in _parts(ANSWER.sub("", sentence)):
                    yield _Statement(_content(part), DENIAL.search(part) is not None)
            elif at == len(sentences) - 1 and not DENIAL.search(sentence):
                plain = not UNCLEAR.search(re.sub(r"\bthat i know\b", "", answer))
                if ASKS.match(sentence):
                    yield _Statement(_content(sentence), denied=False)
                elif NO.match(answer) and plain:
                    yield _Statement(_content(sentence), denied=True)
                elif YES.match(answer):
                    yield _Statement(_content(sentence), denied=False)


def _spoken(line: str) -> str:
    return re.sub(r"^\s*(?:doctor|patient|guest_\w+)\s*:\s*", "", line).strip()


def _parts(sentence: str) -> list[str]:
    return [each.strip() for each in re.split(r"\bbut\b", sentence) if each.strip()]


def _content(text: str) -> frozenset[str]:
    words = re.findall(r"[a-z]+", re.sub(r"'\w*", " ", DENIAL.sub(" ", text)))
    return frozenset(words) - COMMON - NUMERIC
