"""A model that writes a note with words of a dialogue: it learns which to keep, and `note_plans` makes the note of them.

What is learnt is small: of each word, how likely people put it into the note, from the states of a frozen encoder of it and of
what stands around it; and of each dialogue, how many words its note has. Words are then chosen so that the F1 that is expected
of them is best, as in extraction by tagging (LaserTagger, Malmi et al. 2019, arXiv 1909.01187, without its added phrases).

`note_graphs` exports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state, padded
from models.training.note_plans import Wording
from models.training.note_tensors import ahead, behind
from models.training.note_words import CLAUSE_ENDS, Turns

HIDDEN = 128  # of the network that estimates a word's chance
PENALTY = 1000.0  # of the regression of a note's length
EPOCHS, BATCH, RATE = 5, 1024, 2e-3
AXES = 96  # principal components of what stands around a word

Array = NDArray[np.float32]


class Surroundings(nn.Module):
    """The features of each token, from the states of an encoder: its own, and those around it by principal components."""

    mean: Tensor
    axes: Tensor

    def __init__(self, states: Array) -> None:
        """`states` [R,H] are those of some tokens, whose axes are used."""
        super().__init__()
        mean = states.mean(0)
        _, strength, axes = np.linalg.svd(states - mean, full_matrices=False)
        scale = strength[:AXES] / np.sqrt(len(states))
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("axes", torch.from_numpy((axes[:AXES].T / scale).astype(np.float32)))

    @property
    def width(self) -> int:
        """The number of features of a token."""
        return len(self.mean) + 7 * AXES + 7

    def forward(self, states: Tensor, mask: Tensor, first: Tensor, ends: Tensor, turns: Turns) -> Tensor:
        """States [N,L,H] to [N,L,`width`]. `first` are first pieces of words, `ends` those that end a clause."""
        shown = mask > 0
        own = states - self.mean
        seen = torch.where(shown[..., None], own @ self.axes, torch.zeros_like(own[..., :AXES]))
        counted = (first & shown).float()
        clause = torch.cumsum((ends | turns.names).long(), 1)
        number = turns.number
        around = [
            behind(seen, 1), ahead(seen, 1), mean_of(seen, counted, clause[:, :, None] == clause[:, None, :]),
            *(mean_of(seen, counted, number[:, :, None] + step == number[:, None, :]) for step in (0, 1, -1)),
            mean_of(seen, counted, shown[:, :, None] & shown[:, None, :]),
        ]  # fmt: skip
        last = number.amax(1, keepdim=True)
        place = (number / last.clamp(min=1), number == 1, number == last, number.clamp(max=8) / 8)
        speakers = (turns.speaker == 1, turns.speaker == 2, turns.speaker == 3)
        return torch.cat(
            [2 * own, *around, torch.stack([each.float() for each in (*speakers, *place)], 2)], 2
        )


def mean_of(values: Tensor, counted: Tensor, which: Tensor) -> Tensor:
    """Of each token the mean of `values` [N,L,K] over those of `which` [N,L,L] that are `counted` [N,L]; 0 of none."""
    weights = which.float() * counted[:, None, :]
    found: Tensor = weights @ values / weights.sum(2, keepdim=True).clamp(min=1.0)
    return found


class Features(NamedTuple):
    """What is learnt from: whether a token is the first of a word that may be kept [N,L], the features of each token
    [N,L,K] and of the dialogue [N,J]."""

    words: Tensor
    around: Tensor
    whole: Tensor


class Planner(nn.Module):
    """The encoder's graph: ids and mask int64 [N,L] to the plan of a note, float32 [N,L,2]: an id, and how sure it is."""

    def __init__(self, encoder: Encoder, wording: Wording, surroundings: Surroundings) -> None:
        super().__init__()
        self.encoder, self.wording, self.surroundings = encoder, wording, surroundings
        width = surroundings.width
        self.chance = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(0.4), nn.Linear(HIDDEN, 1)
        )
        self.length = nn.Linear(len(surroundings.mean) + AXES + 2, 1)
        self.longer = 1.0

    def features(self, ids: Tensor, mask: Tensor, states: Tensor) -> Features:
        """The features of a dialogue whose encoder gives these states."""
        turns = self.wording.turns(ids)  # of names of one piece, by which it was fitted
        first, ends = ~self.wording.continues[ids], self.wording.any_of(ids, CLAUSE_ENDS)
        around = self.surroundings(states, mask, first, ends, turns)
        seen = torch.where(
            mask[..., None] > 0, (states - self.surroundings.mean) @ self.surroundings.axes, -9.0
        )
        sizes = (mask.sum(1).float().log(), turns.number.amax(1).float() / 10)
        whole = torch.cat(
            [mean_state(states, mask) - self.surroundings.mean, seen.amax(1), torch.stack(sizes, 1)], 1
        )
        return Features(first & self.wording.may_be_kept(ids, mask, turns), around, whole)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.features(ids, mask, self.encoder(ids, mask))
        chance = torch.sigmoid(self.chance(found.around)[..., 0])
        length = self.longer * (torch.exp(self.length(found.whole)[:, 0].clamp(min=0.1, max=6.0)) - 1)
        plan = self.wording(ids, mask, chance, length)
        return torch.stack([plan.ids.float(), plan.sure], 2)


