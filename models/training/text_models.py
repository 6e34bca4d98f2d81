"""Classifiers of texts: heads on the states of a frozen encoder, n-grams with weights by class, and both as one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.novelty import Mahalanobis


class Filters(nn.Module):
    """Scores [N,C] from states [N,L,H] and mask [N,L]: filters over one and three neighbours, at their maximum (Kim 2014)."""

    def __init__(self, width: int, classes: int, filters: int = 96) -> None:
        super().__init__()
        self.single, self.triple = nn.Linear(width, filters), nn.Conv1d(width, filters, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width + 2 * filters, classes)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        shown = mask.unsqueeze(2).to(states.dtype)
        states = states * shown
        found = [self.single(states), self.triple(states.transpose(1, 2)).transpose(1, 2)]
        strongest = [(F.relu(each) * shown).amax(1) for each in found]
        scores: Tensor = self.head(self.dropout(torch.cat([mean_state(states, mask), *strongest], 1)))
        return scores


class NGrams(nn.Module):
    """Scores [N,C] from ids and mask [N,L]: each token, pair and triple of neighbours has a weight for each class.

    N-grams share `buckets` rows by a hash of their ids (Weinberger et al. 2009).
    """

    def __init__(self, classes: int, buckets: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.weights = nn.Parameter(torch.zeros(buckets, classes))
        self.offset = nn.Parameter(torch.zeros(classes))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        total = self.offset.expand(ids.shape[0], -1)
        norm = mask.sum(1, keepdim=True).float().clamp(min=1.0).sqrt()
        hashed = torch.zeros_like(ids)
        for length in range(3):
            count = ids.shape[1] - length
            hashed = (hashed[:, :count] * 7919 + ids[:, length:] + 1) % 1000003
            shown = mask[:, length:].float()
            rows = F.embedding(hashed % self.buckets, self.weights)
            total = total + (rows * shown.unsqueeze(2)).sum(1) / norm
        return total


class Heads(nn.Module):
    """Both, fitted side by side: states, ids and mask to two times scores [N,C]."""

    def __init__(self, width: int, classes: int, buckets: int) -> None:
        super().__init__()
        self.filters, self.ngrams = Filters(width, classes), NGrams(classes, buckets)

    def forward(self, states: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.filters(states, mask), self.ngrams(ids, mask)


class TextClassifier(nn.Module):
    """What is exported: ids and mask int64 [N,L] to probabilities [N,C] and novelty [N,1].

    The logits are `share` of the filters' and the rest of the n-grams', over a temperature.
    """

    def __init__(
        self, encoder: Encoder, heads: Heads, novelty: Mahalanobis, share: float, temperature: float
    ) -> None:
        super().__init__()
        self.encoder, self.heads, self.novelty = encoder, heads, novelty
        self.share, self.temperature = share, temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.encoder(input_ids, attention_mask)
        filters, ngrams = self.heads(states, input_ids, attention_mask)
        logits = self.share * filters + (1 - self.share) * ngrams
        features = mean_state(states, attention_mask)
        return torch.softmax(logits / self.temperature, 1), self.novelty(features)
