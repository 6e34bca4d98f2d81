"""Recommenders from a matrix of users and items: models to compare, and how well each ranks what was kept back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.training.figures import interval
from models.training.graph_writer import GraphWriter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TOP = 10
FOLDS = 5


@dataclass(frozen=True)
class Linear:
    """Scores are (history @ items [I,I] + context @ facts [C,I] + offset [I]) * weights [I].

    Where no item of the history is known, they are (context @ cold [C,I] + usual [I]) * weights.
    """

    items: Floats
    facts: Floats
    offset: Floats
    cold: Floats
    usual: Floats
    weights: Floats

    @classmethod
    def of_graph(cls, model: onnx.ModelProto) -> "Linear":
        """The model of a graph that `graph` wrote. Raises ValueError for any other graph."""
        known = {
            each.name: numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer
        }
        found = [
            known[name]
            for node in model.graph.node
            for name in node.input
            if name in known and known[name].ndim
        ]
        shapes = [each.ndim for each in found]
        if shapes != [2, 2, 1, 2, 1, 1, 1]:
            raise ValueError("the graph is not that of a linear recommender")
        items, facts, offset, cold, usual, _, weights = found
        linear = cls(items, facts, offset, cold, usual, weights)
        if _operators(linear.graph()) != _operators(model):
            raise ValueError("the graph is not that of a linear recommender")
        return linear

    def scores(self, history: Floats, context: Floats) -> Floats:
        """[N,I] of histories [N,I] and contexts [N,C]."""
        warm = history @ self.items + context @ self.facts + self.offset
        return np.where(history.any(1)[:, None], warm, context @ self.cold + self.usual) * self.weights

    def graph(self) -> onnx.ModelProto:
        """The same as an ONNX graph of the pipeline `recommendation`, float32."""
        graph = GraphWriter()
        warm = _affine(graph, {"history": self.items, "context": self.facts}, self.offset)
        cold = _affine(graph, {"context": self.cold}, self.usual)
        some = graph.add("ReduceMax", "history", graph.constant([1], np.int64), keepdims=1)
        is_warm = graph.add("Greater", some, graph.constant(0.0))
        chosen = graph.add("Where", is_warm, warm, cold)
        graph.add("Mul", chosen, graph.constant(self.weights), name="scores")
        width, number = self.facts.shape
        return graph.model({"history": number, "context": width}, {"scores": number})


def _operators(model: onnx.ModelProto) -> list[tuple[object, ...]]:
    """What the operators of a graph are, and which tensors they take and give."""
    return [
        (node.op_type, node.domain, *node.input, *node.output, *map(str, node.attribute))
        for node in model.graph.node
    ]


Fit = Callable[[Floats, Floats], Linear]


def popularity(items: Floats, context: Floats) -> Linear:
    """The same ranking for all: by how many have an item."""
    return _without_context(np.zeros((items.shape[1],) * 2), items, context)


def nearest_items(items: Floats, context: Floats) -> Linear:
    """The sum of the cosine similarities to the items of the history (Sarwar et al., WWW 2001)."""
    together = items.T @ items
    lengths = np.sqrt(together.diagonal()) + 1e-9
    similar = together / np.outer(lengths, lengths)
    np.fill_diagonal(similar, 0)
    return _without_context(similar, items, context)


def ease(strength: float) -> Fit:
    """Linear autoencoder without a diagonal, in closed form (Steck, WWW 2019)."""

    def fit(items: Floats, context: Floats) -> Linear:
        inverse = np.linalg.inv(items.T @ items + strength * np.eye(items.shape[1]))
        weights = -inverse / inverse.diagonal()
        np.fill_diagonal(weights, 0)
        return _without_context(weights, items, context)

    return fit


def ease_with_context(
    strength: float, context_strength: float, cold_strength: float, popularity_power: float = 0.0
) -> Fit:
    """EASE on items and facts together, each with its own regularisation; ridge regression on the facts where no item is known.

    Scores are divided by the popularity of the item to `popularity_power`.
    """

    def fit(items: Floats, context: Floats) -> Linear:
        number, width = items.shape[1], context.shape[1]
        joined = np.hstack([items, context, np.ones((len(items), 1))])
        strengths = np.r_[np.full(number, strength), np.full(width, context_strength), 1.0]
        inverse = np.linalg.inv(joined.T @ joined + np.diag(strengths))
        weights = -inverse / inverse.diagonal()
        np.fill_diagonal(weights, 0)
        facts = joined[:, number:]
        penalty = np.diag(np.r_[np.full(width, cold_strength), 1.0])
        cold = np.linalg.solve(facts.T @ facts + penalty, facts.T @ items)
        return Linear(
            weights[:number, :number], weights[number:-1, :number], weights[-1, :number],
            cold[:-1], cold[-1], (items.mean(0) + 1e-9) ** -popularity_power,
        )  # fmt: skip

    return fit


def _affine(graph: GraphWriter, factors: Mapping[str, Floats], offset: Floats) -> str:
    """The sum of each feed times its matrix, and an offset."""
    terms = [graph.add("MatMul", feed, graph.constant(matrix)) for feed, matrix in factors.items()]
    return graph.add("Sum", *terms, graph.constant(offset))


def _without_context(weights: Floats, items: Floats, context: Floats) -> Linear:
    """A model that ignores the context, breaks ties by popularity, and ranks by that alone where there is no history."""
    usual, facts = items.mean(0), np.zeros((context.shape[1], items.shape[1]))
    tie = usual * (1e-9 if weights.any() else 1)
    return Linear(weights, facts, tie, facts, usual, np.ones(len(usual)))


@dataclass(frozen=True)
class Users:
    """Users with what they had [N,I] and what is known of them [N,C]; `groups` are those that must not be split."""

    items: Floats
    context: Floats
    groups: Sequence[str]

    def folds(self, seed: int) -> Ints:
        """The fold [N] of each user; those of one group are in one fold."""
        names, places = np.unique(np.asarray(self.groups), return_inverse=True)
        return np.random.default_rng(seed).permutation(len(names))[places] % FOLDS


@dataclass(frozen=True)
class Ranked:
    """Figures of each user, NaN where there are none: leaving out each item in turn, and from what is known of him alone."""

    recall: Floats  # share of the items that are among the first `top` when they alone are left out
    ndcg: Floats
    cold_recall: Floats  # share of the first `top`, or of all if there are fewer, that the user had
    cold_ndcg: Floats

    def figures(self, groups: Sequence[str], chosen: NDArray[np.bool_], *, seed: int) -> dict[str, object]:
        """Means over the chosen users with 95 % intervals over groups."""
        found: dict[str, object] = {}
        for name in ("recall", "ndcg", "cold_recall", "cold_ndcg"):
            values = getattr(self, name)
            known = chosen & ~np.isnan(values)
            values, of = values[known], np.asarray(groups)[known]
            found[name] = float(values.mean())
            found[f"{name}_95"] = interval(
                lambda rows, v=values: float(v[rows].mean()), of.tolist(), seed=seed
            )  # type: ignore[misc]  # mypy does not infer the default
        return found


def measured(fit: Fit, users: Users, *, seed: int, sent: Floats | None = None, top: int = TOP) -> Ranked:
    """Cross-validated: each user is ranked for by a model that saw nobody of his group.

    `sent` [N,C] is the context with which users are ranked for, if it differs from that with which the models are fitted.
    """
    known = users.context if sent is None else sent
    folds = users.folds(seed)
    found = np.full((4, len(users.items)), np.nan)
    for fold in range(FOLDS):
        kept, held = folds != fold, np.flatnonzero(folds == fold)
        model = fit(users.items[kept], users.context[kept])
        for row in held:
            found[:, row] = ranked_for(model.scores, users.items[row], known[row], top)
    return Ranked(*found)


Score = Callable[[Floats, Floats], Floats]


def ranked_for(score: Score, had: Floats, known: Floats, top: int) -> tuple[float, float, float, float]:
    """The figures of one user with items [I] and facts [C], in the order of Ranked."""
    items = np.flatnonzero(had)
    recall = ndcg = float("nan")
    if len(items) > 1:
        left_out = np.tile(had, (len(items), 1))
        left_out[np.arange(len(items)), items] = 0
        scores = score(left_out, np.tile(known, (len(items), 1)))
        own = scores[np.arange(len(items)), items]
        scores[left_out > 0] = -np.inf
        ranks = (scores > own[:, None]).sum(1)
        recall = float((ranks < top).mean())
        ndcg = float(np.where(ranks < top, 1 / np.log2(ranks + 2), 0).mean())
    if not len(items):
        return recall, ndcg, recall, ndcg
    [cold] = score(np.zeros((1, len(had))), known[None])
    hits = had[np.argsort(-cold, kind="stable")[:top]] > 0
    gains = 1 / np.log2(np.arange(len(hits)) + 2)
    most = min(top, len(items))
    return recall, ndcg, float(hits.sum() / most), float((hits * gains).sum() / gains[:most].sum())
