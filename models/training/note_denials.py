"""What a dialogue denies and whom it is about: questions and their answers, and sentences that a word reverses.

A wrong statement is worse than a missing one, so what is not clearly one or the other is left out.

- A **question** is the last sentence of a turn with a question mark. If all of the next turn is a plain denial (`No.`, `No, I
  don't.`, `Not at all.`), what is asked, from behind `do you have any` to the question mark, is kept whole behind `no`, or not
  at all; if it is a plain `yes`, whole without it, unless alternatives are asked. Plain are the words of `PLAIN` alone. Of
  other questions of yes or no nothing is kept; nor of questions with a negation (`Don't you see ...?`), of those about other
  things than findings (`Any questions?`, `Is that okay?`), nor of any but the last of several; nor of those that except
  something (`Apart from chest pain, ...?`).
- An answer may be taken back at once. So nothing is kept of a question where somebody else than the doctor speaks next after
  the answer (`No.` `Wait, yes.`), or where the doctor doubts it (`Really?`) or
  asks again (`note_doubts`).
- Of a **statement** of the doctor that the patient contradicts nothing is kept, nor of the last of a turn that the next one
  begins to deny.
- Of a question about `he` or `she`, unless a guest is asked and no relative was named before, of an **answer** to one or to a
  question about a relative, and of sentences of the patient about `he` or `she`, only sentences that name a relative are kept.
- Of a sentence that has a particle behind other words (`Sulfa yes, penicillin no.`), or a number that is not plain, nothing.
- A sentence with a negation, or a word that reverses it such as `stop`, `if` or `less`, is kept whole or not at all; so are
  those of `note_fragments`, which also names more of which nothing is kept, as do `note_statements`
  and `note_retractions`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor

from models.training.note_doubts import asked_again
from models.training.note_fragments import AS_ASKED, DEGREES, Dialogue, fragments
from models.training.note_statements import OWN, STATED, Replies, stated
from models.training.note_stops import PAUSE
from models.training.note_tensors import ahead, any_of_group, behind, count, latest, numbered, rank
from models.training.note_texts import ODD
from models.training.note_words import (
    AUXILIARIES,
    CLAUSE_ENDS,
    FILLERS,
    GUEST,
    NEGATIONS,
    OTHERS,
    PRONOUNS,
    RELATIVES,
    REVERSING,
    SENTENCE_ENDS,
    SPOKEN,
    STRANGER,
    Turns,
    Words,
)

DENSITY: Final = 0.1  # least share of a sentence that is kept whole that the network would keep
DENYING: Final = ("no", "nope", "nah", "never", "none", "negative", "not", "neither")
AGREEING: Final = ("yes", "yeah", "yep", "yup", "yea", "correct")
PLAIN: Final = (
    *AGREEING, "no", "nope", "nah", "never", "none", "not", "at", "all", "any", "i", "we", "it", "there", "he", "she",
    "they", "do", "does", "did", "am", "is", "are", "have", "has", "don", "doesn", "didn", "haven", "hasn", "hadn", "isn",
    "aren", "wasn", "weren", "t", "m", "ve", "s", "sir", "doctor", "ma", "oh", "um", "uh", "well", "okay", "ok",
)  # fmt: skip
"""The words of plain answers: an answer with another one is not plain."""
CONTRARY: Final = (
    "allergic", "allergy", "wrong", "false", "incorrect", "mistake", "mistaken", "actually", "but", "already", "different",
    "chart", "refuse", "stopped", "quit", "untrue",
)  # fmt: skip
"""Words by which a patient contradicts what a doctor said."""
ASKING: Final = ("what", "which", "when", "where", "who", "whom", "whose", "why", "how")
ASIDE: Final = (
    "question", "questions", "concern", "concerns", "worry", "okay", "ok", "alright", "sense", "understand", "else", "other",
    "others", "another", "sure", "right", "correct", "more", "mind", "ready", "agree", "sound", "sounds", "help",
    "hear", "me", "us", "besides", "apart", "except", "aside",
)  # fmt: skip
"""Words of questions that ask about the talk, or for what was not named yet, or for all but what they name."""
DOUBTING: Final = (
    "really", "sure", "certain", "positive", "no", "not", "none", "never", "nothing", "at", "all", "are", "you", "is", "that",
    "it", "about", "oh", "okay", "and", "right", "correct", "true",
)  # fmt: skip
"""All words of a question by which the doctor doubts an answer."""
OPENERS: Final = (
    *FILLERS, *AUXILIARIES, *PRONOUNS, "any", "been", "ever", "a", "an", "how", "what", "about", "had", "having", "anything",
)  # fmt: skip
VERBS: Final = (
    "take", "taking", "use", "using", "noticed", "notice", "experienced", "experience", "feel", "feeling", "get", "getting",
    "see", "seen", "taken", "know", "of",
)  # fmt: skip
"""Words that open a question only in front of `any`."""


class Sentences(NamedTuple):
    """Of each token [N,L]: the number of its sentence, whether it is of a question, and of the last sentence of a turn; and how
    many words of its sentence there are up to it, without fillers."""

    number: Tensor
    asks: Tensor
    last: Tensor
    place: Tensor


class Answered(NamedTuple):
    """Of each token [N,L]: whether it is of what is asked and answered, and of that which is denied; whether nothing may be
    kept of its sentence; whether that is kept whole or not at all, and whether the word may be left out even so, by
    `note_fragments`."""

    asked: Tensor
    denied: Tensor
    dropped: Tensor
    whole: Tensor
    spare: Tensor


def sentences(words: Words, ids: Tensor, inside: Tensor, turns: Turns) -> Sentences:
    """The sentences of a dialogue."""
    ends = words.any_of(ids, SENTENCE_ENDS) & inside
    begins = behind(ends, 1) | turns.begins
    number = numbered(begins)
    said = inside & words.spoken[ids] & ~words.continues[ids]
    same = turns.number[:, :, None] == turns.number[:, None, :]
    last = inside & ~(same & (number[:, None, :] > number[:, :, None]) & said[:, None, :]).any(2)
    counted = said & ~words.any_of(ids, FILLERS)
    asks = any_of_group(words.any_of(ids, ["?"]) & inside, number)
    return Sentences(number, asks, last, rank(counted, number))


def answered(  # noqa: PLR0917 - what is known of a dialogue
    words: Words, ids: Tensor, inside: Tensor, turns: Turns, of: Sentences, number: Tensor
) -> Answered:
    """What the questions of a dialogue and their answers come to."""
    no, yes = _plain_answers(words, ids, inside, turns, of)
    begins = inside & words.spoken[ids] & (of.place <= 1)
    wh = any_of_group(begins & words.any_of(ids, ASKING) & ~_how_about(words, ids), of.number)
    negative = any_of_group(_reversing(words, ids) & inside, of.number)
    subject = words.any_of(ids, ["this", "that", "it", "these", "those"]) & behind(
        words.any_of(ids, AUXILIARIES), 1
    )
    aside = any_of_group(subject | (words.any_of(ids, ASIDE) & inside), of.number)
    several = count(words.any_of(ids, ["?"]) & inside, turns.number) > 1
    alternatives = any_of_group(words.any_of(ids, ["or"]) & inside, of.number)
    odd = any_of_group(words.any_of(ids, [ODD]), of.number)
    plain = of.asks & of.last & ~negative & ~odd
    dialogue = Dialogue(words, ids, inside, turns, of.number, of.asks, number)
    unsettled = _unsettled(words, ids, inside, turns) | asked_again(dialogue)
    closed = plain & ~wh & ~aside & ~several & ~unsettled
    denied, confirmed = closed & no, closed & yes & ~alternatives
    contradicted = _contradicted(words, ids, inside, turns, of)
    open_question = plain & wh & ~_followed(_reversing(words, ids) & inside, turns)
    any_next = words.any_of(ids, VERBS) & ahead(words.any_of(ids, ["any"]), 1)
    opens = (words.any_of(ids, OPENERS) | any_next) & (number == 0)
    named = inside & (rank(inside & words.spoken[ids] & ~opens, of.number) > 0)
    second = any_of_group(named & words.any_of(ids, ["you", "yourself"]), of.number)
    relative = words.any_of(ids, [each for each in RELATIVES if each != "family"]) & inside
    partly = relative | (inside & (words.any_of(ids, DEGREES) | (number > 0)))
    asked = (denied | confirmed) & named & ~second & ~(denied & any_of_group(partly, of.number))
    part = fragments(dialogue)
    said = stated(dialogue, Replies(no, unsettled, _reversing(words, ids) & inside))
    open_question = open_question & ~part.whole
    dropped = (
        odd
        | contradicted
        | part.dropped
        | said.dropped
        | (of.asks & ~asked & ~open_question)
        | _of_others(words, ids, inside, turns, of)
    )
    whole = (part.whole | said.whole) & ~of.asks
    spare = part.spare & ~negative & ~of.asks & ~said.whole
    return Answered(asked & ~dropped, denied & asked & ~dropped, dropped, whole, spare)


def _followed(which: Tensor, turns: Turns, turn: int = 1) -> Tensor:
    """Whether there is one of `which` [N,L] so many turns behind that of each token."""
    following = turns.number[:, :, None] + turn == turns.number[:, None, :]
    return (following & which[:, None, :]).any(2)


def _preceded(which: Tensor, turns: Turns, turn: int = 1) -> Tensor:
    """Whether there is one of `which` [N,L] so many turns in front of that of each token."""
    preceding = turns.number[:, :, None] - turn == turns.number[:, None, :]
    return (preceding & which[:, None, :]).any(2)


def _unsettled(words: Words, ids: Tensor, inside: Tensor, turns: Turns) -> Tensor:
    """Which tokens [N,L] are of a turn whose answer another one may take back, or which the doctor doubts."""
    said = inside & words.spoken[ids] & ~words.continues[ids]
    asks = any_of_group(words.any_of(ids, ["?"]) & inside, turns.number)
    doubts = said & asks & ~any_of_group(said & ~words.any_of(ids, DOUBTING), turns.number)
    return _followed(said & (turns.speaker != 1), turns, 2) | _followed(doubts, turns, 2)


def _contradicted(words: Words, ids: Tensor, inside: Tensor, turns: Turns, of: Sentences) -> Tensor:
    """Which tokens [N,L] are of statements that the next turn contradicts, or of what has a particle behind other words."""
    begins_no = inside & words.any_of(ids, DENYING) & (of.place == 1)
    begins_no = begins_no & (of.number == any_min(of.number, turns.number))
    asking_turn = any_of_group(of.asks & of.last, turns.number)
    doubted = _followed(words.any_of(ids, CONTRARY) & inside, turns)
    denied = _followed(words.negations(ids) & inside, turns) & ~asking_turn
    proposed = ~of.asks & (turns.speaker == 1) & (doubted | denied)
    stops = words.any_of(ids, CLAUSE_ENDS) | turns.begins | (ids == words.end)
    particle = words.any_of(ids, (*AGREEING, "no", "nope", "nah", "none", "nothing", "neither"))
    inner = inside & particle & (of.place > 1) & ahead(stops, 1)
    return proposed | (~of.asks & of.last & _followed(begins_no, turns)) | any_of_group(inner, of.number)


def _of_others(words: Words, ids: Tensor, inside: Tensor, turns: Turns, of: Sentences) -> Tensor:
    """Which tokens [N,L] are of sentences about somebody whom they do not name."""
    relative = words.any_of(ids, RELATIVES) & inside
    by_guest, named = _followed(inside & (turns.speaker == 3), turns), latest(relative) > 0
    he, they = (words.any_of(ids, each) & inside for each in (OTHERS, ("they", "their")))
    theirs = named | (he & ~they & ~by_guest)  # a guest is asked about the patient
    of_doctor = (turns.speaker == 1) & of.asks & theirs
    other = he & (of_doctor | (turns.speaker == 2))
    asked = _preceded((relative | (he & of_doctor)) & of.asks, turns)
    return (asked | any_of_group(other, of.number)) & ~any_of_group(relative, of.number)


def _how_about(words: Words, ids: Tensor) -> Tensor:
    return words.any_of(ids, ["how", "what"]) & ahead(words.any_of(ids, ["about"]), 1)


def _plain_answers(
    words: Words, ids: Tensor, inside: Tensor, turns: Turns, of: Sentences
) -> tuple[Tensor, Tensor]:
    """Of each token whether the next turn plainly denies, and plainly agrees."""
    said = inside & words.spoken[ids] & ~words.continues[ids]
    plain = ~any_of_group(said & ~words.any_of(ids, PLAIN), turns.number)
    own = words.any_of(ids, OWN) & (turns.speaker == GUEST)  # whose answer is about themselves
    plain = plain & ~any_of_group((own | words.any_of(ids, ["?", ODD, PAUSE])) & inside, turns.number)
    plain = plain & (turns.speaker != STRANGER)
    opening = said & (of.place == 1) & (of.number == any_min(of.number, turns.number))
    pronoun = opening & words.any_of(ids, PRONOUNS)
    auxiliary, negation = words.any_of(ids, AUXILIARIES), words.any_of(ids, ["not", "never"])
    not_at_all = (
        words.any_of(ids, ["not"])
        & ahead(words.any_of(ids, ["at"]), 1)
        & ahead(words.any_of(ids, ["all"]), 2)
    )
    particle = opening & (words.any_of(ids, ["no", "nope", "nah", "never", "none"]) | not_at_all)
    mark, cut = words.any_of(ids, ["'"]), words.any_of(ids, ["t"])
    positive = said & auxiliary & ~ahead(negation | mark, 1) & ~behind(negation | cut | mark, 1)
    agreeing = said & words.any_of(ids, AGREEING)
    denying = said & words.negations(ids)
    has_positive, agreed, denied = (
        any_of_group(each, turns.number) for each in (positive, agreeing, denying)
    )
    no = (particle | (pronoun & denied)) & plain & ~has_positive & ~agreed
    does = opening & words.any_of(ids, ["i", "it", "there"]) & ahead(auxiliary, 1)
    yes = ((opening & agreeing) | does) & plain & ~denied
    return _followed(no, turns), _followed(yes, turns)


def any_min(values: Tensor, group: Tensor) -> Tensor:
    """The least of `values` [N,L] in the group of each token."""
    same = group[:, :, None] == group[:, None, :]
    found: Tensor = values[:, None, :].masked_fill(~same, values.shape[1] + 1).amin(2)
    return found


def _reversing(words: Words, ids: Tensor) -> Tensor:
    return words.negations(ids) | words.any_of(ids, REVERSING)


def particles(words: Words, ids: Tensor, of: Sentences) -> Tensor:
    """Which tokens [N,L] are a `no` that begins a sentence and answers: it is not of what follows."""
    behind_it = words.any_of(ids, (*CLAUSE_ENDS, *PRONOUNS, "sir", "doctor")) | (ids == words.end)
    return (of.place == 1) & words.any_of(ids, ["no", "nope", "nah"]) & ahead(behind_it, 1)


def whole_denials(  # noqa: PLR0917 - what is known of a dialogue
    words: Words, ids: Tensor, inside: Tensor, of: Sentences, kept: Tensor, whole: Tensor
) -> tuple[Tensor, Tensor]:
    """Which tokens [N,L] are kept of sentences that a word reverses, or that are `whole` or nothing, and which are of such."""
    reversing = _reversing(words, ids) & inside & ~particles(words, ids, of)
    reversed_ = (any_of_group(reversing, of.number) | whole) & inside
    said = inside & words.spoken[ids] & ~words.continues[ids]
    share = count(kept & said, of.number) / count(said, of.number).clamp(min=1)
    contraction = words.contracted(ids) | behind(words.contracted(ids), 1) | behind(words.contracted(ids), 2)
    begins = said & ~words.any_of(ids, FILLERS) & ~particles(words, ids, of)
    from_here = rank(begins, of.number) > 0
    empty = words.any_of(ids, (*OPENERS, *NEGATIONS)) | contraction
    says = any_of_group(kept & said & ~empty, of.number)
    return reversed_ & from_here & (share >= DENSITY) & says, reversed_


RULED: Final = frozenset((
    *DENYING, *PLAIN, *CONTRARY, *OTHERS, *ASKING, *ASIDE, *DOUBTING, *OPENERS, *VERBS, *NEGATIONS, *REVERSING, *SPOKEN,
    "this", "these", "those", "sir", "at", "but", *AS_ASKED, *STATED,
))  # fmt: skip
"""All words that a rule needs, which the vocabulary must have."""
