"""Statements of a note that its dialogue does not make: denials that were lost or added, cut sentences, those of others.

A check of texts alone, by patterns, which shares nothing with the rules that make the notes. A note is read as sentences, and
these as parts at a `but`; a part denies if it has a word of denial or reversal (`no`, `didn't`, `stopped`, `if`). The words of
a part that say something must stand together in one statement of the dialogue that denies as the part does:

- a sentence, or its part at a `but`, which denies if it has such a word; a `No,` that begins it is an answer, and is not of it;
- the last question of a turn, which is denied if the next turn begins with a plain `no`, and affirmed if it begins with `yes`;
- a question of `what`, `when` and the like, whose words are taken for said.

A list of such words sees those that it has alone (`skip`, `off the table`). So of a part that names a drug, or one of some
diseases, all words of its statement are asked for that say something: without one of them it is **cut**, whatever that word
is. A part is **of others** if all statements that have its words are about `he` or `she`, or answer a question about them or a
relative, and it names nobody itself.

Numbers are not compared, nor words that say little. What follows from several sentences is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from models.training.made_up import VALUES, drug_names
from models.training.note_texts import COMMON

_FIRST = r"^(?:(?:oh|well|um+|uh|okay|ok|so|and|or|also|ah|now|then)\b[, ]*)*"
_NO = "(?:no|nope|nah)"
_WHO = "(?:i|you|he|she|it|we|they|there)"
DENIAL = re.compile(
    r"\b(?:no|not|never|none|nothing|nobody|neither|nor|without|nope|nah|cannot|negative|unable|den(?:y|ies|ied|ying)|lack\w*"
    r"|absen\w+|\w+n't|stop\w*|quit(?:s|ting)?|avoid\w*|discontinu\w+|refus\w+|declin\w+|hardly|rarely|if|unless|except|until"
    r"|skip\w*|omit\w*|ceas(?:e|ed|ing)|forgo|forgot|forget|remov\w+|eliminat\w+|rid of|off the table|myth|clear of"
    r"|done with|dangerous|tolerat\w+|(?:leave|left|throw|threw) (?:off|out)|(?:came|come|went|go|take|took) off|ran out)\b"
)
DISEASES = (
    "stroke", "migraine", "epilepsy", "seizure", "seizures", "asthma", "cancer", "diabetes", "pneumonia", "depression",
    "anemia", "allergy",
)  # fmt: skip
NAMED = drug_names() | set(DISEASES)
"""Drugs and some diseases, whose sentences are looked at whole."""
THIRD = re.compile(
    r"\b(?:he|she|him|his|her|mother|mom|father|dad|parents?|brothers?|sisters?|siblings?|aunts?|uncles?|cousins?|sons?"
    r"|daughters?|wife|husband|grand\w+|family|partner|friends?|nephew|niece|boyfriend|girlfriend)\b"
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
POINTS = re.compile(r"\b(?:them|these|those|that|this|it)\b|^(?:\S+ ){0,2}\S+$")
"""Of the closing question of a turn: it asks for what was stated in front of it."""
OTHERWISE = re.compile(
    r"\b(?:new to me|news to me|mix\w*|some(?:body|one) else\w*|another (?:person|patient)\w*|not mine|belong\w*|wrong|whose"
    r"|mistake\w*|confus(?:es|ing)|swapped|kidding|joking|no|not|never|none|neither|\w+n't)\b"
)
"""Of a turn behind a statement: it may deny that in other words."""
BACK = re.compile(
    rf"{_FIRST}(?:{_NO}(?:[,.!]|$| {_WHO}\b)|(?:wait|sorry|oops|scratch)\b|i mean\b|(?:just )?(?:kidding|joking)\b|actually\b)"
    r"|\b(?:none|neither|never|not|\w+n't)\b.*\b(?:those|these|them|filled it|(?:have|had|took|take) (?:it|that))\W*$"
    r"|\b(?:none|neither|any) of (?:those|these|them)\b|^(?:that|those|these)\b.*\bnot\b"
    r"|\b(?:mixed|confus(?:es|ing)|mistake\w*|kidding|joking|belongs?|some(?:body|one) else|according)\b"
    rf"|^(?:that|those|these|it)(?:'s|'re)?\b.*{THIRD.pattern}"
)
"""Of a sentence: it takes back what stands in front of it."""
LISTED = re.compile(r"\b(?:none|not|never|neither|\w+n't)\b.*\b(?:following|these|those|them)\b")
SUBJECT = re.compile(rf"\b(?:{_WHO}|my|that|this|is|are|was|were|has|have|had|do|does|did)\b")
ANOTHER = re.compile(
    r"\b(?:patient|person|man|woman|lady|gentleman|boy|girl|one) (?:next|in|beside|across|before|over|down|upstairs|who)\b"
    r"|\b(?:some(?:body|one) else|another (?:patient|person))\b"
)
"""Of a sentence: it is about another patient."""
YOU = re.compile(r"\byou\b.*\b(?:never|not|\w+n't)\b")
"""Of a statement: a `yes` may affirm or contradict it."""
OPENING = re.compile(r"^.*?\b(?:any|ever)\b")
ASKS = re.compile(rf"{_FIRST}(?:what|which|when|where|who|whose|why|how)\b(?! about)")
NUMERIC = frozenset(VALUES) | {"hundred", "thousand", "million", "point"}


class Faults(NamedTuple):
    """Parts of a note: those that deny, those that say what the dialogue denies or leaves open, and those that deny what it
    does not deny; those cut, and of others. The texts are of the note."""

    denials: list[str]
    lost: list[str]
    added: list[str]
    cut: list[str]
    of_others: list[str]


class _Statement(NamedTuple):
    words: frozenset[str]
    denied: bool
    third: bool  # about somebody else than the patient
    needed: frozenset[str] = frozenset()  # words that a part with its drug or disease has


def faults_of(dialogue: str, note: str) -> Faults:
    """What is wrong in a note."""
    said = list(_statements(dialogue))
    found = Faults([], [], [], [], [])
    for sentence in re.split(r"(?<!\d)[.](?:\s|$)|[.](?=\s|$)", note.lower()):
        for part in _parts(sentence):
            denies, words = DENIAL.search(part) is not None, _content(part)
            if denies:
                found.denials.append(part)
            having = [each for each in said if words <= each.words and each.denied is denies]
            if words and not having:
                (found.added if denies else found.lost).append(part)
            elif words & NAMED and not any(each.needed <= words for each in having):
                found.cut.append(part)
            if words and having and all(each.third for each in having) and not THIRD.search(part):
                found.of_others.append(part)
    return found


def _statements(dialogue: str) -> Iterator[_Statement]:
    lines = [each for each in dialogue.lower().replace("\u2019", "'").splitlines() if _spoken(each)]
    asked_of_others = False
    for before, line, answer in zip(["", *lines[:-1]], lines, [*lines[1:], ""], strict=True):
        open_ones = _left_open(line, answer)
        by_guest = any(each.strip().startswith("guest_") for each in (before, line, answer))
        sentences = _sentences(line)
        of_others, asked_of_others = asked_of_others, False
        for at, sentence in enumerate(sentences):
            third = of_others or (not by_guest and THIRD.search(sentence) is not None)
            if sentence.endswith("?"):
                asked_of_others = third
                if at == len(sentences) - 1:
                    yield from _asked(sentence, _spoken(answer), third)
            elif at not in open_ones:
                for part in _parts(ANSWER.sub("", sentence)):
                    words = _content(part)
                    yield _Statement(words, DENIAL.search(part) is not None, third, words)


def _left_open(line: str, answer: str) -> set[int]:
    """Which sentences of a turn nobody may take for said: they are denied, taken back or of another patient."""
    sentences, said = _sentences(line), _spoken(answer)
    found = {at for at, each in enumerate(sentences) if ANOTHER.search(each)}
    back = [at for at, each in enumerate(sentences) if BACK.search(each)]
    found |= set(range(max(back, default=0))) - set(back)
    listed = False
    for at, each in enumerate(sentences):
        listed = LISTED.search(each) is not None or (listed and not SUBJECT.search(each))
        found |= {at} if listed and not DENIAL.search(each) else set()
    if answer.strip().startswith("patient") and not line.strip().startswith("patient"):
        last = sentences[-1] if sentences else ""
        if not last.endswith("?"):
            refused = OTHERWISE.search(said) is not None
        else:
            refused = NO.match(said) is not None and POINTS.search(last) is not None
        agreed = YES.match(said) is not None
        found |= {at for at, each in enumerate(sentences) if refused or (agreed and YOU.search(each))}
    return found


def _sentences(line: str) -> list[str]:
    return [each for each in re.split(r"(?<=[.?!])\s+", _spoken(line)) if each.strip(" .?!")]


def _asked(sentence: str, answer: str, third: bool) -> Iterator[_Statement]:
    """What a question says that is the last one of its turn."""
    if DENIAL.search(sentence):
        return
    words, needed = _content(sentence), _content(OPENING.sub("", sentence))
    if ASKS.match(sentence):
        yield _Statement(words, denied=False, third=third)
    elif NO.match(answer) and not UNCLEAR.search(re.sub(r"\bthat i know\b", "", answer)):
        yield _Statement(words, denied=True, third=third, needed=needed)
    elif YES.match(answer):
        yield _Statement(words, denied=False, third=third, needed=needed)


def _spoken(line: str) -> str:
    return re.sub(r"^\s*(?:doctor|patient|guest_\w+)\s*:\s*", "", line).strip()


def _parts(sentence: str) -> list[str]:
    return [each.strip() for each in re.split(r"\bbut\b", sentence) if each.strip()]


def _content(text: str) -> frozenset[str]:
    words = re.findall(r"[a-z]+", re.sub(r"'\w*", " ", DENIAL.sub(" ", text)))
    return frozenset(words) - COMMON - NUMERIC
