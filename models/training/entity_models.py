"""Taggers of tokens: the states of a frozen encoder, what else is known of each token, and convolutions over them.

The encoder stays as it was published, so that its states are computed once for a whole training; only the head is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.entity_lexicon import LONGEST, Marks
from models.training.novelty import Mahalanobis


@dataclass(frozen=True)
class Sizes:
    """Of a head: the width and gaps of its convolutions, of what is learnt of tokens, forms and marks, and dropout.

    What is learnt of a token is left out for the share `forgotten` of tokens, so that words that the training texts do not
    have are read by their states; a mark of the lexicon for the share `missed`.
    """

    width: int = 128
    gaps: tuple[int, ...] = (1, 2, 1)
    own: int = 32
    forms: int = 16
    marks: int = 16
    dropout: float = 0.3
    forgotten: float = 0.4
    missed: float = 0.1


class Known(NamedTuple):
    """What is known of tokens [N,L] but their states: numbers of pieces and forms [N,L], and marks [N,L,LONGEST]."""

    pieces: Tensor
    forms: Tensor
    marks: Tensor


class Pieces(nn.Module):
    """Ids of tokens to the encoder's rows, to pieces that a head learns of, and to forms such as "begins with a capital".

    `rows`, `forms` [V]; `common` are the rows of which heads learn: those of other tokens are piece 0.
    """

    rows: Tensor
    pieces: Tensor
    forms: Tensor

    def __init__(self, rows: Tensor, forms: Tensor, common: Sequence[int]) -> None:
        super().__init__()
        places = torch.zeros(int(rows.max()) + 1, dtype=torch.int64)
        places[list(common)] = 1 + torch.arange(len(common))
        self.count = 1 + len(common)
        self.kinds = 1 + int(forms.max())
        for name, each in (("rows", rows.int()), ("pieces", places[rows].int()), ("forms", forms.byte())):
            self.register_buffer(name, each[:, None])

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, pieces, forms = (
            F.embedding(ids, each)[..., 0].long() for each in (self.rows, self.pieces, self.forms)
        )
        return rows, pieces, forms


class Marked(nn.Module):
    """Marks [N,L,LONGEST] to what is learnt of them [N,L,3F]: of the runs that begin at a token, go on and end there."""

    def __init__(self, marks: int, sizes: Sizes) -> None:
        super().__init__()
        self.marks, self.missed = marks, sizes.missed
        self.learnt = nn.Embedding(LONGEST * marks, 3 * sizes.marks)
        nn.init.normal_(self.learnt.weight, std=0.3)

    def forward(self, marks: Tensor) -> Tensor:
        if self.training:
            marks = marks * (torch.rand(marks.shape) >= self.missed)
        begins, within, ends = [], [], []
        for length in range(1, LONGEST + 1):
            mark = marks[..., length - 1]
            learnt = self.learnt(mark + self.marks * (length - 1)) * (mark > 0).unsqueeze(2)
            begin, inside, end = learnt.chunk(3, 2)
            begins.append(begin)
            within += [shifted(inside, place) for place in range(1, length - 1)]
            ends.append(shifted(end, length - 1))
        return torch.cat([_total(begins), _total(within), _total(ends)], 2)


class Block(nn.Module):
    """A gated convolution over three tokens (Dauphin et al. 2017), `gap` tokens apart, added to what comes in."""

    def __init__(self, width: int, gap: int, dropout: float) -> None:
        super().__init__()
        self.gap = gap
        self.inner = nn.Linear(3 * width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, shown: Tensor) -> Tensor:
        """States [N,L,H]; shown [N,L,1], 0 for padding."""
        given = self.norm(states) * shown
        near = torch.cat([shifted(given, -self.gap), given, shifted(given, self.gap)], 2)
        return states + self.dropout(F.glu(self.inner(near), 2))


class Head(nn.Module):
    """Logits float32 [N,L,C] from states [N,L,H], what is known of the tokens, and mask int64 [N,L]."""

    def __init__(self, pieces: Pieces, states: int, marks: int, tags: int, sizes: Sizes) -> None:
        """`states` is H; `marks` how many marks the lexicon has."""
        super().__init__()
        self.own = nn.Embedding(pieces.count, sizes.own)
        nn.init.zeros_(self.own.weight)
        self.forgotten = sizes.forgotten
        self.forms = nn.Embedding(pieces.kinds, sizes.forms)
        self.marked = Marked(marks, sizes)
        self.given = nn.LayerNorm(states)
        self.dropout = nn.Dropout(sizes.dropout)
        width = sizes.width
        self.entry = nn.Linear(states + sizes.own + sizes.forms + 3 * sizes.marks, width)
        self.blocks = nn.ModuleList(Block(width, gap, sizes.dropout) for gap in sizes.gaps)
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, tags)

    def forward(self, states: Tensor, known: Known, mask: Tensor) -> Tensor:
        own = self._own(known.pieces)
        parts = [self.dropout(self.given(states)), own, self.forms(known.forms), self.marked(known.marks)]
        mixed = self.entry(torch.cat(parts, 2))
        shown = mask.unsqueeze(2).to(mixed.dtype)
        for block in self.blocks:
            mixed = block(mixed, shown)
        logits: Tensor = self.exit(self.dropout(self.norm(mixed)))
        return logits

    def _own(self, pieces: Tensor) -> Tensor:
        own: Tensor = self.own(pieces)
        if not self.training:
            return own
        return own * (torch.rand(*pieces.shape, 1) >= self.forgotten) / (1 - self.forgotten)


class Tagger(nn.Module):
    """What is exported: ids and mask int64 [N,L] to logits [N,L,C] and novelty [N,1].

    The logits are the mean of the heads' over a temperature; the novelty is that of the mean state.
    """

    def __init__(
        self, encoder: Encoder, pieces: Pieces, marks: Marks, heads: Sequence[Head], *,
        novelty: Mahalanobis, temperature: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.pieces, self.marks = encoder, pieces, marks
        self.novelty, self.temperature = novelty, temperature
        self.heads = nn.ModuleList(heads)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        rows, pieces, forms = self.pieces(input_ids)
        states = self.encoder(rows, attention_mask)
        known = Known(pieces, forms, self.marks(rows))
        logits = _total([head(states, known, attention_mask) for head in self.heads])
        novelty = self.novelty(mean_state(states, attention_mask))
        return logits / (self.temperature * len(self.heads)), novelty


def shifted(states: Tensor, places: int) -> Tensor:
    """States [N,L,H] moved to the right by so many places, to the left if negative; zeros come in."""
    if places >= 0:
        return F.pad(states, (0, 0, places, 0))[:, : states.shape[1]]
    return F.pad(states, (0, 0, 0, -places))[:, -places:]


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
