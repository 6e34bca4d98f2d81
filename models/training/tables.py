"""Models of small tables, as parts of one graph: what they take of a row, linear models, trees, and their blend.

A table is float64 [N, F]: NaN where a value is absent, a category as its place among its values. A model gives a score a row,
float64 [N]: log odds of the positive class, or the value of a regression.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from models.training.graph_writer import GraphWriter, add_trees

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUREST = 0.01  # a forest's share nearer to 0 or 1 than this is taken for this
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # the shares of rows below the knots of a bent line


@dataclass(frozen=True)
class Columns:
    """A table's columns by name; `categories` are those of categories, with the number of their values.

    `coded` are more columns whose absent values are fed as -1, as those of categories are. Linear models take the logarithm
    of `logs`.
    """

    names: tuple[str, ...]
    categories: Mapping[str, int]
    coded: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()

    @property
    def numbers(self) -> Ints:
        """The places of the columns that are no categories."""
        return np.array([place for place, name in enumerate(self.names) if name not in self.categories])

    def fed(self, rows: Floats) -> NDArray[np.float32]:
        """A table as the service feeds it to the graph."""
        absent = [-1 if name in (*self.categories, *self.coded) else np.nan for name in self.names]
        return np.where(np.isnan(rows), absent, rows).astype(np.float32)


class Design:
    """What models take of a row [D]: its numbers, then an indicator for each value of each category.

    An absent number is filled with the median of the rows that the design was made of, an absent category with the most
    frequent one.
    """

    def __init__(self, columns: Columns, rows: Floats) -> None:
        self.columns, names = columns, columns.names
        self.fill = np.array(
            [
                _most_frequent(column) if name in columns.categories else np.nanmedian(column)
                for name, column in zip(names, rows.T, strict=True)
            ]
        )
        pairs = [(names.index(name), value) for name, of in columns.categories.items() for value in range(of)]
        self._places, self._values = np.array(pairs, np.int64).reshape(-1, 2).T
        is_log = [names[place] in columns.logs for place in columns.numbers]
        self._logs = np.array([*is_log, *[False] * len(pairs)])

    def raw(self, rows: Floats) -> Floats:
        """[N, F] -> [N, D]."""
        filled = np.where(np.isnan(rows), self.fill, rows).astype(np.float32).astype(np.float64)
        indicators = filled[:, self._places] == self._values
        return np.concatenate([filled[:, self.columns.numbers], indicators], axis=1)

    def linear(self, raw: Floats) -> Floats:
        """[N, D] -> [N, D], as linear models take it."""
        return np.where(self._logs, np.log(np.where(self._logs, raw, 1)), raw)

    def add(self, graph: GraphWriter, features: str) -> tuple[str, str]:
        """The same in a graph that is fed `Columns.fed`: names of raw and linear."""
        names, coded = self.columns.names, (*self.columns.categories, *self.columns.coded)
        least = graph.constant([[0 if name in coded else -np.inf for name in names]])
        absent = graph.add("Or", graph.add("IsNaN", features), graph.add("Less", features, least))
        filled = graph.add("Where", absent, graph.constant([self.fill]), features)
        raw = graph.add("Gather", filled, graph.constant(self.columns.numbers, np.int64), axis=1)
        if len(self._places):
            coded_as = graph.add("Gather", filled, graph.constant(self._places, np.int64), axis=1)
            equal = graph.add("Equal", coded_as, graph.constant([self._values]))
            raw = graph.add("Concat", raw, graph.add("Cast", equal, to=1), axis=1)
        if not self._logs.any():
            return raw, raw
        is_log = graph.constant([self._logs], np.bool_)
        logs = graph.add("Log", graph.add("Where", is_log, raw, graph.constant(1)))
        return raw, graph.add("Where", is_log, logs, raw)


def _most_frequent(column: Floats) -> float:
    return float(np.bincount(column[~np.isnan(column)].astype(int)).argmax())


class Model(Protocol):
    """A model of a table."""

    def fit(self, design: Design, raw: Floats, truth: Floats) -> "Model":
        """A fitted copy. Raw [N, D], truth [N]."""

    def scores(self, raw: Floats) -> Floats:
        """[N, D] -> [N]."""

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:
        """The same in a graph, [N, 1]."""


@dataclass(frozen=True)
class Linear:
    """A linear model of scikit-learn on standardised columns; `bent`: each number's line may bend at the knots."""

    estimator: Any
    bent: bool = False
    design: Design | None = None
    knots: Floats | None = None
    mean: Floats | None = None
    scale: Floats | None = None

    def fit(self, design: Design, raw: Floats, truth: Floats) -> "Linear":
        """See Model."""
        numbers = design.linear(raw)[:, : len(design.columns.numbers)]
        knots = np.quantile(numbers, KNOTS, axis=0).astype(np.float32).astype(np.float64)
        empty = Linear(self.estimator, self.bent, design, knots, np.zeros(1), np.ones(1))
        basis = empty._basis(raw)
        mean, spread = basis.mean(0), basis.std(0)
        scale = np.where(spread > 0, spread, 1)
        estimator = clone(self.estimator).fit((basis - mean) / scale, truth)
        return Linear(estimator, self.bent, design, knots, mean, scale)

    def _basis(self, raw: Floats) -> Floats:
        assert self.design is not None
        assert self.knots is not None
        basis = self.design.linear(raw)
        if not self.bent:
            return basis
        numbers = basis[:, : len(self.design.columns.numbers)]
        return np.concatenate([basis, *(np.maximum(numbers - each, 0) for each in self.knots)], axis=1)

    def scores(self, raw: Floats) -> Floats:
        """See Model."""
        weights, offset = self._weights()
        return self._basis(raw) @ weights + offset

    def _weights(self) -> tuple[Floats, float]:
        """Of the columns before they were standardised."""
        weights = np.ravel(self.estimator.coef_) / self.scale
        return weights, float(np.ravel(self.estimator.intercept_)[0] - weights @ self.mean)

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:  # noqa: ARG002 - see Model
        """See Model. In the graph columns are centred first, since float32 has few digits."""
        assert self.design is not None
        assert self.knots is not None
        basis = linear
        if self.bent:
            count = len(self.design.columns.numbers)
            numbers = graph.add("Gather", linear, graph.constant(np.arange(count), np.int64), axis=1)
            bends = [graph.add("Sub", numbers, graph.constant([each])) for each in self.knots]
            basis = graph.add("Concat", linear, *(graph.add("Relu", each) for each in bends), axis=1)
        centred = graph.add("Sub", basis, graph.constant([self.mean]))
        standard = graph.add("Div", centred, graph.constant([self.scale]))
        product = graph.add("MatMul", standard, graph.constant(np.reshape(self.estimator.coef_, (-1, 1))))
        return graph.add("Add", product, graph.constant(np.reshape(self.estimator.intercept_, (1, 1))))


