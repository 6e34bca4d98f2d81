"""The note that is made of a dialogue's own words: which words are kept, and what stands between them.

Words are chosen by a network (`note_writing`); what is here learns nothing. All of it is tensor operations, so that it becomes
part of the encoder's graph. A note has words of the dialogue in their order and nothing else but:

- a full stop where a sentence ends, and a comma between clauses;
- what `note_denials` says of negations and of answers to questions, with `no` in front of what is asked and denied;
- what turns the meaning of a clause, as relatives and allergies, which is kept wherever a word of it is;
- what stands inside of words as `year-old`, and all of a number of which a part is kept.

Two numbers never come to stand beside each other, as in `10 (ten) mg` or `It was 8, now 3`: nothing is kept of their sentences.
Of a text that does not look English nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.training.made_up import drug_names
from models.training.note_denials import RULED, answered, particles, sentences, whole_denials
from models.training.note_fragments import SECOND
from models.training.note_tensors import (
    ahead,
    any_of_group,
    behind,
    beside,
    best_limit,
    later,
    latest,
    rank,
)
from models.training.note_words import (
    CLAUSE_ENDS,
    ENGLISH,
    GLUE,
    GUEST_PIECES,
    SENTENCE_ENDS,
    TURNING,
    Turns,
    Words,
)

LEAST_ENGLISH = 0.15  # share of the words of a text that are ENGLISH
PASSES = 3
LEAST_SURE = 0.51  # of what is kept, so that what follows it is less likely; and of a note without words


class Plan(NamedTuple):
    """What is written: ids int64 and how sure each is, float32, both [N,L], behind the last of them `end` and 1.

    What must not be left out alone is wholly sure: parts of words and numbers, and all of a sentence with a negation.
    """

    ids: Tensor
    sure: Tensor


class Wording(Words):
    """Makes the plan of a note."""

    def __init__(self, tokenizer: Tokenizer, conditions: Iterable[str]) -> None:
        """`conditions` are words by which diseases and what causes them are named."""
        super().__init__(tokenizer, RULED, drug_names(), conditions)

    def forward(self, ids: Tensor, mask: Tensor, chance: Tensor, length: Tensor) -> Plan:
        """The note of the words that are worth it: `chance` [N,L] of each, by its first piece, and the words of a note [N]."""
        ids = self.forms(ids)
        turns, first = self.turns(ids, GUEST_PIECES), ~self.continues[ids]
        word = torch.cumsum(first.long(), 1)
        same = (word[:, :, None] == word[:, None, :]).float()
        chance = (same @ (chance * first.float())[..., None])[..., 0]
        worth = torch.where(self.may_be_kept(ids, mask, turns), chance, torch.zeros_like(chance))
        limit = best_limit(torch.where(first, worth, torch.zeros_like(worth)), length)[:, None]
        kept = any_of_group((worth >= limit) & (worth > 0) & first, word)
        sure = torch.sigmoid(torch.logit(chance, 1e-4) - torch.logit(limit, 1e-4))
        kept = kept & self.is_english(ids, mask, turns)
        return self.written(ids, mask, turns, kept, sure)

    def is_english(self, ids: Tensor, mask: Tensor, turns: Turns) -> Tensor:
        """Whether [N,1] enough of the words are ENGLISH."""
        said = self.may_be_kept(ids, mask, turns) & ~self.continues[ids]
        known = said & self.any_of(ids, ENGLISH)
        return known.sum(1, keepdim=True) >= LEAST_ENGLISH * said.sum(1, keepdim=True)

    def written(self, ids: Tensor, mask: Tensor, turns: Turns, kept: Tensor, sure: Tensor) -> Plan:
        """The plan of the words that are kept, with what stands between them."""
        inside = self.inside(ids, mask, turns)
        of = sentences(self, ids, inside, turns)
        number = self.numbers(ids, inside)
        answers = answered(self, ids, inside, turns, of, number)
        asked = answers.asked & any_of_group(kept & answers.asked, of.number)
        kept = kept & ~answers.dropped & ~particles(self, ids, of)
        kept = kept | ((number > 0) & any_of_group(kept & (number > 0), number))
        denials, reversed_parts = whole_denials(self, ids, inside, of, kept, answers.whole)
        denials = denials & (kept | ~answers.spare)
        addressed = of.asks & self.any_of(ids, SECOND)
        kept, denials = kept & ~addressed, denials & ~addressed
        spoken = inside & self.spoken[ids] & ~addressed
        ends = self.any_of(ids, CLAUSE_ENDS) & inside
        glue = self.any_of(ids, GLUE) & inside & behind(spoken, 1) & ahead(spoken, 1)
        open_words = kept & ~reversed_parts & ~answers.asked
        taken = any_of_group((open_words | denials) & inside, of.number) & ends  # a full stop is due here
        asked = asked & ~any_of_group(asked & behind(taken, 1), of.number)
        denials = denials & ~answers.dropped
        whole = (asked | denials) & (spoken | glue | (number > 0))
        kept = whole | open_words
        glue = glue & behind(kept, 1) & ahead(kept, 1)
        turning = (
            self.any_of(ids, TURNING)
            & inside
            & any_of_group(kept, of.number)
            & ~answers.dropped
            & ~reversed_parts
        )
        kept = kept | glue | self.of_words(turning, ids)
        but = self.any_of(ids, ["but"]) & (rank(kept, of.number) > 0) & later(kept, of.number)
        kept = kept | but
        for _ in range(PASSES):  # what is left out may bring others together
            together = any_of_group(beside(kept & (spoken | (number > 0)), number), of.number)
            kept, asked = kept & ~together, asked & ~together
        several = rank(kept & (number > 0) & (number != behind(number, 1)), of.number) > 1
        fixed = (
            (whole & ~answers.spare) | glue | turning | but | (number > 0) | any_of_group(several, of.number)
        )
        return self.marked(ids, turns, kept, asked & answers.denied, (ends & ~kept, of.number), (fixed, sure))

    def marked(  # noqa: PLR0917 - the parts of one plan
        self,
        ids: Tensor,
        turns: Turns,
        kept: Tensor,
        asked: Tensor,
        stops: tuple[Tensor, Tensor],
        chosen: tuple[Tensor, Tensor],
    ) -> Plan:
        """The plan with its marks, and `no` in front of what is `asked` and denied."""
        (ends, sentence), (fixed, sure) = stops, chosen
        before = latest(kept)
        no = ahead(asked & ~behind(asked, 1), 1) & ~kept
        end = self.any_of(ids, SENTENCE_ENDS) & ends
        full = (end & (rank(kept, sentence) > 0)) | (
            (turns.begins | (ids == self.end)) & (before > latest(end | turns.begins))
        )
        comma = ends & ~end & (rank(kept, sentence) > 0) & (before > latest(ends)) & later(kept, sentence)
        no = no & ~full
        out = ids
        for which, name in ((comma, ","), (full, "."), (no, "no")):
            out = torch.where(which, self.id_of(name), out)
        between = comma | full | no
        fixed = fixed | between | self.continues[ids] | ahead(self.continues[ids], 1)
        sure = torch.where(fixed, torch.ones_like(sure), sure.clamp(min=LEAST_SURE))
        return self.listed(kept | between, self.first[out], sure)

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
