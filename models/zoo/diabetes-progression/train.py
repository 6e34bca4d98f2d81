"""Train diabetes-progression.

Source: Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, Ann Stat 32:407 (2004): 442 patients with diabetes, ten
findings and a measure of progression a year later; the copy in scikit-learn, in its raw units. Reads no folder of data. About
three minutes on one core; seeds fixed.

The shipped model is the mean of a ridge regression whose lines bend and of a support vector regression, ten times, each without
another tenth of the rows; the same ten give the interval by CV+.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.svm import SVR

from models.training.conformal import CrossConformal
from models.training.export import parity, save
from models.training.figures import interval
from models.training.graph_writer import GraphWriter
from models.training.nested import Chosen, Families, choose, nested, squared_error
from models.training.novelty import novelty_figures
from models.training.risk import Detector
from models.training.tables import Columns, Kernel, Linear
from models.training.writing import write_golden, write_report

Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
TOLERANCE = 1e-3  # of the value: float32 moves by steps of 3e-5 from 256 on, and sums round otherwise on another processor
COVERAGE = 0.9
OUTER, INNER, REPEATS = 5, 10, 3
FALSE_ALARMS = 0.02
MEMBERS = ("bent_ridge", "support_vectors")
# The fields with the ranges of the manifest, from which foreign rows are drawn.
RANGES: dict[str, tuple[float, float]] = {
    "age": (18, 100), "sex": (1, 2), "bmi": (12, 70), "bp": (40, 200), "s1": (60, 500), "s2": (20, 400), "s3": (10, 150),
    "s4": (1, 15), "s5": (2.5, 8), "s6": (40, 300),
}  # fmt: skip
DIGITS = {"bmi": 1, "s2": 1, "s4": 2, "s5": 4}
COLUMNS = Columns(tuple(RANGES), {}, coded=("sex",))
EXCHANGED = (("s1", "s2"), ("bp", "s6"), ("age", "s3"), ("s1", "s6"))
PROTOCOL = (
    "nested 5-fold cross-validation, three times; settings and intervals from each fold's training rows"
)
FOREIGN_SET = "half patients of the set with two measurements exchanged, half rows drawn at random from the accepted ranges"


@dataclass
class Unseen:
    """What was found for rows left out, [R, N] each."""

    value: Floats
    lower: Floats
    upper: Floats
    ridge: Floats
    novelty: Floats


def families() -> Families:
    """The models among which each family's best is chosen; ridge is the baseline."""
    return {
        "ridge": [Linear(Ridge(alpha)) for alpha in (1, 10, 30, 100)],
        "bent_ridge": [Linear(Ridge(alpha), bent=True) for alpha in (30, 100, 300)],
        "support_vectors": [
            Kernel(SVR(C=c, epsilon=20, gamma=gamma)) for c, gamma in ((20, 0.02), (50, 0.02), (20, 0.05))
        ],
    }


def fitted(chosen: Chosen, rows: Floats, truth: Floats, seed: int) -> CrossConformal:
    """The shipped kind of model, of some rows."""
    return CrossConformal.fit(
        chosen, COLUMNS, rows, truth, MEMBERS, coverage=COVERAGE, folds=INNER, seed=seed
    )


def measured(rows: Floats, truth: Floats) -> Unseen:
    """Nested cross-validation, several times."""
    found = Unseen(*(np.zeros((REPEATS, len(truth))) for _ in range(5)))
    for repeat in range(REPEATS):
        seed = SEED + 1000 * repeat
        splits = nested(COLUMNS, rows, truth, families(), squared_error, folds=OUTER, inner=INNER, seed=seed)
        for fold in splits:
            at = (repeat, fold.unseen)
            model = fitted(fold.chosen, rows[fold.seen], truth[fold.seen], seed)
            found.value[at], found.lower[at], found.upper[at] = model.answers(rows[fold.unseen])
            found.ridge[at] = fold.scores(rows[fold.unseen], ["ridge"])
            found.novelty[at] = Detector(fold.design, rows[fold.seen]).novelty(rows[fold.unseen])
    return found


