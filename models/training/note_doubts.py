"""What a dialogue leaves in doubt behind a statement or an answer, in words that name nothing themselves.

- Of a turn nothing is kept in front of a sentence that **doubts** it: one of words alone that say nothing, one of them of doubt
  (`I guess.`, `Or so I was told.`); one that begins with `or`, `minus` or `plus`; one that ends in `no` or `actually` and names
  nothing; one that gives it to an animal, to a name (`That is Mary's chart.`), or to a relative (`Well, my wife does.`).
- Nor of what the patient or a guest states, if the next turn of somebody else **contradicts** it: with a negation or a doubt
  that names nothing (`That is not what I said.`, `He does not.`), with `you mean`, or with a plain `you did` of a denial.
- Nothing is kept of a sentence that **supposes** (`Imagine you have lupus.`, `Allegedly I have lupus.`), nor of what `it`
  says behind a word of mistakes (`The chart is wrong. It says lupus.`).
- An answer without a verb to a question with a word that **turns** it (`What do you avoid?` `Warfarin.`), or that asks what
  somebody else said, is not kept.
- A question is **asked again** where the doctor goes on from its answer with a statement that repeats a word of it, or says who
  said so (`You told the nurse you did.`), and somebody answers that.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from models.training.note_fragments import EMPTY, REFERRING, Dialogue
from models.training.note_retractions import MISTAKEN, SAYING, lists
from models.training.note_tensors import ahead, any_of_group, behind, rank
from models.training.note_words import CLAUSE_ENDS, DOCTOR, PATIENT, PRONOUNS, RELATIVES, SENTENCE_ENDS

DOUBTS: Final = (
    "guess", "think", "thought", "told", "theory", "least", "maybe", "perhaps", "probably", "possibly", "forget", "imagine",
    "suppose", "supposed", "doubt", "heard", "paper", "dream", "dreams", "unsure",
)  # fmt: skip
"""Words of doubt."""
SUPPOSING: Final = (
    "suppose", "supposing", "imagine", "pretend", "assume", "assuming", "example", "supposedly", "allegedly", "dream", "dreams",
)  # fmt: skip
"""Words of a sentence that says what may not be so."""
ANIMALS: Final = ("dog", "cat", "pet", "horse", "puppy", "kitten")
TALKING: Final = ("said", "mean", "meant", "believe", "true", "so", "sure", "agree", "ha", "haha", "know")
"""Words of talk itself, which name nothing."""
DOUBTED: Final = frozenset((
    *DOUBTS, *SUPPOSING, *ANIMALS, *TALKING, "or", "plus", "too", "also", "what", "which", "let", "here", "where",
    "who", "that", "all", "everything", "you",
))  # fmt: skip
"""All words that these rules need, which the vocabulary must have."""


def doubted(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of sentences of which nothing may be kept; `reversing` as in `note_statements`."""
    supposes = of.sentences(of.has(SUPPOSING)) & ~of.asks
    return (
        supposes | _quoted(of) | _trailed(of) | _contradicted(of, reversing) | _turned(of, reversing)
    ) & of.inside


