"""What the rules of notes are made of: tensor operations over the tokens [N,L] of dialogues."""

from __future__ import annotations

import torch
from torch import Tensor


def behind(values: Tensor, steps: int) -> Tensor:
    """Of each token what the one so many steps in front of it has; false or 0 for the first."""
    return _moved(values, -steps) if steps else values


def ahead(values: Tensor, steps: int) -> Tensor:
    """Of each token what the one so many steps behind it has; false or 0 for the last."""
    return _moved(values, steps) if steps else values


def _moved(values: Tensor, steps: int) -> Tensor:
    length = values.shape[1]
    wanted = torch.arange(length) + steps
    found = values.index_select(1, wanted.clamp(min=0, max=length - 1))
    exists = ((wanted >= 0) & (wanted < length)).reshape([1, -1] + [1] * (values.dim() - 2))
    return found & exists if values.dtype == torch.bool else found * exists.to(values.dtype)


def numbered(begins: Tensor) -> Tensor:
    """The number of the group of each token, where groups begin at `begins` [N,L]."""
    return torch.cumsum(begins.long(), 1)


def latest(which: Tensor) -> Tensor:
    """The place, from 1, of the last of `which` [N,L] in front of each token; 0 if there is none."""
    at = torch.cumsum(torch.ones_like(which, dtype=torch.int64), 1)
    return torch.where(which[:, None, :] & (at[:, None, :] < at[:, :, None]), at[:, None, :], 0).amax(2)


def beside(kept: Tensor, number: Tensor) -> Tensor:
    """Which tokens [N,L] that are kept are of numbers with no other kept token between them; `number` is that of each, or 0."""
    before = latest(kept)
    preceding = torch.where(before > 0, number.gather(1, (before - 1).clamp(min=0)), 0)
    second = kept & (number > 0) & (preceding > 0) & (preceding != number)
    first = (number[:, :, None] == preceding[:, None, :]) & second[:, None, :]
    return kept & (second | first.any(2))


def later(which: Tensor, group: Tensor) -> Tensor:
    """Whether behind each token [N,L] there is one of `which` in the same group."""
    at = torch.cumsum(torch.ones_like(which, dtype=torch.int64), 1)
    same = (group[:, :, None] == group[:, None, :]) & (at[:, None, :] > at[:, :, None])
    return (same & which[:, None, :]).any(2)


def rank(which: Tensor, group: Tensor) -> Tensor:
    """How many of `which` [N,L] there are in the group of each token up to it, itself included."""
    at = torch.cumsum(torch.ones_like(which, dtype=torch.int64), 1)
    same = (group[:, :, None] == group[:, None, :]) & (at[:, None, :] <= at[:, :, None])
    return (same & which[:, None, :]).sum(2)


def count(which: Tensor, group: Tensor) -> Tensor:
    """How many of `which` [N,L] there are in the group of each token."""
    return ((group[:, :, None] == group[:, None, :]) & which[:, None, :]).sum(2)


def any_of_group(which: Tensor, group: Tensor) -> Tensor:
    """Whether there is one of `which` [N,L] in the group of each token."""
    return ((group[:, :, None] == group[:, None, :]) & which[:, None, :]).any(2)


def best_limit(chance: Tensor, length: Tensor) -> Tensor:
    """The least chance [N] of a word that is kept: the F1 that is expected for a note of `length` words is best."""
    sorted_chance = torch.sort(chance, 1, descending=True).values
    counted = torch.cumsum(torch.ones_like(chance), 1)
    expected = 2 * torch.cumsum(sorted_chance, 1) / (counted + length[:, None])
    return sorted_chance.gather(1, expected.argmax(1, keepdim=True))[:, 0]
