"""Nested cross-validation (Varma and Simon 2006): settings are chosen within each fold's training rows only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, KFold, StratifiedKFold

from models.training.tables import Blend, Columns, Design, Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Families = Mapping[str, Sequence[Model]]
Loss = Callable[[Floats, Floats], float]


@dataclass(frozen=True)
class Chosen:
    """Of each family the model with the least loss in a cross-validation, and its scores of the rows [N] left out there."""

    models: Mapping[str, Model]
    unseen: Mapping[str, Floats]

    def blended(self, members: Sequence[str]) -> Floats:
        """The mean score of some families for the rows left out [N]."""
        return np.mean([self.unseen[name] for name in members], axis=0)

    def blend(self, columns: Columns, rows: Floats, truth: Floats, members: Sequence[str]) -> Blend:
        """The chosen models of some families, fitted to all rows."""
        design = Design(columns, rows)
        raw = design.raw(rows)
        return Blend(design, [self.models[name].fit(design, raw, truth) for name in members])


@dataclass(frozen=True)
class Fold:
    """One fold: the places of rows seen and left out, what was chosen on those seen, and the models fitted to them."""

    seen: Ints
    unseen: Ints
    chosen: Chosen
    design: Design
    fitted: Mapping[str, Model]

    def scores(self, rows: Floats, members: Sequence[str]) -> Floats:
        """The mean score of some families, [N, F] -> [N]."""
        return Blend(self.design, [self.fitted[name] for name in members]).scores(rows)


def choose(
    columns: Columns, rows: Floats, truth: Floats, families: Families, loss: Loss, *, folds: int, seed: int
) -> Chosen:
    """Cross-validate each model of each family and keep the best. Rows [N, F], truth [N]."""
    scores = {name: np.zeros((len(models), len(truth))) for name, models in families.items()}
    for seen, unseen in splitter(truth, folds, seed).split(rows, truth):
        design = Design(columns, rows[seen])
        raw, held_out = design.raw(rows[seen]), design.raw(rows[unseen])
        for name, models in families.items():
            for place, model in enumerate(models):
                scores[name][place, unseen] = model.fit(design, raw, truth[seen]).scores(held_out)
    best = {name: int(np.argmin([loss(each, truth) for each in found])) for name, found in scores.items()}
    return Chosen(
        {name: families[name][place] for name, place in best.items()},
        {name: scores[name][place] for name, place in best.items()},
    )


def nested(
    columns: Columns,
    rows: Floats,
    truth: Floats,
    families: Families,
    loss: Loss,
    *,
    folds: int,
    inner: int,
    seed: int,
) -> Iterator[Fold]:
    """The folds of one nested cross-validation."""
    for number, (seen, unseen) in enumerate(splitter(truth, folds, seed).split(rows, truth)):
        chosen = choose(
            columns, rows[seen], truth[seen], families, loss, folds=inner, seed=seed + 100 * number + 1
        )
        blend = chosen.blend(columns, rows[seen], truth[seen], list(families))
        yield Fold(seen, unseen, chosen, blend.design, dict(zip(families, blend.models, strict=True)))


def splitter(truth: Floats, folds: int, seed: int) -> BaseCrossValidator:
    """Shuffled folds, with equal shares of classes where truth is 0 and 1."""
    kind = StratifiedKFold if {*np.unique(truth)} <= {0.0, 1.0} else KFold
    return kind(folds, shuffle=True, random_state=seed)


def cross_entropy(log_odds: Floats, truth: Floats) -> float:
    """Mean cross-entropy of log odds [N] with truth 0 or 1 [N]."""
    return float(np.mean(np.logaddexp(0, log_odds) - truth * log_odds))


def squared_error(values: Floats, truth: Floats) -> float:
    """Mean squared error."""
    return float(np.mean((values - truth) ** 2))
