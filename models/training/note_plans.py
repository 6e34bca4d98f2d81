"""The note that is made of a dialogue's own words: which words are kept, and what stands between them.

Words are chosen by a network (`note_writing`); what is here learns nothing. All of it is tensor operations, so that it becomes
part of the encoder's graph. A note has words of the dialogue in their order and nothing else but:

- a full stop where a new turn begins, and a comma between clauses of one turn;
- a negation of a clause (`no`, `not`, `don't`), which is kept wherever a word behind it in its clause is;
- what turns the meaning of a clause, as relatives, allergies and what was stopped, which is kept wherever a word of it is;
- `no` in front of what is kept of a question that is answered by a negation. Of a question of yes or no that is answered by
  neither, or that nobody answers, nothing is kept: its words would say that it is so;
- what stands inside of words as `year-old` and `10/10`, and all of a number of which a part is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.training.note_texts import POINT

SPEAKERS = ("doctor", "patient", "guest")
NEGATIONS = (
    "no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "denies", "nope", "nah", "cannot",
    "negative", "denied",
)  # fmt: skip
TURNING = (
    "mother", "mom", "father", "dad", "parents", "brother", "sister", "siblings", "aunt", "uncle", "cousin", "son", "daughter",
    "grandmother", "grandfather", "grandparents", "wife", "husband", "family", "allergic", "allergy", "allergies", "stopped",
    "quit", "former", "formerly", "ruled",
)  # fmt: skip
POLAR = (
    "do", "does", "did", "are", "is", "was", "were", "am", "have", "has", "had", "can", "could", "will", "would",
    "any", "anything", "anyone", "anybody",
)  # fmt: skip
CLAUSE_ENDS = (".", ",", "?", "!", ";")
GLUE = ("-", "/", "'", POINT, "%")
NUMERALS = ("hundred", "thousand", "million", "point", "half")
JOINING = ("/", POINT, "and", "over")  # between parts of a number
OPENING = 6  # tokens of an answer, in which it denies
UNKNOWING = (
    "sure",
    "certain",
    "know",
    "remember",
    "recall",
    "only",
    "just",
    "idea",
    "clue",
    "problem",
    "worries",
)
AGREEING = ("yes", "yeah", "yep", "yup", "yea", "sure", "correct", "right", "absolutely")
LEAST_SURE = 0.51  # of what is kept, so that what follows it is less likely; and of a note without words


class Turns(NamedTuple):
    """Of each token [N,L]: whether a turn begins at it, whether it names the speaker, and the number of its turn from 1 (0
    before the first) and of who speaks (1 + place in SPEAKERS, 0 for nobody)."""

    begins: Tensor
    names: Tensor
    number: Tensor
    speaker: Tensor


class Plan(NamedTuple):
    """What is written: ids int64 and how sure each is, float32, both [N,L], behind the last of them `end` and 1.

    What must not be left out alone is wholly sure: parts of words and numbers, and all of a turn with a negation.
    """

    ids: Tensor
    sure: Tensor


class Wording(nn.Module):
    """Knows which tokens are what. `tokenizer` is of word pieces in small letters."""

    continues: Tensor
    spoken: Tensor
    digits: Tensor

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        names = [tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size())]
        self._id = {name: token for token, name in enumerate(names)}
        self.register_buffer("continues", torch.tensor([name.startswith("##") for name in names]))
        self.register_buffer(
            "spoken", torch.tensor([name.removeprefix("##")[:1].isalnum() for name in names])
        )
        self.register_buffer(
            "digits", torch.tensor([name.removeprefix("##")[:1].isdigit() for name in names])
        )
        self.end, self.pad = self._id["[SEP]"], self._id["[PAD]"]

    def any_of(self, ids: Tensor, names: Sequence[str]) -> Tensor:
        """Whether each token is one of those named."""
        found = torch.zeros_like(ids, dtype=torch.bool)
        for name in names:
            if name in self._id:
                found = found | (ids == self._id[name])
        return found

    def turns(self, ids: Tensor) -> Turns:
        """Where turns begin: `Doctor:`, `Patient:`, `Guest_family:`."""
        colon = self.any_of(ids, [":"])
        speaker, names = torch.zeros_like(ids), torch.zeros_like(colon)
        for number, name in enumerate(SPEAKERS, 1):
            length = 3 if name == "guest" else 1  # guest, _, who
            begins = self.any_of(ids, [name]) & ahead(colon, length)
            if name == "guest":
                begins = begins & ahead(self.any_of(ids, ["_"]), 1)
            speaker = speaker + number * begins.to(ids.dtype)
            for step in range(length + 1):
                names = names | behind(begins, step)
        begins = speaker > 0
        number = torch.cumsum(begins.to(ids.dtype), 1)
        same = (number[:, :, None] == number[:, None, :]).float()
        return Turns(begins, names, number, (same @ speaker.float()[..., None])[..., 0].round().to(ids.dtype))

    def may_be_kept(self, ids: Tensor, mask: Tensor, turns: Turns) -> Tensor:
        """Whether a token is of a word that somebody says."""
        return self.inside(ids, mask, turns) & self.spoken[ids]

    def inside(self, ids: Tensor, mask: Tensor, turns: Turns) -> Tensor:
        """Whether a token is of what somebody says, words and marks."""
        return (mask > 0) & (turns.number > 0) & ~turns.names & (ids != self.end)

    def forward(self, ids: Tensor, mask: Tensor, chance: Tensor, length: Tensor) -> Plan:
        """The note of the words that are worth it: `chance` [N,L] of each, by its first piece, and the words of a note [N]."""
        turns, first = self.turns(ids), ~self.continues[ids]
        word = torch.cumsum(first.long(), 1)
        same = (word[:, :, None] == word[:, None, :]).float()
        chance = (same @ (chance * first.float())[..., None])[..., 0]
        worth = torch.where(self.may_be_kept(ids, mask, turns), chance, torch.zeros_like(chance))
        limit = best_limit(torch.where(first, worth, torch.zeros_like(worth)), length)[:, None]
        kept = any_of_group((worth >= limit) & (worth > 0) & first, word)
        sure = torch.sigmoid(torch.logit(chance, 1e-4) - torch.logit(limit, 1e-4))
        return self.written(ids, mask, turns, kept, sure)

    def written(self, ids: Tensor, mask: Tensor, turns: Turns, kept: Tensor, sure: Tensor) -> Plan:
        """The plan of the words that are kept, with what stands between them."""
        inside = self.inside(ids, mask, turns)
        denied, unanswered = self.asked(ids, turns)
        kept = kept & ~unanswered
        digits = self.digits[ids]
        plain = digits | self.any_of(ids, NUMERALS)
        joins = self.any_of(ids, JOINING) & behind(plain, 1) & ahead(plain, 1)
        numeral = inside & (plain | joins | (self.any_of(ids, ["one", "a"]) & ahead(plain & ~digits, 1)))
        kept = kept | (numeral & any_of_group(kept & numeral, torch.cumsum((~numeral).long(), 1)))
        stops = self.any_of(ids, CLAUSE_ENDS) & inside
        glue = self.any_of(ids, GLUE) & inside & behind(kept, 1) & ahead(kept, 1)
        clause = torch.cumsum(((stops & ~glue) | turns.begins).to(ids.dtype), 1)
        negations = self.negations(ids)[0] & inside & later(kept, clause)
        turning = self.any_of(ids, TURNING) & inside & any_of_group(kept, clause)
        kept = kept | glue | negations | turning
        before = latest(kept)
        comma = stops & ~kept & (before > latest(stops & ~kept | turns.names)) & later(kept, turns.number)
        full = (turns.begins | (ids == self.end)) & (before > latest(turns.begins))
        no = behind(turns.begins, 1) & denied & later(kept, turns.number)
        out = ids
        for which, name in ((comma, ","), (full, "."), (no, "no")):
            out = torch.where(which, self._id[name], out)
        between = comma | full | no
        whole = between | glue | self.continues[ids] | numeral | any_of_group(negations | no, turns.number)
        fixed = whole | turning | ahead(self.continues[ids] | glue, 1) | behind(glue, 1)
        sure = torch.where(fixed, torch.ones_like(sure), sure.clamp(min=LEAST_SURE))
        return self.listed(kept | between, out, sure)

    def listed(self, kept: Tensor, ids: Tensor, sure: Tensor) -> Plan:
        """Those that are kept, brought to the front."""
        place = torch.where(kept, torch.cumsum(kept.long(), 1) - 1, ids.shape[1] - 1)
        behind_all = torch.cumsum(torch.ones_like(ids), 1) > kept.long().sum(1, keepdim=True)
        blank, whole = torch.full_like(ids, self.end), torch.ones_like(sure)
        found = blank.scatter(1, place, torch.where(kept, ids, blank))
        shares = whole.scatter(1, place, torch.where(kept, sure, whole))
        listed, sure = torch.where(behind_all, blank, found), torch.where(behind_all, whole, shares)
        first = torch.cumsum(whole, 1)
        empty = ~kept.any(1, keepdim=True)
        listed = torch.where(empty & (first == 2), self.pad, listed)  # what else might follow
        return Plan(listed, torch.where(empty & (first == 1), LEAST_SURE, sure))

    def negations(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of negations, and the last of each: `don't` has three."""
        begins = ahead(self.any_of(ids, ["'"]), 1) & ahead(self.any_of(ids, ["t"]), 2)
        alone = self.any_of(ids, NEGATIONS)
        return alone | begins | behind(begins, 1) | behind(begins, 2), alone | behind(begins, 2)

    def asked(self, ids: Tensor, turns: Turns) -> tuple[Tensor, Tensor]:
        """Whether a token is in a question of the doctor's that the next turn denies; and in one that nobody answers.

        A turn denies if its first clause, or what is behind an `Oh,`, has a negation early, without a `yes` in front. It
        does not answer if that is of knowledge, as in "not sure"; nor, if the question begins as one of yes or no, if it has
        neither.
        """
        stops, colon = self.any_of(ids, CLAUSE_ENDS), self.any_of(ids, [":"]) & turns.names
        spoken = latest(colon)
        since = torch.cumsum(torch.ones_like(ids), 1) - spoken
        opening = (since <= OPENING) & (latest(stops & (since > 2)) <= spoken) & ~turns.names
        denied, unknown = self.negations(ids)[1] & opening, ahead(self.any_of(ids, UNKNOWING), 1)
        agreed = self.any_of(ids, AGREEING) & (since <= 2) & ~behind(denied, 1)
        number = turns.number
        same = number[:, :, None] == number[:, None, :]
        following = number[:, :, None] + 1 == number[:, None, :]
        question = (same & self.any_of(ids, ["?"])[:, None, :]).any(2) & (turns.speaker == 1)
        of_answer = (denied & ~unknown, denied & unknown, agreed)
        no, unsure, yes = ((following & which[:, None, :]).any(2) for which in of_answer)
        polar = any_of_group(self.any_of(ids, POLAR) & behind(stops | colon, 1), number)
        left_open = (unsure & ~yes) | (number == number.amax(1, keepdim=True)) | (polar & ~yes & ~no)
        return question & no & ~yes, question & left_open