def asked_again(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of a turn whose answer the doctor goes on from with the same word, or with who said so, and
    that somebody answers."""
    turn, speaker = of.turns.number, of.turns.speaker
    content = _content(of) & (of.number == 0)
    code = of.words.codes_of(of.ids)[0]
    states = (speaker == DOCTOR) & content & ~any_of_group(of.asks & of.inside, turn)
    same = (code[:, :, None] == code[:, None, :]) & (content & of.asks)[:, :, None] & states[:, None, :]
    again = any_of_group((same & _apart(of, 2)).any(2), turn)
    told = (speaker == DOCTOR) & of.has(SAYING) & of.sentences(of.has(["you"])) & ~of.asks
    answered = (_apart(of, 3) & (of.said & (speaker != DOCTOR))[:, None, :]).any(2)
    return (again | (_apart(of, 2) & told[:, None, :]).any(2)) & answered


def _apart(of: Dialogue, turns: int) -> Tensor:
    """Of each pair of tokens [N,L,L] whether the second is so many turns behind the first."""
    return of.turns.number[:, :, None] + turns == of.turns.number[:, None, :]


def _content(of: Dialogue) -> Tensor:
    """Words that name something."""
    cut = of.words.contracted(of.ids)
    return of.said & ~of.has((*EMPTY, *DOUBTS, *SAYING, *TALKING)) & ~cut


def _nameless(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of sentences that name nothing, numbers apart."""
    return of.inside & ~of.sentences(_content(of) & (of.number == 0))


def _quoted(of: Dialogue) -> Tensor:
    """Which tokens [N,L] are of a sentence of what `it` says, behind one with a word of mistakes in the same turn."""
    same = of.turns.number[:, :, None] == of.turns.number[:, None, :]
    next_to = same & (of.sentence[:, :, None] - 1 == of.sentence[:, None, :])
    behind_it = (next_to & (of.has(MISTAKEN) & of.inside)[:, None, :]).any(2)
    return behind_it & of.sentences(of.first() & of.has([*REFERRING, "they"])) & of.sentences(of.has(SAYING))


def _trailed(of: Dialogue) -> Tensor:
    """Which tokens [N,L] stand in their turn in front of a sentence that doubts it."""
    nameless, asks = _nameless(of), of.asks
    closes = of.sentences(of.has(["that"])) & of.sentences(
        of.has(["it", "all", "everything"])
    )  # `I think that's it.`
    doubts = nameless & of.sentences(of.has(DOUBTS)) & ~closes
    opening = of.said & (rank(of.said & ~of.has(["oh", "well"]), of.sentence) == 1)
    other = of.sentences(opening & of.has(["or", "minus", "plus"])) & ~(of.turns.speaker == DOCTOR)
    stops = of.words.any_of(of.ids, SENTENCE_ENDS) | (of.ids == of.words.end) | of.turns.begins
    no = nameless & of.sentences(of.has(["no", "nope", "nah", "actually"]) & ahead(stops, 1) & ~opening)
    points = of.sentences(of.first() & of.has([*REFERRING, "they"]))
    mark = of.words.any_of(of.ids, ["'"]) & ahead(of.words.any_of(of.ids, ["s"]), 1)
    names = (*PRONOUNS, "that", "this", "what", "who", "here", "where", "let", "doctor")
    owner = of.sentences(mark & behind(of.said & ~of.has(names), 1) & (rank(of.said, of.sentence) > 1))
    too = of.sentences(of.has(["too", "also", "so", "and"]))
    kin = nameless & of.sentences(of.has(RELATIVES)) & ~too & (of.turns.speaker == PATIENT)
    states = (doubts | no | kin | (points & (owner | of.sentences(of.has(ANIMALS))))) & ~asks
    back = (states | other) & of.inside
    same = of.turns.number[:, :, None] == of.turns.number[:, None, :]
    last = (of.sentence * back)[:, None, :].masked_fill(~same, 0).amax(2)
    return (of.sentence < last) & ~asks


def _contradicted(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of statements that the next turn of somebody else contradicts."""
    speaker, turn = of.turns.speaker, of.turns.number
    negated = of.words.negations(of.ids) & of.inside
    same = turn[:, :, None] == turn[:, None, :]
    opens = of.sentence == of.sentence[:, None, :].masked_fill(
        ~(same & of.said[:, None, :]), of.sentence.shape[1] + 1
    ).amin(2)
    plain = _nameless(of) & ~of.asks & of.inside
    about = of.sentences(of.has([*REFERRING, "he", "she", "so", "what"]))
    denies = plain & about & of.sentences(negated | of.has(["doubt"]))
    mean = of.sentences(of.has(["you"]) & ahead(of.words.any_of(of.ids, ["mean", "meant"]), 1))
    who = of.has(["he", "she", "you"]) & ahead(
        of.words.any_of(of.ids, ["do", "does", "did", "has", "is", "was"]), 1
    )
    ends = of.words.any_of(of.ids, CLAUSE_ENDS) | (of.ids == of.words.end) | of.turns.begins
    does = plain & of.sentences(who & ahead(ends, 2)) & ~of.sentences(negated)
    other = _apart(of, 1) & (speaker[:, :, None] != speaker[:, None, :])

    def followed(which: Tensor) -> Tensor:
        return (other & which[:, None, :]).any(2)

    back = followed((denies | mean) & opens) | (followed(does & opens) & of.sentences(reversing))
    return back & (speaker != DOCTOR) & ~of.asks


def _turned(of: Dialogue, reversing: Tensor) -> Tensor:
    """Which tokens [N,L] are of answers without a verb to questions that a word turns."""
    says = of.has(SAYING) & ~behind(of.words.any_of(of.ids, ["you"]), 1)
    turns = of.asks & of.sentences(of.has(["what", "which"])) & of.sentences(reversing | says)
    preceded = (_apart(of, -1) & (turns & of.inside)[:, None, :]).any(2)
    return preceded & lists(of) & ~of.asks & (of.turns.speaker != DOCTOR)
