"""Entities that the training texts name, as marks of tokens: where a run of tokens has been named before, and how surely.

A run is known by the encoder's rows of its tokens, so that capitals do not count. For training, the texts are divided into
folds, and a text's marks come from the others: marks from its own entities would say what the head has to learn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

LONGEST = 8  # tokens of a run
SURE = (0.1, 0.3, 0.6, 0.85)  # limits of the share of a run's occurrences in which it is an entity
SLOTS = 2**16

Run = tuple[int, ...]


class Named(NamedTuple):
    """A text for a lexicon: the rows of its tokens, the entities (first token, behind the last, kind), and its fold."""

    rows: Sequence[int]
    entities: Sequence[tuple[int, int, int]]
    fold: int


class Lexicon:
    """Runs of up to LONGEST tokens that are entities of texts.

    A run's mark is 0 if it is unknown, else 1 + kind x 5 + how many limits of SURE its share reaches.
    """

    def __init__(self, texts: Sequence[Named], kinds: int) -> None:
        self.marks = 1 + kinds * (len(SURE) + 1)
        self._named: defaultdict[Run, defaultdict[int, Counter[int]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        for text in texts:
            for start, end, kind in text.entities:
                if end - start <= LONGEST:
                    self._named[tuple(text.rows[start:end])][text.fold][kind] += 1
        self._told_apart = _told_apart(self._named)
        self._seen: defaultdict[Run, Counter[int]] = defaultdict(Counter)
        for text in texts:
            for _, run in _runs(text.rows):
                if run in self._told_apart:
                    self._seen[run][text.fold] += 1
        self._known: dict[tuple[Run, int | None], int] = {}

    def __len__(self) -> int:
        return len(self._told_apart)

    def of(self, rows: Sequence[int], fold: int | None = None) -> Tensor:
        """The marks int64 [L,LONGEST] of the runs of each length that begin at each token; `fold` is left out of account."""
        found = torch.zeros(len(rows), LONGEST, dtype=torch.int64)
        for place, run in _runs(rows):
            if run in self._told_apart:
                found[place, len(run) - 1] = self._mark(run, fold)
        return found

    def module(self) -> Marks:
        """The same, with no fold left out, as a part of a graph."""
        return Marks({run: self._mark(run, None) for run in self._told_apart})

    def _mark(self, run: Run, fold: int | None) -> int:
        if (run, fold) not in self._known:
            kinds: Counter[int] = Counter()
            for each, counts in self._named[run].items():
                if each != fold:
                    kinds.update(counts)
            self._known[run, fold] = self._mark_of(kinds, run, fold) if kinds else 0
        return self._known[run, fold]

    def _mark_of(self, kinds: Counter[int], run: Run, fold: int | None) -> int:
        [(kind, named)] = kinds.most_common(1)
        seen = sum(count for each, count in self._seen[run].items() if each != fold)
        return 1 + kind * (len(SURE) + 1) + bisect_right(SURE, named / max(seen, named))


class Marks(nn.Module):
    """Rows int64 [N,L] to marks int64 [N,L,LONGEST]: runs are found by two hashes, a slot and a check."""

    checks: Tensor
    marks: Tensor

    def __init__(self, known: dict[Run, int]) -> None:
        super().__init__()
        checks = torch.full((SLOTS, 1), -1, dtype=torch.int32)
        marks = torch.zeros(SLOTS, 1, dtype=torch.int16)
        for run, mark in known.items():
            slot, check = _hashes_of(run)
            checks[slot], marks[slot] = check, mark
        self.register_buffer("checks", checks)
        self.register_buffer("marks", marks)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([self._found(rows, length) for length in range(1, LONGEST + 1)], 2)

    def _found(self, rows: Tensor, length: int) -> Tensor:
        slots, checks = _hashes(F.pad(rows, (0, length - 1)), length)
        known = F.embedding(slots, self.checks)[..., 0].long() == checks
        return (F.embedding(slots, self.marks)[..., 0].long() * known)[..., None]


def _runs(rows: Sequence[int]) -> Iterable[tuple[int, Run]]:
    for start in range(len(rows)):
        for end in range(start + 1, min(start + LONGEST, len(rows)) + 1):
            yield start, tuple(rows[start:end])


def _told_apart(runs: Iterable[Run]) -> frozenset[Run]:
    """The first run of each slot."""
    first: dict[int, Run] = {}
    for run in runs:
        first.setdefault(_hashes_of(run)[0], run)
    return frozenset(first.values())


def _hashes_of(run: Run) -> tuple[int, int]:
    slot, check = _hashes(torch.tensor([run]), len(run))
    return int(slot), int(check)


def _hashes(rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Slot and check of each run of `length` tokens: rows [N,L] -> [N,L-length+1] each."""
    count = rows.shape[1] - length + 1
    slot, check = (torch.zeros_like(rows[:, :count]) + length for _ in range(2))
    for place in range(length):
        part = rows[:, place : place + count]
        slot = (slot * 7919 + part + 1) % 1000003
        check = (check * 104729 + part + 1) % 2147483629
    return slot % SLOTS, check