def report(found: Unseen, rows: Floats, truth: Floats) -> dict[str, object]:
    """The figures of the rows left out."""
    held = (found.lower <= truth) & (truth <= found.upper)
    every = np.arange(len(truth))
    ages, sexes = rows[:, COLUMNS.names.index("age")], rows[:, COLUMNS.names.index("sex")]
    order = np.argsort(np.argsort(found.value.mean(0))) * 3 // len(truth)
    groups = {
        "sex_1": sexes == 1, "sex_2": sexes == 2, "under_50": ages < 50, "from_50": ages >= 50,
        "low": order == 0, "middle": order == 1, "high": order == 2,
    }  # fmt: skip
    return {
        "rows": len(truth),
        "r2": _r2(found.value, truth, every),
        "r2_95": interval(lambda some: _r2(found.value, truth, some), len(truth), seed=SEED),
        "r2_ridge": _r2(found.ridge, truth, every),
        "r2_above_ridge_95": interval(
            lambda some: _r2(found.value, truth, some) - _r2(found.ridge, truth, some), len(truth), seed=SEED
        ),
        "mae": float(np.abs(found.value - truth).mean()),
        "mae_ridge": float(np.abs(found.ridge - truth).mean()),
        "coverage_stated": COVERAGE,
        "coverage": float(held.mean()),
        "coverage_95": interval(lambda some: float(held[:, some].mean()), len(truth), seed=SEED),
        "width": float((found.upper - found.lower).mean()),
        "groups": {
            name: {"rows": int(mask.sum()), "coverage": float(held[:, mask].mean()), "mae": _error(found, truth, mask)}
            for name, mask in groups.items()
        },
    }  # fmt: skip


def _r2(values: Floats, truth: Floats, rows: NDArray[np.int64]) -> float:
    """The mean R² of several divisions into folds. Values [R, N]."""
    return float(np.mean([r2_score(truth[rows], each[rows]) for each in values]))


def _error(found: Unseen, truth: Floats, mask: NDArray[np.bool_]) -> float:
    return float(np.abs(found.value - truth)[:, mask].mean())


def exchanged(rows: Floats) -> Floats:
    """Each row with two of its measurements exchanged, in four ways, as far as the ranges accept them."""
    found = []
    for pair in EXCHANGED:
        one, other = map(COLUMNS.names.index, pair)
        order = np.arange(rows.shape[1])
        order[[one, other]] = other, one
        found.append(rows[:, order])
    least, greatest = np.array(list(RANGES.values())).T
    every = np.concatenate(found)
    return every[((least <= every) & (every <= greatest)).all(1)]


def drawn(count: int) -> Floats:
    """Rows whose fields are drawn at random, evenly over what is accepted."""
    chance = np.random.default_rng(SEED)
    columns = [chance.uniform(*limits, count).round(DIGITS.get(name, 0)) for name, limits in RANGES.items()]
    return np.stack(columns, axis=1)


def golden(rows: Floats) -> list[tuple[str, object]]:
    """Rows of nobody: the columns drawn together from a normal distribution with the means and covariances of the data."""
    chance = np.random.default_rng(SEED)
    least, greatest = rows.min(0), rows.max(0)
    made = chance.multivariate_normal(rows.mean(0), np.cov(rows.T), 9).clip(least, greatest)
    cases = [("made up", row) for row in made] + [("drawn at random from the accepted ranges", drawn(1)[0])]
    return [(note, as_input(row)) for note, row in cases]


def as_input(row: Floats) -> dict[str, object]:
    """A row as a caller sends it."""
    found = {
        name: round(value, DIGITS.get(name, 0)) for name, value in zip(RANGES, row.tolist(), strict=True)
    }
    return {**found, "sex": int(found["sex"])}


def train(data: Path | None) -> None:  # noqa: ARG001 - the data come with scikit-learn
    """Measure, train on every row, export, and write the bundle's files."""
    source = load_diabetes(scaled=False)
    rows, truth = source.data, source.target
    found = measured(rows, truth)
    chosen = choose(COLUMNS, rows, truth, families(), squared_error, folds=INNER, seed=SEED)
    model = fitted(chosen, rows, truth, SEED)
    detector = Detector(model.blends[0].design, rows)
    known = exchanged(rows)
    foreign = {"exchanged": detector.novelty(known), "random": detector.novelty(drawn(len(known)))}
    limits = novelty_figures(found.novelty.ravel(), np.concatenate(list(foreign.values())), FALSE_ALARMS)
    caught = {
        f"catch_rate_{name}": float((each >= limits["novelty_limit"]).mean())
        for name, each in foreign.items()
    }
    gap = write_graph(model, detector, rows)
    figures = {**report(found, rows, truth), **limits, **caught, "parity": gap, "protocol": PROTOCOL}
    write_report(HERE, figures, foreign_set=FOREIGN_SET)
    write_golden(HERE, golden(rows), tolerance=TOLERANCE)


def write_graph(model: CrossConformal, detector: Detector, rows: Floats) -> float:
    """Write the graph and give the largest difference of its answers from those of the model."""
    graph = GraphWriter()
    model.add(graph, "features")
    detector.add(graph, model.blends[0].design.add(graph, "features")[1])
    names = ["value", "lower", "upper", "novelty"]
    save(graph.model({"features": rows.shape[1]}, names), HERE / "model.onnx")
    wanted = dict(zip(names, (*model.answers(rows), detector.novelty(rows)), strict=True))
    fed = {"features": COLUMNS.fed(rows)}
    return parity(
        HERE / "model.onnx", fed, {name: each[:, None] for name, each in wanted.items()}, within=0.01
    )
