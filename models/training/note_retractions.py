"""What a dialogue takes back in words of its own, and what it says of other patients.

- Of a turn nothing is kept in front of a sentence that **takes it back**: one with a negation that points back (`those`, `it`,
  `none of them`) or names nothing (`I never did.`); one that begins with `No,`, `wait`, `sorry` and the like; one with a word
  of mistakes (`mixed`, `kidding`, `belongs`), or one that gives it to a relative (`That's what my brother says`).
- So is a turn if the speaker's next one begins so, or one of the three behind it has a word of mistakes.
- Of a **list** behind a sentence with a negation (`I have none of the following. Gout.`) nothing is kept: of sentences without
  a verb or a subject, up to one with these.
- Nothing is kept of sentences about **another patient** (`The patient next door`, `somebody else`), nor, where no guest speaks,
  of what a doctor states of `he` or `she`.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from models.training.note_fragments import EMPTY, REFERRING, Dialogue
from models.training.note_tensors import ahead, any_of_group, behind, latest, rank
from models.training.note_words import AUXILIARIES, CLAUSE_ENDS, PRONOUNS, RELATIVES, SENTENCE_ENDS

POINTING: Final = (*REFERRING, "any", "all")
"""Words by which a denial points, at the end of a clause, at what was said before it."""
ENDING: Final = (
    "anymore",
    "now",
    "today",
    "either",
    "though",
    "yet",
    "again",
    "myself",
    "anyway",
    "before",
    "at",
    "ever",
    "and",
    "but",
)
FIRST_POINTING: Final = (*REFERRING, "they", "he", "she")
CORRECTING: Final = (
    "wait", "sorry", "correction", "actually", "rather", "scratch", "strike", "oops", "kidding", "joking",
)  # fmt: skip
"""Words that begin a sentence that puts right what was said before."""
MISTAKEN: Final = (
    "mixed", "mixing", "mistake", "mistaken", "wrong", "false", "untrue", "incorrect", "belong", "belongs", "belonged",
    "confusing", "confuses", "confusion", "joking", "joke", "kidding", "lied", "lying", "swapped", "error", "according",
    "supposedly", "allegedly", "rumor", "dreams",
)  # fmt: skip
SAYING: Final = (
    "says", "said", "say", "claims", "claimed", "thinks", "thought", "told", "tells", "believes", "swears", "insists",
)  # fmt: skip
PERSONS: Final = (
    "patient", "person", "man", "woman", "lady", "guy", "gentleman", "boy", "girl", "child", "kid", "fellow",
)  # fmt: skip
PLACED: Final = (
    "next", "in", "beside", "across", "before", "over", "down", "upstairs", "who", "whose", "on", "from", "behind", "after",
    "opposite", "near", "there", "at",
)  # fmt: skip
"""Words behind a person, or behind `the one`, by which another one is meant than who speaks."""
NEIGHBORS: Final = (
    "neighbor", "neighbors", "roommate", "roommates", "coworker", "coworkers", "classmate", "classmates", "boss", "colleague",
    "colleagues",
)  # fmt: skip
NAYS: Final = ("no", "nope", "nah")
SUBJECTS: Final = (*PRONOUNS, *AUXILIARIES, "my", "that", "this", "which", "who", "s", "m", "re", "ve", "ll")
TAKE: Final = (
    "take", "use", "keep", "continue", "start", "stop", "skip", "call", "come", "go", "try", "avoid", "follow", "rest",
    "drink", "put", "get", "leave", "omit", "remove", "finish", "please", "make", "eat", "return", "see", "watch", "have",
)  # fmt: skip
"""Words that begin an instruction."""
RETRACTING: Final = frozenset((
    *POINTING, *FIRST_POINTING, *CORRECTING, *MISTAKEN, *SAYING, *PERSONS, *PLACED, *NEIGHBORS, *SUBJECTS, *TAKE, "one", "mean",
    "meant", "another", "other", "else", "somebody", "someone", "following", "everything", "none",
    "neither", *ENDING, "door", "yes", "what", "whose", "really", "make", "people",
))  # fmt: skip
"""All words that these rules need, which the vocabulary must have."""


def lists(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences without a subject or a verb of those known."""
    return of.inside & ~of.sentences(of.has(SUBJECTS)) & ~of.sentences(of.first() & of.has(TAKE))


