"""Pairs of texts that mean the same or do not: how a matcher reads them, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.sandbox import cpu_session
from models.training.figures import brier, calibration_error, interval, operating_point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Both = Sequence[tuple[str, str]]

FEEDS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("probability", "novelty")


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts, and 1 where they mean the same [N]."""

    both: Both
    same: Ints

    @classmethod
    def of(cls, both: Both, *, same: int) -> Pairs:
        return cls(both, np.full(len(both), same))

    @property
    def first(self) -> list[str]:
        return [first for first, _ in self.both]

    @property
    def second(self) -> list[str]:
        return [second for _, second in self.both]

    @property
    def texts(self) -> list[str]:
        return [*self.first, *self.second]

    def part(self, rows: NDArray[np.bool_]) -> Pairs:
        return Pairs([both for both, kept in zip(self.both, rows, strict=True) if kept], self.same[rows])

    def joined(self, *others: Pairs) -> Pairs:
        every = (self, *others)
        return Pairs(
            [both for each in every for both in each.both], np.concatenate([each.same for each in every])
        )


def with_types(table: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer with a pair as `<s> A </s> <s> B </s>`, all of the second text of type 1."""
    start, first, end, _, second, _ = table["post_processor"]["pair"]
    of_second = [
        {name: {**each, "type_id": 1} for name, each in part.items()} for part in (start, second, end)
    ]
    table["post_processor"]["pair"] = [start, first, end, *of_second]
    return table


def feeds_of(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> Iterator[dict[str, Ints]]:
    """What the graph takes of each pair: int64 [1,L]."""
    for each in tokenizer.encode_batch(list(pairs)):
        fed = (each.ids, [1] * len(each.ids), each.type_ids)
        yield {name: np.array([values], np.int64) for name, values in zip(FEEDS, fed, strict=True)}


def example_of(tokenizer: Tokenizer, pairs: Both) -> dict[str, Tensor]:
    """What the graph takes of several pairs: int64 [N,L], padded to the longest."""
    fed = list(feeds_of(tokenizer, pairs))
    return {
        name: pad_sequence([torch.from_numpy(each[name][0]) for each in fed], batch_first=True)
        for name in FEEDS
    }


class OnnxMatcher:
    """The written file, as it will be served."""

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._session = cpu_session(path)

    def of_pairs(self, pairs: Both) -> tuple[Floats, Floats]:
        """Probabilities [N] and novelty [N]."""
        found = [
            [part[0, 0] for part in self._session.run(OUTPUTS, fed)]
            for fed in feeds_of(self._tokenizer, pairs)
        ]
        probabilities, novelty = np.array(found, np.float64).T
        return probabilities, novelty


@dataclass(frozen=True)
class Answers:
    """Where a matcher abstains: less than `grey` beside the threshold, and from a novelty of `limit` on."""

    threshold: float
    grey: float
    limit: float

    def clear(self, probabilities: Floats, novelty: Floats) -> NDArray[np.bool_]:
        """Which pairs are answered [N]."""
        return (np.abs(probabilities - self.threshold) >= self.grey) & (novelty < self.limit)


def best_threshold(probabilities: Floats, same: Ints) -> float:
    """The threshold of the greatest F1, in hundredths."""
    steps = np.arange(20, 80) / 100
    return float(steps[int(np.argmax([f1_score(same, probabilities >= step) for step in steps]))])


def figures(probabilities: Floats, same: Ints, threshold: float, seed: int) -> dict[str, Any]:
    """F1, with an interval, what the threshold gives, and calibration."""

    def f1(rows: Ints) -> float:
        return float(f1_score(same[rows], probabilities[rows] >= threshold))

    every = np.arange(len(same))
    return {
        "f1": f1(every), "f1_95": interval(f1, len(same), seed=seed), "threshold": threshold,
        "accuracy": ((probabilities >= threshold) == (same == 1)).mean(),
        **operating_point(probabilities, same, threshold),
        "ece": calibration_error(probabilities, same), "brier": brier(probabilities, same),
    }  # fmt: skip


def by_known(same: NDArray[np.bool_], held_out: Pairs, known: set[str]) -> dict[str, float]:
    """F1 by how many of a pair's questions stand in the training part."""
    counts = np.array([sum(text in known for text in both) for both in held_out.both])
    report: dict[str, float] = {}
    for count in (0, 1, 2):
        rows = counts == count
        report |= {
            f"rows_known_{count}": int(rows.sum()),
            f"f1_known_{count}": f1_score(held_out.same[rows], same[rows]),
        }
    return report


def cosine_baseline(pairs: Pairs, held_out: Pairs, preprocessor: Callable[[str], str]) -> dict[str, float]:
    """F1 of the cosine of TF-IDF vectors of characters and pairs of them, with the best threshold of the training pairs."""
    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 2), sublinear_tf=True, preprocessor=preprocessor
    )
    vectorizer.fit(pairs.first + pairs.second)

    def cosines(rows: Pairs) -> Floats:
        first, second = vectorizer.transform(rows.first), vectorizer.transform(rows.second)
        return np.asarray(first.multiply(second).sum(1))[:, 0]

    threshold = best_threshold(cosines(pairs), pairs.same)
    return {"baseline_f1": float(f1_score(held_out.same, cosines(held_out) >= threshold))}
