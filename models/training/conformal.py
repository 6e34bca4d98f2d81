"""Conformal intervals by CV+ (Barber, Candès, Ramdas, Tibshirani: Ann Stat 49:486, 2021), as a part of the graph.

K models are each fitted without one fold. The interval of a new row takes, for each known row, the value by the model that did
not see that row, minus and plus how far that model was off there; and of these the quantiles for the coverage. It is widened to
hold the answer, the mean of the K models, where it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from models.training.graph_writer import GraphWriter
from models.training.nested import Chosen, splitter
from models.training.tables import Blend, Columns

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CrossConformal:
    """K blends; for each known row its fold [n], and how far the blend without that fold was off [n]."""

    blends: Sequence[Blend]
    folds: NDArray[np.int64]
    errors: Floats
    coverage: float

    @classmethod
    def fit(
        cls, chosen: Chosen, columns: Columns, rows: Floats, truth: Floats, members: Sequence[str], *,
        coverage: float, folds: int, seed: int,
    ) -> "CrossConformal":  # fmt: skip
        """Fit the chosen models of some families without each fold."""
        numbers, errors, blends = np.zeros(len(truth), np.int64), np.zeros(len(truth)), []
        for number, (seen, unseen) in enumerate(splitter(truth, folds, seed).split(rows)):
            blends.append(chosen.blend(columns, rows[seen], truth[seen], members))
            numbers[unseen] = number
            errors[unseen] = np.abs(truth[unseen] - blends[-1].scores(rows[unseen]))
        return cls(blends, numbers, errors, coverage)

    @property
    def _lowest(self) -> int:
        """Which of the lower ends from below is the limit, counted from 1; and which of the upper ends from above."""
        count = len(self.errors)
        from_below = max(1, floor((1 - self.coverage) * (count + 1)))
        from_above = count + 1 - min(count, ceil(self.coverage * (count + 1)))
        return min(from_below, from_above)

    def answers(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """[N, F] -> value, lower and upper limit, [N] each."""
        values = np.stack([blend.scores(rows) for blend in self.blends], axis=1)
        of_rows, middle = values[:, self.folds], values.mean(1)
        lower = np.sort(of_rows - self.errors, axis=1)[:, self._lowest - 1]
        upper = np.sort(of_rows + self.errors, axis=1)[:, -self._lowest]
        return middle, np.minimum(lower, middle), np.maximum(upper, middle)

    def add(self, graph: GraphWriter, features: str) -> None:
        """The same in a graph, as its outputs `value`, `lower` and `upper`, [N, 1] each."""
        scores = [blend.add(graph, *blend.design.add(graph, features)) for blend in self.blends]
        values = graph.add("Concat", *scores, axis=1)
        value = graph.add("ReduceMean", values, graph.constant([1], np.int64), keepdims=1, name="value")
        of_rows = graph.add("Gather", values, graph.constant(self.folds, np.int64), axis=1)
        errors = graph.constant([self.errors])
        for name, ends, largest, outer in (("lower", "Sub", 0, "Min"), ("upper", "Add", 1, "Max")):
            count = graph.constant([self._lowest], np.int64)
            sorted_ends = graph.top(graph.add(ends, of_rows, errors), count, largest=largest)
            last = graph.add("Gather", sorted_ends, graph.constant([self._lowest - 1], np.int64), axis=1)
            graph.add(outer, last, value, name=name)
