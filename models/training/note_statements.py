"""What a dialogue states that may not be so: what was not affirmed, what is broken off, and what people say of themselves.

- What the **doctor** states, and what a guest states in front of the patient, is kept only if nobody else speaks behind it; if
  all words of the next turn of somebody else are of `AFFIRMED` (`Yes.`, `That's right`, `I do.`), and the turn asks nothing but
  whether it is so (`CLOSING`); or in front of `Any questions?` `No.` Any other turn may say that it is not so: `Used to.`, `New
  to me.`, `Do I?`, and no list has all of these; and the answer to another question affirms nothing. A list needs more than
  `Okay`, and nothing stands beside a negation in front of `Yes` or `I do`. What a doctor tells a clinician where no patient
  speaks is kept, too, in front of a question about `she` or `he`. Plans and orders (`I'll order`, `Take the ...`) state
  nothing that is so: they are kept, whole (`I suggest lupus.`), unless the next turn may refuse them.
- Of a doctor and of guests nothing is kept that they say in the **first person** or of other patients and people; but for what
  a doctor plans (`I'll order`, `I recommend`, `let me`).
- A turn without a stop at its end is **broken off**. If its last sentence has a negation, nothing is kept of that, nor of the
  first sentence of the next turn and of the speaker's next one; without a negation, or with one in front of `!` or `?`, not of
  the speaker's next one unless that begins with a subject.
- Nothing is kept of a sentence with a doubtful stop and a negation; without one it is kept whole or not at all.
- Nothing is kept of turns of somebody whose label is unknown, nor of what `note_retractions` says.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor

from models.training.note_doubts import DOUBTED, doubted
from models.training.note_fragments import REFERRING, Dialogue
from models.training.note_retractions import RETRACTING, lists, retracted
from models.training.note_stops import PAUSE
from models.training.note_tensors import ahead, any_of_group, behind, count, numbered
from models.training.note_texts import ODD
from models.training.note_words import (
    DOCTOR,
    FILLERS,
    GUEST,
    PATIENT,
    PRONOUNS,
    RELATIVES,
    SENTENCE_ENDS,
    STRANGER,
)

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
YES: Final = ("yes", "yeah", "yep", "yup", "yea")
"""Words that may affirm or contradict what has a negation: `You never smoked.` `Yes.`"""
SURELY: Final = (*YES, "correct", "right", "exactly", "absolutely", "definitely", "certainly", "true")
"""Words that affirm a list, which `Okay` only hears."""
PLANNING: Final = (
    "will", "ll", "would", "d", "want", "recommend", "suggest", "refer", "think", "believe", "see", "going", "looking",
    "understand",
)  # fmt: skip
"""Words behind the `I` of a doctor that do not say what they have or take."""
WILL: Final = ("will", "want", "recommend", "suggest", "refer")
INSTRUCTING: Final = ("take", "use", "start", "avoid", "follow", "please")
GOING_ON: Final = (
    "continue", "continuing", "keep", "stop", "stopping", "still", "again", "increase", "decrease", "refill", "resume", "note",
    "say", "back",
)  # fmt: skip
"""Words of a plan that says what was so before it."""
IS_SO: Final = (
    "have",
    "had",
    "has",
    "take",
    "took",
    "are",
    "were",
    "use",
    "used",
    "do",
    "did",
    "never",
    "smoke",
    "drink",
)
"""Words behind a `you` of which something is said that is or was so."""
REFUSING: Final = (
    "what", "whose", "which", "who", "why", "but", "allergic", "rather", "wrong", "instead", "mistake", "stop", "stopped",
    "already", "woman", "man", "somebody", "someone", "another",
)  # fmt: skip
"""Words of a turn that may refuse what was planned in the one before it."""
CLOSING: Final = (
    "is", "are", "am", "was", "were", "do", "does", "did", "have", "has", "had", "this", "that", "it", "these", "those",
    "them", "they", "so", "i", "you", "we", "right", "correct", "correctly", "true", "accurate", "okay", "ok", "alright",
    "still", "now", "take", "taking", "remember", "recall", "understand", "understood", "agree", "make", "sense", "sound",
    "good", "fine", "reading", "got", "yes", "and", "with",
)  # fmt: skip
"""All words of a question that asks whether what was stated is so."""
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
STATED: Final = frozenset((
    *AFFIRMED, *CLOSING, *TALK, *OWN, *ANYBODY, *SUBJECT, *PLANNING, *SURELY, *RETRACTING, *WILL, *INSTRUCTING, *REFUSING,
    *IS_SO, *GOING_ON, *DOUBTED, "let", "like", "clinician",
))  # fmt: skip
"""All words that these rules need, which the vocabulary must have."""


class Stated(NamedTuple):
    """Of each token [N,L]: whether nothing may be kept of its sentence, and whether that is kept whole or not at all."""

    dropped: Tensor
    whole: Tensor


class Replies(NamedTuple):
    """Of each token [N,L] whether the next turn plainly denies; whether that may be taken back; and where words deny or
    reverse, particles included."""

    no: Tensor
    unsettled: Tensor
    reversing: Tensor


def stated(of: Dialogue, replies: Replies) -> Stated:
    """See the module."""
    pause = of.sentences(of.has([PAUSE]))
    dropped = _unaffirmed(of, replies) | _own(of) | _broken_off(of, replies.reversing)
    dropped = (
        dropped
        | doubted(of, replies.reversing)
        | retracted(of, replies.reversing)
        | (of.turns.speaker == STRANGER)
    )
    dropped = dropped | (pause & of.sentences(replies.reversing))
    plans = (_plans(of) | of.sentences(of.has(["i", "me"]))) & (of.turns.speaker == DOCTOR)
    return Stated(dropped & of.inside, (pause | plans) & of.inside)


def _unaffirmed(of: Dialogue, replies: Replies) -> Tensor:
    """Which tokens [N,L] are of statements of a doctor or guest that may not be so."""
    speaker = of.turns.speaker
    turn = numbered(
        of.turns.begins & (speaker != behind(speaker, 1))
    )  # one of all turns in a row of one speaker
    other = (turn[:, None, :] > turn[:, :, None]) & (speaker[:, None, :] != speaker[:, :, None])
    none = turn.shape[1] + 1
    following = turn[:, None, :].masked_fill(~other, none).amin(2)  # the turn of somebody else

    def there(which: Tensor) -> Tensor:
        return ((following[:, :, None] == turn[:, None, :]) & which[:, None, :]).any(2)

    hums = of.has(["hmm", "hm", "huh"]) & behind(of.words.any_of(of.ids, ["-"]), 1)
    so = of.has(SO) & behind(of.has(PRONOUNS), 1)
    others = of.has(["he", "she", "they"]) & (speaker == PATIENT)
    own = of.has(OWN) & (speaker == GUEST)  # a guest's `I do` is of themselves
    unclear = (
        (of.said & ~of.has(AFFIRMED)) | others | own | of.has(["?", ODD, PAUSE]) | of.words.negations(of.ids)
    )
    clear = ~there(unclear & of.inside) & ~replies.unsettled
    affirmed = there(of.has((*AGREED, "mhm")) | hums | so) & clear
    surely = there(of.has(SURELY) | so) & clear
    denies = any_of_group(of.words.negations(of.ids) & of.inside, turn)
    affirmed, surely = (each & ~(denies & there(of.has(YES) | so)) for each in (affirmed, surely))
    affirmed = affirmed & (surely | ~lists(of))
    marks = of.has(["?"])
    asking, single = any_of_group(marks, turn), count(marks, turn) == 1
    closing = single & ~any_of_group(of.asks & of.said & ~of.has(CLOSING), turn)
    points = any_of_group(of.asks & of.has(REFERRING), turn)
    asked = any_of_group(of.has(TALK) & of.asks, turn) & single & ~points & (replies.no | affirmed)
    stands = ((following == none) & ~asking) | (affirmed & (closing | ~asking)) | asked
    refused = there((of.words.negations(of.ids) | of.has(REFUSING)) & of.inside)
    asks_on = of.has(["he", "she", "her", "his"]) & ~_any(of, speaker == PATIENT) & _any(of, _clinician(of))
    asks_on = there(asks_on) & ~there((of.said & ~of.asks) | of.has(["you", "that", "sure"]))
    stands = stands | ((_plans(of) | asks_on) & ~refused)
    by_guest = (speaker == GUEST) & there(speaker == PATIENT)
    return ((speaker == DOCTOR) | by_guest) & ~of.asks & ~stands


def _any(of: Dialogue, which: Tensor) -> Tensor:
    """Whether [N,1] there is one of `which`, with the names of speakers."""
    return (which & (of.turns.number > 0)).any(1, keepdim=True)


def _clinician(of: Dialogue) -> Tensor:
    """Where `Guest_clinician` is named."""
    return of.words.any_of(of.ids, ["clinician"]) & of.turns.names


def _plans(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that say what will or should be done, and nothing of `you` that is so."""
    going = of.words.any_of(of.ids, WILL)
    short = ahead(of.words.any_of(of.ids, ["'"]), 1) & ahead(of.words.any_of(of.ids, ["ll"]), 2)
    to_do = of.words.any_of(of.ids, ["going"])
    plans = of.has(["i", "we"]) & (ahead(going, 1) | short | ahead(to_do, 2) | ahead(to_do, 3))
    like = of.words.any_of(of.ids, ["like"])
    plans = plans | (of.has(["i", "we"]) & (ahead(like, 2) | ahead(like, 3)))
    plans = plans | (of.has(["me", "us"]) & behind(of.words.any_of(of.ids, ["let"]), 1))
    fact = of.has(GOING_ON) | (of.has(["you"]) & ahead(of.words.any_of(of.ids, ("'", *IS_SO)), 1))
    return of.sentences(plans | (of.first() & of.has(INSTRUCTING))) & ~of.sentences(fact)


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
    return of.sentences(own | of.has(ANYBODY)) & ((of.turns.speaker == DOCTOR) | (of.turns.speaker == GUEST))


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
