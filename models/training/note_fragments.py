"""Sentences that do not stand by themselves, and those of which no word may be left out.

Leaving words out changes what some sentences say: of `650 mg every six hours` the dose, of `Stopped in March` the drug that the
question named, of `My wife is` the illness. So:

- A sentence with a number, a relative, a word of a change (`stopped`, `increased`), or one that limits (`every`, `before`,
  `up to`) is kept whole or not at all, and nothing of an open question with one.
- So is a sentence that names a drug, a disease or an allergy, but that words may be left out which say nothing wherever they
  stand (`HARMLESS`): whatever else is in it may deny, stop or tolerate what it names (`Skip the metformin`).
- Nothing is kept of a sentence that has no word of its own but numbers, units, times, relatives and words that say little; of
  a dose without the name of a drug; and of a change without one whose object is in another sentence.
- Nor of a sentence that names a drug, if one follows that may take it back: such a dose or change in the same turn or the two
  behind it, or behind a question that names the drug again.
- Nor of a turn that is answered by a relative alone (`My wife did.`), or behind which the doctor asks without a word of his
  own (`Still?`, `You?`), and is answered by a denial or a relative.
- Nothing is kept of `you` and `your` of a question, which mean the patient; nor of a denied one about a relative, a number
  or a degree (`every day`); nor of an open one that asks who, or whose answer names a relative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from torch import Tensor

from models.training.note_tensors import ahead, any_of_group, behind, numbered, rank
from models.training.note_texts import COMMON
from models.training.note_words import (
    ALLERGIES,
    AUXILIARIES,
    CLAUSE_ENDS,
    FILLERS,
    HARMLESS,
    NEGATIONS,
    PRONOUNS,
    RELATIVES,
    Turns,
    Words,
)

DOSE_UNITS: Final = (
    "mg", "mcg", "ml", "milligram", "milligrams", "microgram", "micrograms", "unit", "units", "tablet", "tablets", "pill",
    "pills", "puff", "puffs", "capsule", "capsules", "drop", "drops",
)  # fmt: skip
LIMITING: Final = (
    "every", "each", "other", "needed", "before", "after", "per", "up", "least", "most", "only", "between", "maximum",
    "minimum", "once", "twice", "times", "daily", "weekly", "monthly", "ago", "or", "previously", "currently", "both",
)  # fmt: skip
"""Words that say how often, when, how much at most, or which one."""
DEGREES: Final = (
    "every", "each", "per", "up", "least", "most", "only", "once", "twice", "times", "daily", "weekly", "monthly", "always",
)  # fmt: skip
"""Those of which a plain no may deny only the degree: `Do you take it every day?`"""
TIMES: Final = (
    "day", "days", "week", "weeks", "month", "months", "year", "years", "hour", "hours", "minute", "minutes", "morning",
    "evening", "night", "noon", "bed", "today", "yesterday", "tomorrow", "last", "next", "later", "still", "now", "already",
    "time", "meal", "meals", "food", "breakfast", "lunch", "dinner",
)  # fmt: skip
CHANGED: Final = (
    "stopped", "discontinued", "held", "increased", "decreased", "reduced", "switched", "changed", "raised", "lowered",
    "restarted", "replaced", "added", "removed", "started", "began", "begun",
)  # fmt: skip
CHANGING: Final = (
    "stop", "hold", "increase", "decrease", "reduce", "double", "switch", "change", "raise", "lower", "restart", "replace",
    "start", "began", "begun", "started",
)  # fmt: skip
BEGUN: Final = ("started", "began", "begun", "start")
"""Words of a change that need no object: `the pain started on Tuesday`."""
NO_OBJECT: Final = (
    *CLAUSE_ENDS, *TIMES, *LIMITING, "by", "in", "on", "at", "to", "from", "for", "because", "when", "since", "about", "too",
    "again", "completely", "myself", "and", "but", "a", "due",
)  # fmt: skip
"""What stands behind a word of a change that has no object."""
REFERRING: Final = ("it", "that", "them", "those", "these", "this", "one", "ones")
PEOPLE: Final = (
    *RELATIVES, "cardiologist", "doctor", "doctors", "physician", "nurse", "surgeon", "specialist", "dentist", "pharmacist",
    "hospital", "clinic", "side", "sides", "people", "person",
)  # fmt: skip
EMPTY: Final = (
    *sorted(filter(str.isalpha, COMMON)), *DOSE_UNITS, *LIMITING, *TIMES, *CHANGED, *CHANGING, *REFERRING, *PEOPLE,
    *AUXILIARIES, *FILLERS, *NEGATIONS, *PRONOUNS, "take", "takes", "taking", "took", "taken", "use", "using", "dose", "age",
    "usually", "gives", "gave", "too", "yeah", "yep", "right", "think", "guess", "maybe", "been", "went", "got", "put",
    "since", "until", "again", "same", "half", "more", "less", "than", "back", "through", "around", "ended", "under", "over",
    "above", "below", "mean", "meant", "sorry", "wait", "correction", "actually", "rather", "wrong", "mistake",
)  # fmt: skip
"""Words of which a sentence may consist that does not say what it is about."""
ASKED_EMPTY: Final = (
    *EMPTY, "old", "long", "much", "many", "often", "feel", "feeling", "brings", "going", "doing", "home", "help", "tell",
)  # fmt: skip
"""The same of a question."""
SECOND: Final = ("you", "your", "yourself")
AS_ASKED: Final = frozenset(word for word in (*ASKED_EMPTY, *NO_OBJECT, *SECOND, *DEGREES) if word.isalpha())
"""All words that these rules need, which the vocabulary must have."""


class Fragments(NamedTuple):
    """Of each token [N,L]: whether nothing may be kept of its sentence, whether that is kept whole or not at all, and whether
    the word may be left out even so."""

    dropped: Tensor
    whole: Tensor
    spare: Tensor


class Dialogue(NamedTuple):
    """What is known of each token [N,L]: its form, whether it is of what somebody says, its turn and its sentence, whether that
    is a question, and the number that it belongs to, or 0."""

    words: Words
    ids: Tensor
    inside: Tensor
    turns: Turns
    sentence: Tensor
    asks: Tensor
    number: Tensor

    def has(self, names: Sequence[str]) -> Tensor:
        """Where one of these words begins."""
        return self.words.any_of(self.ids, names) & self.inside

    def sentences(self, which: Tensor) -> Tensor:
        """Which tokens are of sentences with one of `which`."""
        return any_of_group(which & self.inside, self.sentence)

    @property
    def said(self) -> Tensor:
        """The first pieces of words."""
        return self.inside & self.words.spoken[self.ids] & ~self.words.continues[self.ids]

    def first(self) -> Tensor:
        """The words that begin a sentence, fillers apart."""
        counted = self.said & ~self.has(FILLERS)
        return counted & (rank(counted, self.sentence) == 1)


def fragments(of: Dialogue) -> Fragments:
    """See the module."""
    drug, changes = of.words.drugs(of.ids) & of.inside, of.has((*CHANGED, *CHANGING))
    relative, counted, limits = (
        of.sentences(each) for each in (of.has(RELATIVES), of.number > 0, of.has(LIMITING))
    )
    content = of.said & (of.number == 0) & ~of.has(EMPTY)
    empty = of.sentences(of.said) & ~of.sentences(content)
    change, states = _lone_changes(of, drug, changes), of.inside & ~of.asks
    lone = (
        of.sentences(_lone_doses(of, drug)) | change | _which_one(of) | (empty & (counted | limits))
    ) & states
    taken_back = of.sentences(drug) & _taken_back(of, lone, change & states, drug)
    kin = relative & (empty | of.sentences(of.has(REFERRING))) & states
    unclear = ~of.sentences(content & ~of.has(ASKED_EMPTY)) | _of_whom(of)
    dropped = lone | taken_back | _withdrawn(of, content, kin) | (empty & states) | kin | (of.asks & unclear)
    fixed = counted | limits | relative | of.sentences(changes)
    named = of.sentences(drug | of.words.conditions(of.ids) | of.has(ALLERGIES))
    return Fragments(dropped & of.inside, (fixed | named) & of.inside, _spare(of) & ~fixed)


def _spare(of: Dialogue) -> Tensor:
    """The words that say nothing wherever they stand: those of `HARMLESS`, and `I` of the patient, and `you` and `your` of the
    doctor. The patient's `my` and `has` may say whose it is."""
    patient, doctor = (of.turns.speaker == 2, of.turns.speaker == 1)
    own = (of.has(["i"]) & patient) | (of.has(["you", "your"]) & doctor)
    joined = of.words.any_of(of.ids, ["'", "-", "/"])
    theirs = of.has(["has"]) & patient  # `My boss has gout`
    return ((of.has(HARMLESS) & ~theirs) | own) & ~ahead(joined, 1) & ~behind(joined, 1)


