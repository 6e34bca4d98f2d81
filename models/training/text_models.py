"""Classifiers of texts: linear heads on the states of a frozen encoder and on n-grams of tokens, both in one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.novelty import Mahalanobis


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """States [N,L,H] and mask [N,L] to their mean and their greatest [N,2H]."""
    hidden = (1 - mask.unsqueeze(2).to(states.dtype)) * -1e4
    return torch.cat([mean_state(states, mask), (states + hidden).amax(1)], 1)


def hashed_n_grams(ids: Tensor, buckets: int) -> list[Tensor]:
    """The rows of tokens, pairs and triples of neighbours: ids [N,L] to [N,L], [N,L-1] and [N,L-2] below `buckets`.

    N-grams share rows by a hash of their ids (Weinberger et al. 2009).
    """
    hashed, found = torch.zeros_like(ids), []
    for length in range(3):
        count = ids.shape[1] - length
        hashed = (hashed[:, :count] * 7919 + ids[:, length:] + 1) % 1000003
        found.append(hashed % buckets)
    return found


class NGrams(nn.Module):
    """Scores [N,C] from ids and mask [N,L]: each n-gram has a weight for each class."""

    weights: Tensor
    offset: Tensor

    def __init__(self, weights: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("offset", offset)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        total = self.offset.expand(ids.shape[0], -1)
        norm = mask.sum(1, keepdim=True).float().clamp(min=1.0).sqrt()
        for length, places in enumerate(hashed_n_grams(ids, self.weights.shape[0])):
            shown = mask[:, length:].float()
            total = total + (F.embedding(places, self.weights) * shown.unsqueeze(2)).sum(1) / norm
        return total


class Pooled(nn.Module):
    """Scores [N,C] from the pooled states of an encoder."""

    weights: Tensor
    offset: Tensor

    def __init__(self, weights: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("offset", offset)

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weights + self.offset


class TextClassifier(nn.Module):
    """What is exported: ids and mask int64 [N,L] to probabilities [N,C] and novelty [N,1].

    The logits are `share` of those of the pooled states and the rest of the n-grams', over a temperature.
    """

    def __init__(
        self,
        encoder: Encoder,
        heads: tuple[Pooled, NGrams],
        novelty: Mahalanobis,
        share: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.encoder, self.novelty = encoder, novelty
        self.pooled, self.n_grams = heads
        self.share, self.temperature = share, temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        features = pooled(self.encoder(input_ids, attention_mask), attention_mask)
        grams = self.n_grams(input_ids, attention_mask)
        logits = self.share * self.pooled(features) + (1 - self.share) * grams
        return torch.softmax(logits / self.temperature, 1), self.novelty(
            features[:, : features.shape[1] // 2]
        )
