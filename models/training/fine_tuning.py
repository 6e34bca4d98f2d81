"""Fitting heads on frozen encoders of texts: states are computed once, then batches of texts of like length."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.encoders import Encoder, padded

Floats = NDArray[np.float64]
Tokens = Sequence[Sequence[int]]

POOL = 50  # batches among which texts are sorted by length
RUN_TOKENS = 4096


@torch.no_grad()
def states_of(encoder: Encoder, tokens: Tokens) -> list[Tensor]:
    """The states bfloat16 [L,H] of each text: products of matrices in bfloat16 cost a quarter of those in float32."""
    encoder.eval()
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found: dict[int, Tensor] = {}
    while order:
        rows = order[: max(1, RUN_TOKENS // len(tokens[order[0]]))]
        while len(rows) > 1 and len(rows) * len(tokens[rows[-1]]) > RUN_TOKENS * 3 // 2:
            rows.pop()
        order = order[len(rows) :]
        ids, mask = padded([tokens[row] for row in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = encoder(ids, mask).bfloat16()
        found |= {row: each[: len(tokens[row])].clone() for row, each in zip(rows, states, strict=True)}
    return [found[row] for row in range(len(tokens))]


def joined(states: Sequence[Tensor]) -> Tensor:
    """States of several texts [N,L,H], zero behind the end of each."""
    return nn.utils.rnn.pad_sequence(list(states), batch_first=True)


def fit(
    model: nn.Module,
    batch_of: Callable[[list[int]], tuple[Tensor, ...]],
    loss: Callable[[tuple[Tensor, ...], list[int]], Tensor],
    lengths: Sequence[int],
    *,
    epochs: int,
    seed: int,
    rate: float = 1e-3,
    batch: int = 32,
) -> None:
    """Fit `model`, which takes what `batch_of` gives for some rows, by AdamW; its outputs go to `loss` with the rows."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    steps = epochs * -(-len(lengths) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share_of_rate(step, steps))
    model.train()
    began, total = time.monotonic(), 0.0
    for step, rows in enumerate(_batches(lengths, batch, steps, chance), start=1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(*batch_of(rows))
        found = loss(outputs, rows)
        optimiser.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += found.item()
        if step % 200 == 0 or step == steps:
            spent = time.monotonic() - began
            print(
                f"step {step} of {steps}, loss {total / step:.3f}, {spent:.0f} s", file=sys.stderr, flush=True
            )
    model.eval()


def _share_of_rate(step: int, steps: int) -> float:
    """A tenth of the steps up, then down to nothing."""
    up = max(1, steps // 10)
    return min((step + 1) / up, (steps - step) / max(1, steps - up))


def _batches(
    lengths: Sequence[int], batch: int, steps: int, chance: np.random.Generator
) -> Iterator[list[int]]:
    """The rows of `steps` batches: all in a new order each time, those of like length together."""
    done = 0
    while True:
        order = chance.permutation(len(lengths))
        epoch: list[list[int]] = []
        for start in range(0, len(order), batch * POOL):
            pool = sorted(order[start : start + batch * POOL].tolist(), key=lambda row: lengths[row])
            epoch += [pool[place : place + batch] for place in range(0, len(pool), batch)]
        for place in chance.permutation(len(epoch)):
            if done == steps:
                return
            done += 1
            yield epoch[place]