@dataclass(frozen=True)
class Forest:
    """A random forest or extremely randomised trees of scikit-learn; of a classifier the log odds of its share of votes.

    `only` are the numbers that it sees; all columns if omitted. `places` are theirs in a raw row.
    """

    estimator: Any
    only: tuple[str, ...] = ()
    places: tuple[int, ...] = ()

    def fit(self, design: Design, raw: Floats, truth: Floats) -> "Forest":
        """See Model."""
        numbers = [design.columns.names[place] for place in design.columns.numbers]
        places = tuple(map(numbers.index, self.only)) or tuple(range(raw.shape[1]))
        return Forest(clone(self.estimator).fit(raw[:, places], truth), self.only, places)

    def scores(self, raw: Floats) -> Floats:
        """See Model."""
        seen = raw[:, self.places]
        if not is_classifier(self.estimator):
            return np.asarray(self.estimator.predict(seen))
        share = np.clip(self.estimator.predict_proba(seen)[:, 1], SUREST, 1 - SUREST)
        return np.log(share / (1 - share))

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:  # noqa: ARG002 - see Model
        """See Model."""
        seen = graph.add("Gather", raw, graph.constant(self.places, np.int64), axis=1) if self.only else raw
        trees = [each.tree_ for each in self.estimator.estimators_]
        values = [tree.value[:, 0, -1] / len(trees) for tree in trees]
        total = add_trees(graph, seen, trees, values, 0.0)
        if not is_classifier(self.estimator):
            return total
        share = graph.add("Clip", total, graph.constant(SUREST), graph.constant(1 - SUREST))
        return graph.add("Log", graph.add("Div", share, graph.add("Sub", graph.constant(1), share)))