def retracted(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of sentences of which nothing may be kept; `reversing` as in `note_statements`."""
    back = _points_back(of, reversing) | _corrects(of) | of.sentences(of.has(MISTAKEN)) | _of_kin(of)
    same = of.turns.number[:, :, None] == of.turns.number[:, None, :]
    last = (of.sentence * (back & of.inside))[:, None, :].masked_fill(~same, 0).amax(2)
    earlier, another = of.sentence < last, another_patient(of) & of.inside
    return (earlier | _in_later_turns(of, back, another) | _listed(of) | another) & of.inside


def another_patient(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences about somebody who is neither the patient nor of the family."""
    speaker = of.turns.speaker
    placed = of.words.any_of(of.ids, PLACED) | (of.words.any_of(of.ids, ["i", "we"]))
    one = of.has(["one"]) & ahead(
        of.words.any_of(of.ids, ["before", "beside", "who", "whose", "next", "across"]), 1
    )
    person = of.has(PERSONS)
    other = person & (ahead(placed, 1) | behind(of.words.any_of(of.ids, ["another", "other", "next"]), 1))
    door = of.has(["next"]) & (
        ahead(of.words.any_of(of.ids, ["door"]), 1)
        | (
            ahead(of.words.any_of(of.ids, ["to"]), 1)
            & ahead(of.words.any_of(of.ids, ["me", "you", "us", "him", "her"]), 2)
        )
    )
    other = (
        other | one | door | (of.has(["somebody", "someone"]) & ahead(of.words.any_of(of.ids, ["else"]), 1))
    )
    near = of.sentences(of.has(NEIGHBORS)) & ~(of.sentences(of.has(["i", "me", "we"])) & (speaker == 2))
    any_guest = ((speaker == 3) & of.inside).any(1, keepdim=True)
    third = of.sentences(of.has(["he", "she", "him", "his", "her"])) & (speaker == 1) & ~of.asks & ~any_guest
    any_patient = ((speaker == 2) & of.inside).any(1, keepdim=True)
    patient = of.has(["patient"]) & (speaker == 1) & any_patient
    return of.sentences(other | patient) | near | third


def _points_back(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of sentences that deny and point at what stands before them, deny and name nothing, or deny a word
    that stands before them."""
    negated = of.sentences(of.words.negations(of.ids) & of.inside)
    cut = of.words.contracted(of.ids)
    content = of.said & (of.number == 0) & ~of.has((*EMPTY, *SAYING)) & ~cut
    code = of.words.codes_of(of.ids)[0]
    again = (code[:, :, None] == code[:, None, :]) & (
        of.turns.number[:, :, None] == of.turns.number[:, None, :]
    )
    again = (
        again
        & (of.sentence[:, :, None] > of.sentence[:, None, :])
        & content[:, :, None]
        & content[:, None, :]
    )
    first = of.sentences(of.first() & of.has(FIRST_POINTING))
    it = of.sentences(of.first() & of.has(["it", "he", "she"]))
    repeats = of.sentences(again.any(2) & negated & (lists(of) | first))
    ends = of.words.any_of(of.ids, (*CLAUSE_ENDS, *ENDING)) | (of.ids == of.words.end) | of.turns.begins
    points = of.sentences(of.has(POINTING) & ahead(ends, 1)) | of.sentences(
        of.has(["none", "neither", "everything"])
    )
    turned = of.sentences(reversing) & ((first & ~it) | (it & ~of.sentences(content)))
    return (negated & (points | ~of.sentences(content))) | turned | repeats


def _corrects(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that put right what was said, at their beginning or their end."""
    ends = of.words.any_of(of.ids, SENTENCE_ENDS) | (of.ids == of.words.end) | of.turns.begins
    no = of.has(NAYS) & ahead(ends | of.words.any_of(of.ids, (",", ";", *PRONOUNS)), 1)
    mean = of.has(["i"]) & ahead(of.words.any_of(of.ids, ["mean", "meant"]), 1)
    make = of.has(["make"]) & ahead(of.words.any_of(of.ids, ["that"]), 1)
    last = (mean & ahead(ends, 2)) | (of.has(["say", "rather"]) & ahead(ends, 1))
    return of.sentences((of.first() & (no | mean | make | of.has(CORRECTING))) | last)


def _of_kin(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that give to a relative what was said, or say who says it."""
    kin, points = of.sentences(of.has(RELATIVES)), of.first() & of.has(FIRST_POINTING)
    says = of.sentences(of.has(SAYING)) & of.sentences(of.has((*REFERRING, "so")))
    return (kin & of.sentences(points)) | (
        says & (kin | of.sentences(of.has(["they", "people", "he", "she"])))
    )


def _in_later_turns(of: Dialogue, back: Tensor, another: Tensor) -> Tensor:
    """Which tokens [N,L] are of a turn that the speaker's next one begins to put right, or behind which somebody speaks of a
    mistake, or the next one of another patient."""
    number, speaker = of.turns.number, of.turns.speaker
    opens = of.sentence == _opening(of)
    corrects, points = _corrects(of) & opens, back & opens & (speaker == 2)
    again = _waits(of) & opens
    asked = any_of_group(of.asks & of.inside, number)
    mistaken = of.has(MISTAKEN) & ~of.asks

    def at(turns: int, which: Tensor) -> Tensor:
        return ((number[:, :, None] + turns == number[:, None, :]) & which[:, None, :]).any(2)

    def own(turns: int, which: Tensor) -> Tensor:
        there = number[:, :, None] + turns == number[:, None, :]
        return (there & (speaker[:, :, None] == speaker[:, None, :]) & which[:, None, :]).any(2)

    doubts = of.has(["who", "what", "whose", "that", "really"]) & of.asks & (speaker == 2)
    pointed = (at(2, points) | (at(2, doubts) & (speaker != 2))) & ~at(1, asked)
    found = own(1, corrects) | own(2, again) | pointed | at(1, another)
    return (found | at(1, mistaken) | at(2, mistaken) | at(3, mistaken)) & ~of.asks


def _opening(of: Dialogue) -> Tensor:
    """The number [N,L] of the first sentence of the turn of each token."""
    same = of.turns.number[:, :, None] == of.turns.number[:, None, :]
    counted = same & of.said[:, None, :]
    found: Tensor = of.sentence[:, None, :].masked_fill(~counted, of.sentence.shape[1] + 1).amin(2)
    return found


def _waits(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that begin with `wait` and the like, in front of a stop, or behind `no`."""
    stops = of.words.any_of(of.ids, (*SENTENCE_ENDS, ",", "i", "no", "yes", "that", "my"))
    word = of.has(["wait", "sorry", "correction", "scratch", "strike", "oops", "kidding", "joking"])
    return of.sentences(word & ahead(stops, 1) & (rank(of.said, of.sentence) <= 2))


def _listed(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of a list behind a sentence that denies."""
    alone = (
        of.has(NAYS) & (rank(of.said, of.sentence) == 1) & ahead(of.words.any_of(of.ids, [",", ".", "!"]), 1)
    )
    denies = of.sentences((of.words.negations(of.ids) & of.inside & ~alone) | of.has(MISTAKEN))
    listed = lists(of) & ~denies & ~of.asks
    place = latest(of.inside & of.said & ~listed)
    before = (place - 1).clamp(min=0)
    denied = denies.gather(1, before) & (of.turns.number.gather(1, before) == of.turns.number)
    return listed & denied & (place > 0)
