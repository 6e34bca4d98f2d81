"""What a dialogue states that may not be so: what was not affirmed, what is broken off, and what people say of themselves.

- What the **doctor** states of `you` (`you take`, not `I want you to`), and what a guest so states in front of the patient, is
  kept only if nobody else speaks behind it; if the next turn of somebody else is an affirmation of the words of `AFFIRMED`
  alone (`Yes.`, `That's right`, `I do.`), or asks on (`Can I`, `Will I`, `Should I`); or if the turn ends with a question that
  is plainly answered: `Any questions?` `No.` Any other turn may say that it is not so, or no more: `Used to.`, `They changed
  it.`, `Do I?`, and no list has all of these. Other statements are kept in front of a turn of more than `SHORT` words, too,
  unless `note_denials` sees a contradiction.
- Of a doctor and of guests nothing is kept that they say in the **first person** or of other patients and people; but for what
  a doctor plans (`I'll order`, `I recommend`, `let me`).
- A turn without a stop at its end is **broken off**. If its last sentence has a negation, nothing is kept of that, nor of the
  first sentence of the next turn and of the speaker's next one; without a negation, or with one in front of `!` or `?`, not of
  the speaker's next one unless that begins with a subject.
- Nothing is kept of a sentence with a doubtful stop and a negation; without one it is kept whole or not at all.
- Nothing is kept of turns of somebody whose label is unknown.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor

from models.training.note_fragments import Dialogue
from models.training.note_stops import PAUSE
from models.training.note_tensors import ahead, any_of_group, behind, count, rank
from models.training.note_texts import ODD
from models.training.note_words import FILLERS, PRONOUNS, RELATIVES, SENTENCE_ENDS

DOCTOR, PATIENT, GUEST, STRANGER = 1, 2, 3, 4
AGREED: Final = (
    "yes", "yeah", "yep", "yup", "yea", "correct", "right", "exactly", "absolutely", "definitely", "certainly", "okay", "ok",
    "alright", "sure", "understood", "agreed", "thanks", "thank", "mhm", "great", "good", "perfect", "true", "course", "sounds",
)  # fmt: skip
"""Words of which one makes an affirmation."""
SO: Final = ("do", "am", "is", "are", "does", "will", "have", "has")
"""The same behind a pronoun: `I do`, `it is`; in the present, for `I did` may be over."""
AFFIRMED: Final = (
    *AGREED, *SO, "i", "you", "it", "that", "we", "they", "she", "he", "s", "m", "re", "ve", "ll", "doctor",
    "sir", "ma", "am", "oh", "um", "uh", "huh", "mm", "hmm", "hm", "well", "then", "and", "of", "so", "very",
    "much", "still", "all", "see", "got", "understand", "agree", "do", "will", "please", "fine", "indeed", "me",
    "to", "for", "wonderful", "excellent", "awesome", "cool", "nice", "my", "best", "try", "appreciate",
    "works",
)  # fmt: skip
"""All words of an affirmation."""
SHORT: Final = 6  # words at most of a turn that may be about nothing but what was stated
PLANNING: Final = (
    "will", "ll", "would", "d", "want", "recommend", "suggest", "refer", "think", "believe", "see", "going", "looking",
    "understand",
)  # fmt: skip
"""Words behind the `I` of a doctor that do not say what they have or take."""
NO_FACT: Final = (
    "to", "should", "need", "can", "will", "could", "must", "may", "might", "a", "some", "the", "for", "know",
    "want",
)  # fmt: skip
"""Words behind a `you` of which nothing is said that was or is so."""
TALK: Final = ("question", "questions", "concerns", "concern")
OWN: Final = ("i", "me", "my", "mine", "myself")
ANYBODY: Final = (
    "patients", "people", "someone", "somebody", "anyone", "everyone", "everybody", "folks", "colleague", "colleagues", "guy",
    "lady", "gentleman", "mine", "others",
)  # fmt: skip
"""Who is not the patient, in what a doctor or a guest says."""
SUBJECT: Final = (
    *PRONOUNS,
    "my",
    "the",
    "that",
    "this",
    "these",
    "those",
    "yes",
    "yeah",
    "no",
    "nope",
    "okay",
)
STATED: Final = frozenset(
    (*AFFIRMED, *TALK, *OWN, *ANYBODY, *SUBJECT, *PLANNING, *NO_FACT, "patient", "let", "should")
)
"""All words that these rules need, which the vocabulary must have."""


class Stated(NamedTuple):
    """Of each token [N,L]: whether nothing may be kept of its sentence, and whether that is kept whole or not at all."""

    dropped: Tensor
    whole: Tensor


class Replies(NamedTuple):
    """Of each token [N,L] whether its turn ends with a question about findings, and whether the next turn plainly denies it, or
    plainly agrees; whether that may be taken back; and where words deny or reverse, particles included."""

    closed: Tensor
    no: Tensor
    yes: Tensor
    unsettled: Tensor
    reversing: Tensor


def stated(of: Dialogue, replies: Replies) -> Stated:
    """See the module."""
    pause = of.sentences(of.has([PAUSE]))
    dropped = _unaffirmed(of, replies) | _own(of) | _broken_off(of, replies.reversing)
    dropped = dropped | (pause & of.sentences(replies.reversing)) | (of.turns.speaker == STRANGER)
    return Stated(dropped & of.inside, pause & of.inside)


def _unaffirmed(of: Dialogue, replies: Replies) -> Tensor:
    """Which tokens [N,L] are of statements of a doctor or guest that may not be so."""
    turn, speaker = of.turns.number, of.turns.speaker
    other = (turn[:, None, :] > turn[:, :, None]) & (speaker[:, None, :] != speaker[:, :, None])
    none = turn.shape[1] + 1
    following = turn[:, None, :].masked_fill(~other, none).amin(2)  # the turn of somebody else

    def there(which: Tensor) -> Tensor:
        return ((following[:, :, None] == turn[:, None, :]) & which[:, None, :]).any(2)

    mumbled = of.has(["hmm", "hm", "huh"]) & behind(of.words.any_of(of.ids, ["-"]), 1)
    agreed = of.has((*AGREED, "mhm")) | mumbled | (of.has(SO) & behind(of.has(PRONOUNS), 1))
    other_words = of.said & ~of.has(AFFIRMED)
    unclear = other_words | of.has(["?", ODD, PAUSE]) | of.words.negations(of.ids)
    affirmed = there(agreed) & ~there(unclear & of.inside)
    answered = any_of_group(replies.closed, turn) & (replies.no | replies.yes)
    asked = any_of_group(of.has(TALK) & of.asks, turn) & (replies.no | affirmed)
    asking = any_of_group(of.asks & of.inside, turn)
    asks_on = of.has(["can", "will", "should"]) & ahead(of.words.any_of(of.ids, ["i"]), 1)
    asks_on = there(asks_on & of.asks & (rank(of.said, turn) == 1)) & ~there(of.said & ~of.asks)
    stands = (following == none) | (affirmed & ~asking & ~replies.unsettled) | answered | asked | asks_on
    fact = of.has(["you"]) & ~ahead(of.words.any_of(of.ids, NO_FACT), 1)
    short = there((count(of.said, turn) <= SHORT) & of.said)
    by_guest = (speaker == GUEST) & there(speaker == PATIENT)
    return ((speaker == DOCTOR) | by_guest) & ~of.asks & ~stands & (of.sentences(fact) | short)


def _own(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that a doctor or guest says of themselves or of other people."""
    relative = of.sentences(of.has(RELATIVES))
    mine = of.has(["my"])
    own = of.has(OWN) & ~(mine & (of.turns.speaker == GUEST) & relative)
    planning = of.words.any_of(of.ids, PLANNING)
    short_form = ahead(of.words.any_of(of.ids, ["'"]), 1) & (ahead(planning, 2) | ahead(planning, 3))
    plans = of.has(["i"]) & (ahead(planning, 1) | short_form | ahead(of.words.any_of(of.ids, ["going"]), 2))
    plans = plans | (of.has(["me"]) & behind(of.words.any_of(of.ids, ["let"]), 1))
    own = own & ~(plans & (of.turns.speaker == DOCTOR))
    the = of.has(["the", "this"])
    others = of.has(ANYBODY) | (of.has(["patient"]) & ~behind(the, 1))
    return of.sentences(own | others) & ((of.turns.speaker == DOCTOR) | (of.turns.speaker == GUEST))


