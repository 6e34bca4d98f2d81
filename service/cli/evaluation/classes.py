"""Classes: AUC, accuracy, recall, precision, F1, calibration, confusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import numpy as np

from models.training.figures import area, brier, calibration_error, share
from service.cli.evaluation.figures import Evaluation, Flags, Floats, Ints, evaluation, given
from service.cli.evaluation.gallery import Mistake
from service.cli.evaluation.labelled import Labelled
from service.cli.evaluation.scoring import Scored


@dataclass(frozen=True)
class Classified:
    """Rows of a classifier: truth [N], answers [N] (-1: abstained), probabilities [N, C], the positive class."""

    truth: Ints
    answers: Ints
    probabilities: Floats
    names: Sequence[str]
    positive: int | None

    def of(self, rows: Ints) -> Classified:
        return Classified(
            self.truth[rows], self.answers[rows], self.probabilities[rows], self.names, self.positive
        )

    def __len__(self) -> int:
        return len(self.truth)


Measure = Callable[[Classified], float]


def classification(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """Compare labels and probabilities. `values` maps values of the truth to ids of labels. Raises click.UsageError."""
    answered = [case for case in scored if case.answer is not None]
    names = [str(label["id"]) for label in labels]
    positive = next((place for place, label in enumerate(labels) if label.get("positive")), None)
    table = Classified(
        np.array([names.index(label_of_case(case, labels, values)) for case in answered]),
        np.array([_place(case.answer or {}, names) for case in answered]),
        np.array([[given(case)[f"probability_{name}"] for name in names] for case in answered], float),
        names,
        positive,
    )
    measures = measures_of(table)
    wrong = _wrong(table)
    return evaluation(
        "classification",
        scored,
        measures,
        answered,
        answered_rows(table),
        curves={"table": table},
        mistakes=[_mistake(answered[row], table, row) for row in wrong],
        pictures=[
            Mistake(source, _caption(_mistake(answered[row], table, row)))
            for row in wrong
            if (source := answered[row].source) is not None
        ],
    )


def measures_of(table: Classified) -> dict[str, Callable[[Ints], float]]:
    """The figures of a classifier, each of some rows."""
    kinds = _CLASSIFIER if table.positive is None else _BINARY
    return {name: partial(_of_rows, measure, table) for name, measure in kinds.items()}


def answered_rows(table: Classified) -> dict[str, Flags]:
    """Of the figures that are of the rows with an answer alone, by name: which rows those are [N]."""
    kinds = _CLASSIFIER if table.positive is None else _BINARY
    return {name: table.answers >= 0 for name in kinds if name not in OF_PROBABILITIES}


def _of_rows(measure: Measure, table: Classified, rows: Ints) -> float:
    return measure(table.of(rows))


def label_of_case(
    case: Scored | Labelled, labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> str:
    """The label that is true of a case. Raises click.UsageError if there is none."""
    told = case.truth.get("label") if isinstance(case.truth, dict) else case.truth
    return label_of(told, case.place, labels, values)


def label_of(told: Any, place: str, labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> str:
    """The label that a truth means: by --value, or itself as id, display or code of a label. Raises click.UsageError."""
    text = str(int(told)) if isinstance(told, float) and told.is_integer() else str(told).strip()
    wanted = values.get(text, text)
    found = _id_of(wanted, labels)
    if found is None:
        raise click.UsageError(
            f"The truth of {place} is no label. Labels are {_ids(labels)}: map other values with --value VALUE=LABEL."
        )
    return found


def check_values(values: Mapping[str, str], labels: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a value of the truth that was given another meaning than one of `labels`, if the model has any.

    So that no case is scored in vain. Raises click.UsageError.
    """
    for value, meant in values.items():
        if labels and _id_of(meant, labels) is None:
            raise click.UsageError(
                f"--value {value}={meant}: {meant} is no label of the model. Labels are {_ids(labels)}."
            )


def _id_of(name: str, labels: Sequence[Mapping[str, Any]]) -> str | None:
    """The id of the label with this id, display or code."""
    for label in labels:
        if name in {label["id"], label["display"], label.get("code")}:
            return str(label["id"])
    return None


