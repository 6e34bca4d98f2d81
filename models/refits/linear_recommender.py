"""Updates a linear recommender by new users, from sums of products alone: recursive least squares, no row is kept.

EASE with context (Steck, WWW 2019; models.training.recommenders) is a ridge regression of each item on the other items, the
context and 1. Its minimum for all users together follows from the minimum for those before, the matrix of sums of products of
the columns (Gram matrix) of those before, and the new rows (Plackett, Biometrika 37:149, 1950); the diagonal stays 0, as both
minima are sought where it is 0. So an update by parts gives what a training on all rows gives, to rounding.

A bundle that has no Gram matrix is taken for one trained on as many users as are stated, who are like the new ones.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.recommenders import Linear

Floats = NDArray[np.float64]

GRAM_NAME: Final = "gram.npy"
# Penalties of items, of facts, and of facts where no item is known, as medication-recommender was trained with.
ITEM_STRENGTH, FACT_STRENGTH, COLD_STRENGTH = 100.0, 150.0, 60.0


def gram_of(history: Floats, context: Floats) -> Floats:
    """Sums of products of items, facts and 1 over users [N,I] and [N,C], [D,D] with D = I + C + 1. The last is the number."""
    joined = _joined(history, context)
    return joined.T @ joined


def assumed_gram(history: Floats, context: Floats, users: int) -> Floats:
    """The Gram matrix of as many users who are like these."""
    return gram_of(history, context) * (users / len(history))


def updated(model: Linear, gram: Floats, history: Floats, context: Floats) -> Linear:
    """The model after new users [N,I] and [N,C]; `gram` is that of those before."""
    number, width = history.shape[1], context.shape[1]
    joined = _joined(history, context)
    facts = joined[:, number:]
    strengths = np.r_[np.full(number, ITEM_STRENGTH), np.full(width, FACT_STRENGTH), 1.0]
    total = gram + joined.T @ joined
    weights = np.vstack([model.items, model.facts, model.offset])
    inverse = np.linalg.inv(total + np.diag(strengths))
    step = inverse @ (joined.T @ (history - joined @ weights))
    step -= inverse[:, :number] * (step[:number].diagonal() / inverse.diagonal()[:number])
    weights += step
    np.fill_diagonal(weights, 0)  # which it was but for rounding
    known = np.vstack([model.cold, model.usual])
    penalty = np.diag(np.r_[np.full(width, COLD_STRENGTH), 1.0])
    known += np.linalg.solve(total[number:, number:] + penalty, facts.T @ (history - facts @ known))
    return replace(
        model, items=weights[:number], facts=weights[number:-1], offset=weights[-1], cold=known[:-1], usual=known[-1]
    )  # fmt: skip


def gram_bytes(gram: Floats) -> bytes:
    """The matrix as a side file, float32."""
    file = io.BytesIO()
    np.save(file, gram.astype(np.float32), allow_pickle=False)
    return file.getvalue()


def read_gram(content: bytes) -> Floats:
    """The matrix of a side file. Raises ValueError."""
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), np.float64)


def _joined(history: Floats, context: Floats) -> Floats:
    return np.hstack([history, context, np.ones((len(history), 1))])