def _lone_doses(of: Dialogue, drug: Tensor) -> Tensor:
    """Where a dose has a unit (`50 mg`, `50mg`, but not `200 mg/dl`) and no drug in front of it, nor in its own clause."""
    unit = of.has(DOSE_UNITS) & behind(of.number > 0, 1) & ~ahead(of.words.any_of(of.ids, ["/"]), 1)
    attached = of.words.attached[of.ids] & (of.number > 0)
    clause = numbered(of.words.any_of(of.ids, (*CLAUSE_ENDS, "and", "but")) | of.turns.begins)
    named = any_of_group(drug, clause) | (rank(drug, of.sentence) > 0)
    return (unit | attached) & ~named


def _lone_changes(of: Dialogue, drug: Tensor, changes: Tensor) -> Tensor:
    """Which tokens [N,L] are of sentences of a change whose object is not in them: no drug is named, and the change begins the
    sentence, has nothing behind it, or is of `it`; or `it` begins the sentence."""
    first = of.first()
    word = numbered(~of.words.continues[of.ids])
    ends = of.turns.begins | (of.ids == of.words.end) | of.words.any_of(of.ids, NO_OBJECT) | (of.number > 0)
    ends = ends & ~of.words.continues[of.ids]
    open_ended = ((word[:, :, None] + 1 == word[:, None, :]) & ends[:, None, :]).any(2)
    bare = (of.has(CHANGED) & first) | (changes & ~of.has(BEGUN) & open_ended)
    changed, referring = of.sentences(changes), of.has(REFERRING)
    nameless = (of.sentences(bare) | (changed & of.sentences(referring))) & ~of.sentences(drug)
    return nameless | (changed & of.sentences(referring & first))


