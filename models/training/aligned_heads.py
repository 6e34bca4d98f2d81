"""The training of the head of a matcher of two texts, on the states of an encoder that stays as it is; see pair_models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name
from torch.nn.utils.rnn import pad_sequence

from models.training.batches import batches
from models.training.encoders import Encoder
from models.training.linear_heads import states_of
from models.training.pair_models import Alignment
from models.training.quick_products import quick_products

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RowPairs = Sequence[tuple[int, int]]

BATCH, RATE, DECAY, WARM_UP, SMOOTHING = 64, 7e-4, 0.02, 100, 0.1


@dataclass(frozen=True)
class Texts:
    """Texts that were read once: their rows by text, ids, and states [L,H]."""

    rows: dict[str, int]
    ids: list[list[int]]
    states: list[Tensor]

    @classmethod
    def read(cls, texts: Sequence[str], tokenizer: Tokenizer, encoder: Encoder, most_tokens: int) -> Self:
        """Each text for itself; what is behind `most_tokens` of it is left out."""
        ids = [each.ids[:most_tokens] for each in tokenizer.encode_batch(list(texts))]
        return cls({text: row for row, text in enumerate(texts)}, ids, states_of(encoder, ids))

    def rows_of(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
        """The rows of pairs of texts."""
        return [(self.rows[first], self.rows[second]) for first, second in pairs]

    def means(self, rows: Sequence[int]) -> Floats:
        """The mean state of texts [N,H]."""
        return np.stack([self.states[row].float().mean(0).double().numpy() for row in rows])


def fit_aligned(
    texts: Texts, pairs: RowPairs, same: Sequence[int], *, tokens: int, width: int, epochs: int, seed: int
) -> Alignment:
    """Minimise the smoothed cross-entropy by AdamW, the rate rising over WARM_UP steps and falling to a fiftieth.

    `tokens` is the number of tokens of the vocabulary.
    """
    torch.manual_seed(seed)
    chance, some = np.random.default_rng(seed), torch.cat(texts.states[::50]).float()
    head = Alignment(some.mean(0), some.std(0) + 1e-3, _rarity(texts, tokens), width).train()
    optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * (len(pairs) // BATCH + 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / WARM_UP) * max(0.02, 1 - step / steps)
    )
    targets = torch.tensor(same).float() * (1 - SMOOTHING) + SMOOTHING / 2
    for _ in range(epochs):
        for rows in batches(_lengths(texts, pairs), BATCH, chance):
            with quick_products():
                logits = head(*_joined(texts, [pairs[row] for row in rows]))
            loss = F.binary_cross_entropy_with_logits(logits.float(), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head.eval()


@torch.no_grad()
def logits_of(head: Alignment, texts: Texts, pairs: RowPairs) -> Floats:
    """Logits [N] of a head that pairs mean the same."""
    found = np.empty(len(pairs))
    for rows in batches(_lengths(texts, pairs), BATCH):
        found[rows] = head(*_joined(texts, [pairs[row] for row in rows])).double().numpy()
    return found


def _rarity(texts: Texts, count: int) -> Tensor:
    """Inverse document frequency of each token [V,1], from 0 to 1."""
    found = np.bincount([token for ids in texts.ids for token in set(ids)], minlength=count)
    return torch.from_numpy(1 - np.log(1 + found) / np.log(1 + len(texts.ids))).float()[:, None]


def _joined(texts: Texts, pairs: RowPairs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a head reads of pairs: states float32 [N,L,H], ids, mask and types int64 [N,L]."""
    lengths = [(len(texts.ids[first]), len(texts.ids[second])) for first, second in pairs]
    states = [torch.cat([texts.states[first], texts.states[second]]).float() for first, second in pairs]
    ids = [torch.tensor(texts.ids[first] + texts.ids[second]) for first, second in pairs]
    types = [torch.tensor([0] * first + [1] * second) for first, second in lengths]
    ones = [torch.ones(sum(each), dtype=torch.int64) for each in lengths]
    padded = [pad_sequence(each, batch_first=True) for each in (states, ids, ones, types)]
    return padded[0], padded[1], padded[2], padded[3]


def _lengths(texts: Texts, pairs: RowPairs) -> list[int]:
    return [len(texts.ids[first]) + len(texts.ids[second]) for first, second in pairs]
