"""A study of a risk in a small table: nested cross-validation of a blend, its calibration, threshold and limits, its graph.

Everything is chosen within a fold's training rows: settings, Platt's scaling, threshold. The figures are those of the rows left
out; each is the mean of several divisions into folds. The shipped model is made by the same steps from all rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.calibration import platt, threshold_for
from models.training.export import parity, save
from models.training.figures import brier, calibration_error, interval, operating_point
from models.training.graph_writer import GraphWriter
from models.training.nested import Families, choose, cross_entropy, nested
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.tables import Blend, Columns, Design
from models.training.writing import write_report

Floats = NDArray[np.float64]
Masks = Mapping[str, NDArray[np.bool_]]

BASELINES = ("logistic_regression", "random_forest", "gradient_boosting")


@dataclass(frozen=True)
class Study:
    """Rows [N, F] with truth 0 or 1 [N], the families of models, which of them are blended, and how it is measured.

    `sensitivity` is that which the threshold is to reach, `grey` half the width of the zone around it without an answer,
    `foreign` rows that the detector of novelty should find, `groups` masks [N] of subgroups, `blanked` columns whose absence
    is tried.
    """

    columns: Columns
    rows: Floats
    truth: Floats
    families: Families
    members: Sequence[str]
    sensitivity: float
    grey: float
    false_alarms: float
    foreign: Mapping[str, Floats]
    groups: Masks
    blanked: Sequence[str] = ()
    folds: int = 5
    inner: int = 5
    repeats: int = 3
    seed: int = 0


@dataclass
class Unseen:
    """What was found for rows left out, [R, N] each: their fold, probabilities, the fold's threshold, log odds by family."""

    fold: Floats
    probability: Floats
    threshold: Floats
    blanked: Floats
    scores: dict[str, Floats] = field(default_factory=dict)
    novelty: list[float] = field(default_factory=list)

    @property
    def called(self) -> NDArray[np.bool_]:
        """Which are answered as positive."""
        return self.probability >= self.threshold

    def area(self, scores: Floats, truth: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
        """The mean AUC of all folds, [R, N] scores of the `rows` at these places: the share of pairs in the right order.

        Of a fold with one class alone there is none.
        """
        areas = []
        for folds, given in zip(self.fold[:, rows], scores[:, rows], strict=True):
            for number in range(int(folds.max()) + 1):
                ill, well = (
                    given[(folds == number) & (truth[rows] == 1)],
                    given[(folds == number) & (truth[rows] == 0)],
                )
                if len(ill) and len(well):
                    gaps = ill[:, None] - well
                    areas.append(float(((gaps > 0) + 0.5 * (gaps == 0)).mean()))
        return float(np.mean(areas))


class Detector:
    """How unlike a row is those that it was made of: Mahalanobis distance of what linear models take, standardised."""

    def __init__(self, design: Design, rows: Floats) -> None:
        self._design = design
        known = design.linear(design.raw(rows))
        spread = known.std(0)
        self._mean, self._scale = known.mean(0), np.where(spread > 0, spread, 1)
        found = Mahalanobis((known - self._mean) / self._scale)
        self._whitening = found.whitening.numpy().astype(np.float64)

    def novelty(self, rows: Floats) -> Floats:
        """[N, F] -> [N]."""
        standard = (self._design.linear(self._design.raw(rows)) - self._mean) / self._scale
        return np.linalg.norm(standard @ self._whitening, axis=1)

    def add(self, graph: GraphWriter, linear: str) -> str:
        """The same in a graph, [N, 1], as its output `novelty`."""
        centred = graph.add("Sub", linear, graph.constant([self._mean]))
        standard = graph.add("Div", centred, graph.constant([self._scale]))
        white = graph.add("MatMul", standard, graph.constant(self._whitening))
        return graph.add("ReduceL2", white, graph.constant([1], np.int64), name="novelty", keepdims=1)


def measured(study: Study) -> Unseen:
    """Nested cross-validation, `repeats` times."""
    shape = (study.repeats, len(study.truth))
    found = Unseen(*(np.zeros(shape) for _ in range(4)))
    found.scores = {name: np.zeros(shape) for name in study.families}
    for repeat in range(study.repeats):
        _measure_once(study, found, repeat)
    return found


def _measure_once(study: Study, found: Unseen, repeat: int) -> None:
    rows, truth = study.rows, study.truth
    blank = [study.columns.names.index(name) for name in study.blanked]
    splits = nested(
        study.columns, rows, truth, study.families, cross_entropy, folds=study.folds, inner=study.inner,
        seed=study.seed + 1000 * repeat,
    )  # fmt: skip
    for number, fold in enumerate(splits):
        unseen, held_out = fold.unseen, rows[fold.unseen]
        found.fold[repeat, unseen] = number
        for name in study.families:
            found.scores[name][repeat, unseen] = fold.scores(held_out, [name])
        inner = fold.chosen.blended(study.members)
        slope, offset = platt(inner, truth[fold.seen].astype(np.int64))
        at = threshold_for(
            _sigmoid(slope * inner + offset), truth[fold.seen].astype(np.int64), study.sensitivity
        )
        found.probability[repeat, unseen] = _sigmoid(slope * fold.scores(held_out, study.members) + offset)
        found.threshold[repeat, unseen] = at
        held_out = held_out.copy()
        held_out[:, blank] = np.nan
        found.blanked[repeat, unseen] = fold.scores(held_out, study.members)
        found.novelty += Detector(fold.design, rows[fold.seen]).novelty(rows[unseen]).tolist()


def report(study: Study, found: Unseen, limits: Mapping[str, float]) -> dict[str, object]:
    """The figures of the rows left out; `limits` are those of the shipped model, of `ship`."""
    truth = study.truth.astype(np.int64)
    every = np.arange(len(truth))
    areas = {name: found.area(scores, truth, every) for name, scores in found.scores.items()}
    called = _operating_point(found.called, truth)
    answered = np.abs(found.probability - found.threshold) >= study.grey
    right = found.called == (truth == 1)
    return {
        "rows": len(truth),
        "auc": found.area(found.probability, truth, every),
        "auc_95": interval(lambda some: found.area(found.probability, truth, some), len(truth), seed=study.seed),
        **{f"auc_{name}": area for name, area in areas.items()},
        **_intervals(found, truth, called, study.seed),
        "accuracy": float(right.mean()),
        "brier": float(np.mean([brier(each, truth) for each in found.probability])),
        "brier_prevalence": float(truth.mean() * (1 - truth.mean())),
        "calibration_error": calibration_error(found.probability.mean(0), truth),
        "abstained": float(1 - answered.mean()),
        "accuracy_answered": float(right[answered].mean()),
        **({"auc_blanked": found.area(found.blanked, truth, every)} if study.blanked else {}),
        "groups": {name: _group(found, truth, every[mask], study.seed) for name, mask in study.groups.items()},
        **limits,
    }  # fmt: skip


def _intervals(
    found: Unseen, truth: NDArray[np.int64], called: Mapping[str, float], seed: int
) -> dict[str, object]:
    """Sensitivity, specificity and predictive values with intervals."""
    told: dict[str, object] = dict(called)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        told[f"{name}_95"] = interval(
            lambda some, name=name: _operating_point(found.called[:, some], truth[some])[name],
            len(truth),
            seed=seed,
        )
    return told


def _operating_point(called: NDArray[np.bool_], truth: NDArray[np.int64]) -> dict[str, float]:
    """That of all divisions into folds together; called [R, N], truth [N]."""
    return operating_point(called.astype(float).ravel(), np.tile(truth, len(called)), 0.5)


def _group(found: Unseen, truth: NDArray[np.int64], rows: NDArray[np.int64], seed: int) -> dict[str, object]:
    """The figures of a subgroup, the places of its `rows`."""
    at = _operating_point(found.called[:, rows], truth[rows])
    return {
        "rows": len(rows),
        "prevalence": at["prevalence"],
        "auc": found.area(found.probability, truth, rows),
        "auc_95": interval(
            lambda some: found.area(found.probability, truth, rows[some]), len(rows), seed=seed
        ),
        "sensitivity": at["sensitivity"],
        "specificity": at["specificity"],
    }


@dataclass(frozen=True)
class Shipped:
    """The model made of all rows: its blend, Platt's scaling and detector."""

    blend: Blend
    detector: Detector
    slope: float
    offset: float

    def probability(self, rows: Floats) -> Floats:
        """[N, F] -> [N]."""
        return _sigmoid(self.slope * self.blend.scores(rows) + self.offset)


def ship(study: Study, found: Unseen) -> tuple[Shipped, dict[str, float]]:
    """The model made of all rows, and its limits."""
    truth = study.truth.astype(np.int64)
    chosen = choose(
        study.columns,
        study.rows,
        study.truth,
        study.families,
        cross_entropy,
        folds=study.inner,
        seed=study.seed,
    )
    unseen = chosen.blended(study.members)
    slope, offset = platt(unseen, truth)
    blend = chosen.blend(study.columns, study.rows, study.truth, study.members)
    shipped = Shipped(blend, Detector(blend.design, study.rows), slope, offset)
    threshold = threshold_for(_sigmoid(slope * unseen + offset), truth, study.sensitivity)
    known = np.array(found.novelty)
    caught = {name: shipped.detector.novelty(rows) for name, rows in study.foreign.items()}
    limits = novelty_figures(known, np.concatenate(list(caught.values())), study.false_alarms)
    each = {
        f"catch_rate_{name}": float((rows >= limits["novelty_limit"]).mean()) for name, rows in caught.items()
    }
    grey = {"grey_lower": round(threshold - study.grey, 2), "grey_upper": round(threshold + study.grey, 2)}
    return shipped, {"threshold": threshold, **grey, **limits, **each}


def write_graph(study: Study, shipped: Shipped, path: Path) -> float:
    """Write the graph and give the largest difference of its answers for the rows from those of the model."""
    graph = GraphWriter()
    raw, linear = shipped.blend.design.add(graph, "features")
    score = shipped.blend.add(graph, raw, linear)
    scaled = graph.add(
        "Add", graph.add("Mul", score, graph.constant(shipped.slope)), graph.constant(shipped.offset)
    )
    graph.add("Sigmoid", scaled, name="probability")
    shipped.detector.add(graph, linear)
    save(graph.model({"features": len(study.columns.names)}, ["probability", "novelty"]), path)
    wanted = {"probability": shipped.probability(study.rows), "novelty": shipped.detector.novelty(study.rows)}
    fed = {"features": study.columns.fed(study.rows)}
    return parity(path, fed, {name: values[:, None] for name, values in wanted.items()}, within=1e-4)


def write_bundle(
    folder: Path, study: Study, foreign: Floats, *, protocol: str, foreign_set: str
) -> list[tuple[str, Floats]]:
    """Measure, train on every row, export, and write the report of a study; rows for golden cases, with a note each.

    `foreign` [F] is a row unlike the study's, the last of them.
    """
    found = measured(study)
    shipped, limits = ship(study, found)
    gap = write_graph(study, shipped, folder / "model.onnx")
    write_report(
        folder, {**report(study, found, limits), "parity": gap, "protocol": protocol}, foreign_set=foreign_set
    )
    return made_up(study, shipped, limits, foreign)


def made_up(
    study: Study, shipped: Shipped, limits: Mapping[str, float], foreign: Floats
) -> list[tuple[str, Floats]]:
    """Rows of nobody, for golden cases, with a note each: drawn from the means of each class, column by column.

    From the least to the most probable; one in the grey zone; one without the columns that may be blank; `foreign` [F].
    """
    rows = np.concatenate([_drawn(study, value) for value in (0, 1)])
    rows = rows[shipped.detector.novelty(rows) < limits["novelty_limit"] * 0.95]
    rows = rows[np.argsort(shipped.probability(rows))]
    probability = shipped.probability(rows)
    is_grey = (limits["grey_lower"] <= probability) & (probability < limits["grey_upper"])
    told = rows[~is_grey]
    spread = [told[int(share * (len(told) - 1))] for share in (0, 0.15, 0.3, 0.45, 0.55, 0.7, 0.85, 1)]
    cases = [("made up", row) for row in spread]
    cases.append(("made up: too near the threshold", rows[is_grey][0]))
    if study.blanked:
        blank = spread[1].copy()
        blank[[study.columns.names.index(name) for name in study.blanked]] = np.nan
        cases.append((f"made up: without {' and '.join(study.blanked)}", blank))
    return [*cases, ("drawn at random from the accepted ranges", foreign)]


def _drawn(study: Study, value: int, count: int = 200) -> Floats:
    """Rows [count, F], each column on its own: normal about the mean of a class, or by its share of values."""
    chance = np.random.default_rng(study.seed + value)
    columns = []
    for column in study.rows[study.truth == value].T:
        known = column[~np.isnan(column)]
        if len(np.unique(known)) <= 5:
            columns.append(chance.choice(known, count))
            continue
        digits = 0 if np.equal(known, known.round()).all() else 1
        columns.append(
            chance.normal(known.mean(), known.std(), count).clip(known.min(), known.max()).round(digits)
        )
    return np.stack(columns, axis=1)


def _sigmoid(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-log_odds))
