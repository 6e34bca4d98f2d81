"""Classifiers of texts: heads on the states of a frozen encoder and on n-grams, all in one graph.

Each head gives scores [N,C]; a classifier's logits are their weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.novelty import Mahalanobis

HASHES = 1000003  # a prime: n-grams share a number by chance once in a million
LONGEST = 3  # tokens of an n-gram


class Constants(nn.Module):
    """A part of a graph that is given its numbers, by name, and learns none."""

    def __init__(self, **numbers: Tensor) -> None:
        super().__init__()
        for name, each in numbers.items():
            self.register_buffer(name, each)


def greatest_state(states: Tensor, mask: Tensor) -> Tensor:
    """The greatest over the tokens of a text: [N,L,H] and [N,L] to [N,H]."""
    return (states - (1 - mask.unsqueeze(2).to(states.dtype)) * 1e4).amax(1)


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """States [N,L,H] and mask [N,L] to their mean and their greatest [N,2H]."""
    return torch.cat([mean_state(states, mask), greatest_state(states, mask)], 1)


def hashed_n_grams(ids: Tensor) -> list[Tensor]:
    """Hashes of the single ids, pairs and triples of neighbours: ids [N,L] to [N,L], [N,L-1] and [N,L-2] below HASHES."""
    hashed, found = torch.zeros_like(ids), []
    for length in range(LONGEST):
        count = ids.shape[1] - length
        hashed = (hashed[:, :count] * 7919 + ids[:, length:] + 1) % HASHES
        found.append(hashed)
    return found


class NGrams(Constants):
    """Scores [N,C] from ids and mask [N,L]: each known n-gram has a weight for each class, and so has each of `tokens` [V,C].

    `places` int16 [S] has the row of `weights` [R,C], less 2^15, of each hash below S; row 0, all zeros, is of unknown
    n-grams. N-grams of equal hash share a row (Weinberger et al. 2009).
    """

    places: Tensor
    weights: Tensor
    tokens: Tensor
    offset: Tensor

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        norm = mask.sum(1, keepdim=True).float().clamp(min=1.0).sqrt()
        shown = mask.unsqueeze(2).float()
        total = self.offset + (F.embedding(ids, self.tokens) * shown).sum(1) / norm
        for length, hashed in enumerate(hashed_n_grams(ids)):
            rows = (
                F.embedding(hashed % len(self.places), self.places.unsqueeze(1))[..., 0].to(torch.int64)
                + 2**15
            )
            shown = mask[:, length:].float()
            total = total + (F.embedding(rows, self.weights) * shown.unsqueeze(2)).sum(1) / norm
        return total


class Pooled(Constants):
    """Scores [N,C] of the pooled states of an encoder [N,2H]."""

    weights: Tensor
    offset: Tensor

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        scores: Tensor = pooled(states, mask) @ self.weights + self.offset
        return scores


class Convolved(nn.Module):
    """Scores [N,C] of states [N,L,H]: a layer over three tokens, its mean and greatest, a linear layer (Kim 2014).

    States are brought to one scale by `mean` and `scale` [H].
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.inner, self.outer = nn.Linear(3 * len(mean), width), nn.Linear(2 * width, classes)
        self.dropout_in, self.dropout_out = nn.Dropout(0.2), nn.Dropout(0.4)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        shown = mask.unsqueeze(2).to(states.dtype)
        padded = F.pad(self.dropout_in((states - self.mean) / self.scale) * shown, (0, 0, 1, 1))
        hidden = F.gelu(self.inner(torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2))).float()
        mean = (hidden * shown).sum(1) / shown.sum(1).clamp(min=1.0).sqrt()
        scores: Tensor = self.outer(self.dropout_out(torch.cat([mean, greatest_state(hidden, mask)], 1)))
        return scores


class Averaged(nn.Module):
    """The mean scores of several heads."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([head(states, mask) for head in self.heads]).mean(0)


class TextClassifier(nn.Module):
    """What is exported: ids and mask int64 [N,L] to probabilities [N,C] and novelty [N,1].

    The logits are the scores of the head on the encoder's states and of the n-grams of tokens, if any, each times its weight.
    """

    def __init__(
        self,
        encoder: Encoder,
        of_states: nn.Module,
        n_grams: NGrams | None,
        novelty: Mahalanobis,
        weights: Sequence[float],
    ) -> None:
        super().__init__()
        self.encoder, self.novelty = encoder, novelty
        self.of_states, self.n_grams = of_states, n_grams
        self.weights = tuple(weights)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.encoder(input_ids, attention_mask)
        logits = self.weights[0] * self.of_states(states, attention_mask)
        if self.n_grams is not None:
            logits = logits + self.weights[1] * self.n_grams(input_ids, attention_mask)
        return torch.softmax(logits, 1), self.novelty(mean_state(states, attention_mask))
