"""Networks over tokens of texts: an encoder with a head, word pairs with a weight for each class, and both as one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.novelty import Mahalanobis


class EncoderHead(nn.Module):
    """Scores [N,C] from the mean state of an encoder, and that of the first token."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        width = encoder.positions.shape[1]
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, classes)

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The mean state [N,H]."""
        return mean_state(self.encoder(ids, mask), mask)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        scores: Tensor = self.head(self.dropout(self.features(ids, mask)))
        return scores


class WordPairs(nn.Module):
    """Scores [N,C] from tokens, pairs and triples of neighbours, each with a weight for each class: a linear model of n-grams.

    N-grams share `buckets` rows by a hash of their ids (Weinberger et al. 2009).
    """

    def __init__(self, classes: int, buckets: int = 2**15) -> None:
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


class TextModel(nn.Module):
    """What is exported: ids and mask to probabilities [N,C] and novelty [N,1].

    The logits are `share` of the encoder's and the rest of the word pairs', over a temperature.
    """

    def __init__(
        self,
        encoder: EncoderHead,
        pairs: WordPairs | None,
        share: float,
        temperature: float,
        novelty: Mahalanobis,
    ) -> None:
        super().__init__()
        self.encoder, self.pairs, self.novelty = encoder, pairs, novelty
        self.share, self.temperature = share, temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder.features(input_ids, attention_mask)
        logits = self.encoder.head(features)
        if self.pairs is not None:
            logits = self.share * logits + (1 - self.share) * self.pairs(input_ids, attention_mask)
        return torch.softmax(logits / self.temperature, 1), self.novelty(features)