def behind(values: Tensor, steps: int) -> Tensor:
    """Of each token what the one so many steps in front of it has; false or 0 for the first."""
    length = values.shape[1]
    return torch.cat([torch.zeros_like(values[:, :1])] * steps + [values], 1)[:, :length] if steps else values


def ahead(values: Tensor, steps: int) -> Tensor:
    """Of each token what the one so many steps behind it has; false or 0 for the last."""
    return torch.cat([values] + [torch.zeros_like(values[:, :1])] * steps, 1)[:, steps:]


def latest(which: Tensor) -> Tensor:
    """The place, from 1, of the last of `which` [N,L] in front of each token; 0 if there is none."""
    at = torch.cumsum(torch.ones_like(which, dtype=torch.int64), 1)
    return torch.where(which[:, None, :] & (at[:, None, :] < at[:, :, None]), at[:, None, :], 0).amax(2)


def later(which: Tensor, group: Tensor) -> Tensor:
    """Whether behind each token [N,L] there is one of `which` in the same group."""
    at = torch.cumsum(torch.ones_like(which, dtype=torch.int64), 1)
    same = (group[:, :, None] == group[:, None, :]) & (at[:, None, :] > at[:, :, None])
    return (same & which[:, None, :]).any(2)


def any_of_group(which: Tensor, group: Tensor) -> Tensor:
    """Whether there is one of `which` [N,L] in the group of each token."""
    return ((group[:, :, None] == group[:, None, :]) & which[:, None, :]).any(2)


def best_limit(chance: Tensor, length: Tensor) -> Tensor:
    """The least chance [N] of a word that is kept: the F1 that is expected for a note of `length` words is best."""
    sorted_chance = torch.sort(chance, 1, descending=True).values
    count = torch.cumsum(torch.ones_like(chance), 1)
    expected = 2 * torch.cumsum(sorted_chance, 1) / (count + length[:, None])
    return sorted_chance.gather(1, expected.argmax(1, keepdim=True))[:, 0]