def _broken_off(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of what is broken off, and of what goes on from there."""
    turn, speaker = of.turns.number, of.turns.speaker
    same = turn[:, :, None] == turn[:, None, :]
    ends = of.has(SENTENCE_ENDS)
    place = (of.said.long()).cumsum(1)
    behind_it = same & (place[:, None, :] == place[:, :, None])
    last_word = of.said & ~(same & (place[:, None, :] > place[:, :, None]) & of.said[:, None, :]).any(2)
    broken = last_word & ~(behind_it & ends[:, None, :]).any(2)
    reversed_sentence = of.sentences(reversing)
    reversed_end = of.sentences(broken) & reversed_sentence
    exclaimed = last_word & ~(behind_it & of.has(["."])[:, None, :]).any(2) & reversed_sentence
    first = of.inside & (of.sentence == _least(of.sentence, of.said, turn))
    begins = first & of.said & ~of.has(FILLERS)
    begins = begins & ~(same & (place[:, None, :] < place[:, :, None]) & begins[:, None, :]).any(2)
    subject = any_of_group(begins & of.has(SUBJECT), turn)
    earlier = (turn[:, None, :] < turn[:, :, None]) & (speaker[:, None, :] == speaker[:, :, None])
    before = (turn[:, None, :] * (earlier & of.said[:, None, :])).amax(2)  # the speaker's last turn

    def so(which: Tensor, turns: Tensor) -> Tensor:
        return ((turns[:, :, None] == turn[:, None, :]) & which[:, None, :]).any(2)

    goes_on = so(reversed_end, before) | (so(reversed_end, turn - 1) & ~subject)
    goes_on = goes_on | (so(broken | exclaimed, before) & ~subject)
    later = (turn[:, :, None] < turn[:, None, :]) & (speaker[:, :, None] == speaker[:, None, :])
    left = reversed_end & (later & of.said[:, None, :]).any(2)
    return (first & goes_on) | left


def _least(values: Tensor, which: Tensor, group: Tensor) -> Tensor:
    """The least of the `values` [N,L] of those of `which` in the group of each token."""
    counted = (group[:, :, None] == group[:, None, :]) & which[:, None, :]
    found: Tensor = values[:, None, :].masked_fill(~counted, values.shape[1] + 1).amin(2)
    return found
