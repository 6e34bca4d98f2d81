"""Compares answers with the truth: the figures of each kind of task, with 95 % intervals by the bootstrap, by subgroup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models.training.figures import area, brier, calibration_error, interval
from service.cli.evaluation.scoring import Scored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20261128
LEAST_ROWS = 20  # of a subgroup: intervals of fewer mean nothing
EVERYBODY = "all"


@dataclass(frozen=True)
class Figure:
    """One figure of one group, with its 95 % interval where it has one."""

    group: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What came out: how many cases ended how, the figures, and what plots are drawn from."""

    task: str
    counts: Mapping[str, int]
    problems: Mapping[str, int]
    figures: Sequence[Figure]
    curves: Mapping[str, Any] = field(default_factory=dict)
    mistakes: Sequence[Mapping[str, Any]] = ()


def evaluated(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """The figures of scored cases. `values` maps values of the truth to ids of labels. Raises click.UsageError."""
    answered = [case for case in scored if case.answer is not None]
    if not answered:
        raise click.UsageError(f"No case was scored: {dict(_problems(scored))}.")
    kind = (answered[0].answer or {}).get("type", "classification")
    if kind == "classification" and labels:
        return _classification(scored, answered, labels, values)
    if kind == "regression":
        return _regression(scored, answered)
    raise click.UsageError(f"Answers of the type {kind} cannot be evaluated yet.")


def _problems(scored: Sequence[Scored]) -> Counter[str]:
    return Counter(case.problem for case in scored if case.answer is None)


def _counts(scored: Sequence[Scored], answered: Sequence[Scored]) -> dict[str, int]:
    abstained = sum(bool((case.answer or {}).get("abstained")) for case in answered)
    return {
        "cases": len(scored),
        "answered": len(answered) - abstained,
        "abstained": abstained,
        "not scored": len(scored) - len(answered),
    }


@dataclass(frozen=True)
class _Classified:
    """Rows of a classifier: truth [N], answers [N] (-1: abstained), probabilities [N, C], the positive class."""

    truth: Ints
    answers: Ints
    probabilities: Floats
    names: Sequence[str]
    positive: int | None

    def of(self, rows: Ints) -> _Classified:
        return _Classified(
            self.truth[rows], self.answers[rows], self.probabilities[rows], self.names, self.positive
        )

    def __len__(self) -> int:
        return len(self.truth)


def _classification(
    scored: Sequence[Scored],
    answered: Sequence[Scored],
    labels: Sequence[Mapping[str, Any]],
    values: Mapping[str, str],
) -> Evaluation:
    names = [str(label["id"]) for label in labels]
    positive = next((place for place, label in enumerate(labels) if label.get("positive")), None)
    table = _Classified(
        np.array([names.index(_label(case, labels, values)) for case in answered]),
        np.array([_place(case.answer or {}, names) for case in answered]),
        np.array(
            [[(case.answer or {})[f"probability_{name}"] for name in names] for case in answered], float
        ),
        names,
        positive,
    )
    figures = [
        figure
        for group, rows in _groups(answered)
        for figure in _figures(group, table.of(rows), _CLASSIFIER if positive is None else _BINARY)
    ]
    return Evaluation(
        "classification",
        _counts(scored, answered),
        _problems(scored),
        figures,
        {"table": table},
        _mistakes(answered, table),
    )


def _label(case: Scored, labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> str:
    """The label that is true of a case: by --value, or the value itself as id, display or code of a label."""
    told = case.truth.get("label") if isinstance(case.truth, dict) else case.truth
    text = str(int(told)) if isinstance(told, float) and told.is_integer() else str(told)
    wanted = values.get(text, text)
    for label in labels:
        if wanted in {label["id"], label["display"], label.get("code")}:
            return str(label["id"])
    known = ", ".join(str(label["id"]) for label in labels)
    raise click.UsageError(
        f"The truth of {case.place} is no label. Labels are {known}: map other values with --value VALUE=LABEL."
    )


def _place(answer: Mapping[str, Any], names: Sequence[str]) -> int:
    label = answer["label"]
    return -1 if label is None else names.index(label)


def _groups(answered: Sequence[Scored]) -> Iterator[tuple[str, Ints]]:
    """All rows, then those of each value of each group that has enough of them."""
    yield EVERYBODY, np.arange(len(answered))
    for name in answered[0].groups:
        values = np.array([case.groups[name] for case in answered])
        for value in sorted(set(values.tolist())):
            rows = np.flatnonzero(values == value)
            if len(rows) >= LEAST_ROWS:
                yield f"{name} {value}", rows


Measure = Callable[[_Classified], float]


def _figures(group: str, table: _Classified, measures: Mapping[str, Measure]) -> Iterator[Figure]:
    for name, measure in measures.items():
        try:
            value = measure(table)
        except ValueError:  # undefined, such as the AUC of one class
            continue
        if np.isnan(value):
            continue
        low, high = interval(lambda rows, measure=measure: measure(table.of(rows)), len(table), seed=SEED)  # type: ignore[misc]  # mypy does not infer the default
        yield Figure(group, name, value, low, high, len(table))


def _share(rows: NDArray[np.bool_]) -> float:
    return float(rows.mean()) if len(rows) else float("nan")


def _accuracy(table: _Classified) -> float:
    given = table.answers >= 0
    return _share((table.answers == table.truth)[given])


def _macro(per_class: Callable[[_Classified, int], float]) -> Measure:
    def measure(table: _Classified) -> float:
        return float(np.nanmean([per_class(table, place) for place in np.unique(table.truth)]))

    return measure


def _recall(table: _Classified, place: int) -> float:
    given = (table.answers >= 0) & (table.truth == place)
    return _share(table.answers[given] == place)


def _precision(table: _Classified, place: int) -> float:
    return _share(table.truth[table.answers == place] == place)


def _f1(table: _Classified, place: int) -> float:
    given = table.answers >= 0
    hits = float(((table.answers == place) & (table.truth == place)).sum())
    wrong = float(((table.answers == place) ^ ((table.truth == place) & given)).sum())
    return 2 * hits / (2 * hits + wrong) if hits or wrong else float("nan")


def _auc(table: _Classified) -> float:
    if table.positive is not None:
        return area(table.probabilities[:, table.positive], table.truth == table.positive)
    return float(
        np.mean(
            [area(table.probabilities[:, place], table.truth == place) for place in np.unique(table.truth)]
        )
    )


def _of_positive(per_class: Callable[[_Classified, int], float], *, other: bool = False) -> Measure:
    """A figure of the positive class, or of the other one."""

    def measure(table: _Classified) -> float:
        assert table.positive is not None
        return per_class(table, 1 - table.positive if other else table.positive)

    return measure


def _brier(table: _Classified) -> float:
    if table.positive is not None:
        return brier(table.probabilities[:, table.positive], (table.truth == table.positive).astype(np.int64))
    return brier(table.probabilities, table.truth)


def _calibration(table: _Classified) -> float:
    if table.positive is not None:
        return calibration_error(
            table.probabilities[:, table.positive], (table.truth == table.positive).astype(np.int64)
        )
    return calibration_error(table.probabilities, table.truth)


_BINARY: Mapping[str, Measure] = {
    "AUC": _auc,
    "accuracy": _accuracy,
    "sensitivity": _of_positive(_recall),
    "specificity": _of_positive(_recall, other=True),
    "positive predictive value": _of_positive(_precision),
    "negative predictive value": _of_positive(_precision, other=True),
    "F1": _of_positive(_f1),
    "Brier score": _brier,
    "calibration error": _calibration,
}
_CLASSIFIER: Mapping[str, Measure] = {
    "AUC, mean of one against the rest": _auc,
    "accuracy": _accuracy,
    "macro recall": _macro(_recall),
    "macro precision": _macro(_precision),
    "macro F1": _macro(_f1),
    "Brier score": _brier,
    "calibration error": _calibration,
}


def _mistakes(answered: Sequence[Scored], table: _Classified) -> list[dict[str, Any]]:
    """Wrong answers, the surest first."""
    wrong = np.flatnonzero((table.answers >= 0) & (table.answers != table.truth))
    sure = table.probabilities[wrong, table.answers[wrong]]
    return [
        {
            "case": answered[row].place,
            "truth": table.names[table.truth[row]],
            "answer": table.names[table.answers[row]],
            "probability": float(table.probabilities[row, table.answers[row]]),
        }
        for row in wrong[np.argsort(-sure, kind="stable")]
    ]


def _regression(scored: Sequence[Scored], answered: Sequence[Scored]) -> Evaluation:
    kept = [case for case in answered if (case.answer or {}).get("value") is not None]
    if not kept:
        raise click.UsageError("The model abstained from every case.")
    truth = np.array([_number(case) for case in kept])
    given = np.array([float((case.answer or {})["value"]) for case in kept])
    measures: dict[str, Callable[[Ints], float]] = {
        "R2": lambda rows: _r2(truth[rows], given[rows]),
        "mean absolute error": lambda rows: float(np.abs(truth - given)[rows].mean()),
        "root mean squared error": lambda rows: float(np.sqrt(((truth - given)[rows] ** 2).mean())),
    }
    bounds = [_bounds(case.answer or {}) for case in kept]
    if None not in bounds:
        low, high = np.array(bounds, float).T
        inside = (low <= truth) & (truth <= high)
        measures["coverage of the interval"] = lambda rows: float(inside[rows].mean())
    figures = [
        Figure(group, name, measure(rows), low, high, len(rows))
        for group, rows in _groups(kept)
        for name, measure in measures.items()
        for low, high in [_interval_of(measure, rows)]
    ]
    order = np.argsort(-np.abs(truth - given))
    mistakes = [
        {"case": kept[row].place, "truth": float(truth[row]), "answer": float(given[row])} for row in order
    ]
    counts = _counts(scored, answered)
    return Evaluation("regression", counts, _problems(scored), figures, {"pairs": (truth, given)}, mistakes)


def _interval_of(measure: Callable[[Ints], float], rows: Ints) -> tuple[float, float]:
    low, high = interval(lambda drawn: measure(rows[drawn]), len(rows), seed=SEED)
    return low, high


def _bounds(answer: Mapping[str, Any]) -> tuple[float, float] | None:
    found = answer.get("interval") or {
        "lower": answer.get("interval_lower"),
        "upper": answer.get("interval_upper"),
    }
    low, high = found.get("lower"), found.get("upper")
    return None if low is None or high is None else (float(low), float(high))


def _number(case: Scored) -> float:
    told = case.truth.get("value") if isinstance(case.truth, dict) else case.truth
    try:
        return float(str(told))
    except (TypeError, ValueError):
        raise click.UsageError(f"The truth of {case.place} is not a number.") from None


def _r2(truth: Floats, given: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - given) ** 2).sum()) / spread if spread else float("nan")