class Examples(NamedTuple):
    """Dialogues: their ids and states [L,H], whether people kept each token [L], and how many words their notes have."""

    ids: Sequence[Sequence[int]]
    states: Sequence[Tensor]
    kept: Sequence[NDArray[np.float32]]
    lengths: Sequence[int]


def fit(planner: Planner, examples: Examples, seed: int) -> None:
    """Fit what is learnt to examples."""
    with torch.no_grad():
        found = [
            planner.features(*padded([ids]), states.float()[None])
            for ids, states in zip(examples.ids, examples.states, strict=True)
        ]
    lengths = torch.log1p(torch.tensor(examples.lengths, dtype=torch.float64))
    planner.length.load_state_dict(ridge(torch.cat([each.whole for each in found]), lengths))
    rows = [each.words[0] for each in found]
    table = torch.cat([each.around[0][row].half() for each, row in zip(found, rows, strict=True)])
    targets = torch.cat([torch.from_numpy(each)[row] for each, row in zip(examples.kept, rows, strict=True)])
    shares = torch.cat([torch.full((int(row.sum()),), (5 + int(row.sum())) ** -0.5) for row in rows])
    fit_chance(planner.chance, table, targets, shares / shares.mean(), seed)


def ridge(table: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """The weights of a linear layer: ridge regression on columns that are brought to one scale."""
    values = table.double()
    mean, scale = values.mean(0), values.std(0) + 1e-6
    scaled = (values - mean) / scale
    penalty = PENALTY * torch.eye(scaled.shape[1], dtype=torch.float64)
    found = torch.linalg.solve(
        scaled.T @ scaled + penalty, scaled.T @ (wanted.double() - wanted.double().mean())
    )
    weights = found / scale
    return {"weight": weights.float()[None], "bias": (wanted.double().mean() - mean @ weights).float()[None]}


def fit_chance(chance: nn.Sequential, table: Tensor, targets: Tensor, shares: Tensor, seed: int) -> None:
    """Fit the network of a word's chance: the cross-entropy of `targets` [R], each weighing its share."""
    torch.manual_seed(seed)
    last = chance[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, float(torch.logit(targets.mean())))
    optimizer = torch.optim.AdamW(chance.parameters(), RATE, weight_decay=0.05)
    steps, step = EPOCHS * (len(table) // BATCH), 0
    chance.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(table))
        for start in range(0, len(table) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            for group in optimizer.param_groups:
                group["lr"] = RATE * max(0.02, 1 - step / steps)
            losses = F.binary_cross_entropy_with_logits(
                chance(table[rows].float())[:, 0], targets[rows], reduction="none"
            )
            optimizer.zero_grad()
            (losses * shares[rows]).mean().backward()
            optimizer.step()
            step += 1
    chance.eval()