def _ids(labels: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(label["id"]) for label in labels)


def _place(answer: Mapping[str, Any], names: Sequence[str]) -> int:
    label = answer["label"]
    return -1 if label is None else names.index(label)


def _accuracy(table: Classified) -> float:
    given = table.answers >= 0
    return share((table.answers == table.truth)[given])


def _macro(per_class: Callable[[Classified, int], float]) -> Measure:
    def measure(table: Classified) -> float:
        found = np.array([per_class(table, place) for place in np.unique(table.truth)])
        return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")

    return measure


def recall(table: Classified, place: int) -> float:
    """Of the rows of a class that were answered, the share that is answered so."""
    given = (table.answers >= 0) & (table.truth == place)
    return share(table.answers[given] == place)


def precision(table: Classified, place: int) -> float:
    """Of the rows that are answered by a class, the share that is of it."""
    return share(table.truth[table.answers == place] == place)


def _f1(table: Classified, place: int) -> float:
    given = table.answers >= 0
    hits = float(((table.answers == place) & (table.truth == place)).sum())
    wrong = float(((table.answers == place) ^ ((table.truth == place) & given)).sum())
    return 2 * hits / (2 * hits + wrong) if hits or wrong else float("nan")


def _auc(table: Classified) -> float:
    if table.positive is not None:
        return area(table.probabilities[:, table.positive], table.truth == table.positive)
    return float(
        np.mean(
            [area(table.probabilities[:, place], table.truth == place) for place in np.unique(table.truth)]
        )
    )


def _of_positive(per_class: Callable[[Classified, int], float], *, other: bool = False) -> Measure:
    """A figure of the positive class, or of the other one."""

    def measure(table: Classified) -> float:
        assert table.positive is not None
        return per_class(table, 1 - table.positive if other else table.positive)

    return measure


def _brier(table: Classified) -> float:
    if table.positive is not None:
        return brier(table.probabilities[:, table.positive], (table.truth == table.positive).astype(np.int64))
    return brier(table.probabilities, table.truth)


def _calibration(table: Classified) -> float:
    if table.positive is not None:
        return calibration_error(
            table.probabilities[:, table.positive], (table.truth == table.positive).astype(np.int64)
        )
    return calibration_error(table.probabilities, table.truth)


_BINARY: Mapping[str, Measure] = {
    "AUC": _auc,
    "accuracy": _accuracy,
    "sensitivity": _of_positive(recall),
    "specificity": _of_positive(recall, other=True),
    "positive predictive value": _of_positive(precision),
    "negative predictive value": _of_positive(precision, other=True),
    "F1": _of_positive(_f1),
    "Brier score": _brier,
    "calibration error": _calibration,
}
_CLASSIFIER: Mapping[str, Measure] = {
    "AUC, mean of one against the rest": _auc,
    "accuracy": _accuracy,
    "macro recall": _macro(recall),
    "macro precision": _macro(precision),
    "macro F1": _macro(_f1),
    "Brier score": _brier,
    "calibration error": _calibration,
}

# These are of every case that was scored; the others of those that got a label.
OF_PROBABILITIES = frozenset(
    name
    for name, measure in [*_BINARY.items(), *_CLASSIFIER.items()]
    if measure in {_auc, _brier, _calibration}
)


def _wrong(table: Classified) -> Ints:
    """The rows of wrong answers, the surest first."""
    wrong = np.flatnonzero((table.answers >= 0) & (table.answers != table.truth))
    sure = table.probabilities[wrong, table.answers[wrong]]
    return wrong[np.argsort(-sure, kind="stable")]


def _mistake(case: Scored, table: Classified, row: int) -> dict[str, Any]:
    return {
        "case": case.place,
        "truth": table.names[table.truth[row]],
        "answer": table.names[table.answers[row]],
        "probability": float(table.probabilities[row, table.answers[row]]),
    }


def _caption(mistake: Mapping[str, Any]) -> str:
    return "{case}: truth {truth}, answer {answer} ({probability:.3f})".format(**mistake)