@dataclass(frozen=True)
class Boosting:
    """Gradient boosting of scikit-learn, with its default loss."""

    estimator: Any

    def fit(self, design: Design, raw: Floats, truth: Floats) -> "Boosting":  # noqa: ARG002 - see Model
        """See Model."""
        return Boosting(clone(self.estimator).fit(raw, truth))

    def scores(self, raw: Floats) -> Floats:
        """See Model."""
        if is_classifier(self.estimator):
            return np.asarray(self.estimator.decision_function(raw))
        return np.asarray(self.estimator.predict(raw))

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:  # noqa: ARG002 - see Model
        """See Model."""
        trees = [each.tree_ for each in self.estimator.estimators_[:, 0]]
        values = [tree.value[:, 0, 0] * self.estimator.learning_rate for tree in trees]
        nothing = np.zeros((1, self.estimator.n_features_in_))
        known = sum(
            values[place][tree.apply(nothing.astype(np.float32))[0]] for place, tree in enumerate(trees)
        )
        return add_trees(graph, raw, trees, values, float(self.scores(nothing)[0] - known))


@dataclass(frozen=True)
class Kernel:
    """A support vector regression of scikit-learn with a Gaussian kernel, a number for `gamma`, on standardised columns."""

    estimator: Any
    design: Design | None = None
    mean: Floats | None = None
    scale: Floats | None = None

    def fit(self, design: Design, raw: Floats, truth: Floats) -> "Kernel":
        """See Model."""
        known = design.linear(raw)
        spread = known.std(0)
        mean, scale = known.mean(0), np.where(spread > 0, spread, 1)
        return Kernel(clone(self.estimator).fit((known - mean) / scale, truth), design, mean, scale)

    def scores(self, raw: Floats) -> Floats:
        """See Model."""
        assert self.design is not None
        return np.asarray(self.estimator.predict((self.design.linear(raw) - self.mean) / self.scale))

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:  # noqa: ARG002 - see Model
        """See Model."""
        centred = graph.add("Sub", linear, graph.constant([self.mean]))
        standard = graph.add("Div", centred, graph.constant([self.scale]))
        known = self.estimator.support_vectors_
        lengths = graph.add("ReduceSumSquare", standard, graph.constant([1], np.int64), keepdims=1)
        products = graph.add("MatMul", standard, graph.constant(2 * known.T))
        both = graph.add("Add", lengths, graph.constant([(known**2).sum(1)]))
        distances = graph.add("Relu", graph.add("Sub", both, products))
        kernel = graph.add("Exp", graph.add("Mul", distances, graph.constant(-self.estimator.gamma)))
        weighted = graph.add("MatMul", kernel, graph.constant(self.estimator.dual_coef_.T))
        return graph.add("Add", weighted, graph.constant([self.estimator.intercept_]))


@dataclass(frozen=True)
class Blend:
    """The mean of several models' scores."""

    design: Design
    models: Sequence[Model]

    def scores(self, rows: Floats) -> Floats:
        """[N, F] -> [N]."""
        raw = self.design.raw(rows)
        return np.mean([model.scores(raw) for model in self.models], axis=0)

    def add(self, graph: GraphWriter, raw: str, linear: str) -> str:
        """The same in a graph, [N, 1]."""
        found = [model.add(graph, raw, linear) for model in self.models]
        return graph.add("Mean", *found)
