"""The convolutional head of a classifier of texts, trained on the states of an encoder that stays as it is."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.batches import batches
from models.training.quick_products import quick_products
from models.training.text_models import Averaged, Convolved

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
States = Sequence[Tensor]

BATCH, RATE, DECAY, WARM_UP, SMOOTHING = 64, 1e-3, 0.05, 100, 0.1


def fit_several(
    states: States, classes: Ints, count: int, *, width: int, epochs: int, seeds: Sequence[int]
) -> Averaged:
    """The mean of heads that differ by their seeds."""
    return Averaged(
        [fit_convolved(states, classes, count, width=width, epochs=epochs, seed=seed) for seed in seeds]
    )


def fit_convolved(
    states: States, classes: Ints, count: int, *, width: int, epochs: int, seed: int
) -> Convolved:
    """Minimise the smoothed cross-entropy by AdamW, the rate rising over WARM_UP steps and falling to nothing."""
    torch.manual_seed(seed)
    some = torch.cat(list(states[::50])).float()
    model = Convolved(some.mean(0), some.std(0) + 1e-3, width, count).train()
    chance = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * (len(states) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / WARM_UP) * max(0.0, 1 - step / steps)
    )
    targets = torch.from_numpy(classes)
    for _ in range(epochs):
        for rows in batches([len(each) for each in states], BATCH, chance):
            with quick_products():
                scores = model(*_padded([states[row] for row in rows]))
            loss = F.cross_entropy(scores.float(), targets[rows], label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def scores_of(head: torch.nn.Module, states: States) -> Floats:
    """Scores [N,C] of a head on states."""
    found: dict[int, Floats] = {}
    for rows in batches([len(each) for each in states], BATCH):
        scores = head(*_padded([states[row] for row in rows])).double().numpy()
        found |= dict(zip(rows.tolist(), scores, strict=True))
    return np.stack([found[row] for row in range(len(states))])


def _padded(states: States) -> tuple[Tensor, Tensor]:
    """States float32 [N,L,H] and mask int64 [N,L]."""
    mask = torch.zeros(len(states), max(map(len, states)), dtype=torch.int64)
    for row, each in enumerate(states):
        mask[row, : len(each)] = 1
    return torch.nn.utils.rnn.pad_sequence([each.float() for each in states], batch_first=True), mask