def _which_one(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences such as `The smaller one.`"""
    ends = of.words.any_of(of.ids, CLAUSE_ENDS) | of.turns.begins | (of.ids == of.words.end)
    return of.sentences(of.has(["one", "ones"]) & ahead(ends, 1))


def _of_whom(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of questions that ask who, or of a turn whose answer names a relative."""
    return of.sentences(of.has(["who", "whose", "whom"])) | _within(of, of.has(RELATIVES), 1)


def _taken_back(of: Dialogue, lone: Tensor, change: Tensor, drug: Tensor) -> Tensor:
    """Which tokens [N,L] are of a turn or a sentence with a drug that a later sentence without one may be about."""
    near = _within(of, lone, 0) | _within(of, lone, 1) | _within(of, change, 2)
    code = of.words.codes_of(of.ids)[0]
    again = (code[:, :, None] == code[:, None, :]) & drug[:, :, None]
    again = again & (of.turns.number[:, :, None] < of.turns.number[:, None, :])
    asked = (again & (drug & of.asks & _within(of, lone, 1))[:, None, :]).any(2)
    return near | (_within(of, lone, 2) & ~_within(of, drug, 1)) | of.sentences(asked)


def _withdrawn(of: Dialogue, content: Tensor, kin: Tensor) -> Tensor:
    """Which tokens [N,L] are of a turn that is answered by a relative alone (`My wife did.`), or which the doctor doubts
    without words of his own, and the next one denies or says of a relative."""
    doubts = _within(of, of.asks & of.inside, 1) & ~_within(of, content, 1)
    denied = (of.words.negations(of.ids) & of.inside) | of.has(RELATIVES)
    return _within(of, kin, 1) | (doubts & _within(of, denied, 2))


def _within(of: Dialogue, which: Tensor, turns: int) -> Tensor:
    """Whether one of `which` is in the turn so many behind that of each token."""
    same = of.turns.number[:, :, None] + turns == of.turns.number[:, None, :]
    return (same & which[:, None, :]).any(2)
