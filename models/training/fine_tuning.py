"""Fitting small text models: batches of texts of like length, products of matrices in bfloat16, a rate that rises and falls."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import padded

Floats = NDArray[np.float64]
Tokens = Sequence[Sequence[int]]
Loss = Callable[[Tensor, Tensor], Tensor]

POOL = 50  # batches among which texts are sorted by length


def fit(
    model: nn.Module,
    tokens: Tokens,
    targets: Tensor,
    *,
    epochs: float,
    seed: int,
    rate: float = 1e-4,
    rate_of_others: float = 1e-3,
    batch: int = 32,
    loss: Loss | None = None,
) -> None:
    """Fit `model` (ids and mask to outputs) to targets [N, ...], by AdamW.

    `rate` is that of its part `encoder`, `rate_of_others` of all else. The loss is cross-entropy with smoothed labels
    if omitted.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    loss = loss or _cross_entropy
    encoder = [each for name, each in model.named_parameters() if name.startswith("encoder.")]
    others = [each for name, each in model.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": encoder, "lr": rate}, {"params": others, "lr": rate_of_others}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = int(epochs * -(-len(tokens) // batch))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share_of_rate(step, steps))
    model.train()
    began, total = time.monotonic(), 0.0
    for step, rows in enumerate(_batches(tokens, batch, steps, chance), start=1):
        ids, mask = padded([tokens[row] for row in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(ids, mask)
        found = loss(outputs.float(), targets[rows])
        optimiser.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += found.item()
        if step % 100 == 0 or step == steps:
            spent = time.monotonic() - began
            print(
                f"step {step} of {steps}, loss {total / step:.3f}, {spent:.0f} s", file=sys.stderr, flush=True
            )
    model.eval()


@torch.no_grad()
def outputs_of(model: nn.Module, tokens: Tokens, *, batch: int = 64) -> Floats:
    """What the model gives for each row, in float32: float64 [N, ...]."""
    model.eval()
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found: list[Floats] = []
    for start in range(0, len(order), batch):
        ids, mask = padded([tokens[row] for row in order[start : start + batch]])
        found.append(model(ids, mask).double().numpy())
    joined = np.concatenate(found)
    outputs = np.empty_like(joined)
    outputs[order] = joined
    return outputs


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, label_smoothing=0.05)


def _share_of_rate(step: int, steps: int) -> float:
    """A tenth of the steps up, then down to nothing."""
    up = max(1, steps // 10)
    return min((step + 1) / up, (steps - step) / max(1, steps - up))


def _batches(tokens: Tokens, batch: int, steps: int, chance: np.random.Generator) -> Iterator[list[int]]:
    """The rows of `steps` batches: all in a new order each time, those of like length together."""
    done = 0
    while True:
        order = chance.permutation(len(tokens))
        epoch: list[list[int]] = []
        for start in range(0, len(order), batch * POOL):
            pool = sorted(order[start : start + batch * POOL].tolist(), key=lambda row: len(tokens[row]))
            epoch += [pool[place : place + batch] for place in range(0, len(pool), batch)]
        for place in chance.permutation(len(epoch)):
            if done == steps:
                return
            done += 1
            yield epoch[place]
