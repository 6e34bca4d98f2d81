"""Beats of recordings: classes of those that were found, and how many were found, as in ANSI/AAMI EC57."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import numpy as np

from models.training.heartbeats import NEAR_S, jk_index, kappa, paired
from service.cli.evaluation.classes import Classified, label_of, measures_of, precision, recall
from service.cli.evaluation.figures import Evaluation, Floats, Ints, evaluation, given
from service.cli.evaluation.scoring import Scored
from service.cli.evaluation.traces import trace

MOST_TRACES: Final = 24  # of a page
ECTOPIC: Final = ("s", "v")  # ids of labels that jk is of, whatever their case


@dataclass(frozen=True)
class Recording:
    """The beats of a recording that were found and have a class, at `samples` [n]; how many are true, found, and both."""

    table: Classified
    samples: Ints
    true: int
    found: int
    right: int


def beats(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """Compare the beats of recordings. A truth is a list of {sample, label}; a label of null: a beat without a class.

    A beat is found if one of the answer lies within NEAR_S of it. `values` maps values of the truth to ids of labels.
    Intervals resample recordings. Raises click.UsageError.
    """
    answered = [case for case in scored if case.answer is not None and given(case)["beats"]]
    if not answered:
        raise click.UsageError("The model abstained from every recording.")
    recordings = [matched(case, labels, values) for case in answered]
    table = _joined([each.table for each in recordings])
    ends = np.cumsum([len(each.table) for each in recordings])
    places = np.split(np.arange(len(table)), ends[:-1])

    def of_beats(measure: Callable[[Ints], float]) -> Callable[[Ints], float]:
        return lambda rows: measure(np.concatenate([places[row] for row in rows]))

    counted = np.array([(each.true, each.found, each.right) for each in recordings])
    measures = {name: of_beats(measure) for name, measure in _measures(table).items()} | {
        "beats found": lambda rows: _ratio(counted[rows, 2].sum(), counted[rows, 0].sum()),
        "found that are beats": lambda rows: _ratio(counted[rows, 2].sum(), counted[rows, 1].sum()),
    }
    wrong = [
        (case, each)
        for case, recording in zip(answered, recordings, strict=True)
        for each in _mistakes(case, recording)
    ]
    wrong.sort(key=lambda each: -each[1]["probability"])
    shown = (trace(case.input, each["sample"], _caption(each)) for case, each in wrong[:MOST_TRACES])
    return evaluation(
        "beats",
        scored,
        measures,
        answered,
        curves={"table": table},
        mistakes=[each for _, each in wrong],
        traces=[each for each in shown if each is not None],
    )


def matched(case: Scored, labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> Recording:
    """The beats of one recording that was answered; see beats. Raises click.UsageError."""
    names = [str(label["id"]) for label in labels]
    true = sorted(_truth(case), key=lambda each: int(each["sample"]))
    told = given(case)["beats"]
    rate = told[-1]["sample"] / told[-1]["time_s"]  # of the samples; no last beat is at 0
    annotated = np.array([int(each["sample"]) for each in true])
    pairs = paired(np.array([each["sample"] for each in told]), annotated, NEAR_S * rate)
    kept = [
        (answer, label_of(true[place]["label"], case.place, labels, values))
        for answer, place in zip(told, pairs.tolist(), strict=True)
        if place >= 0 and true[place]["label"] is not None
    ]
    table = Classified(
        np.array([names.index(label) for _, label in kept], int),
        np.array(
            [-1 if answer["label"] is None else names.index(answer["label"]) for answer, _ in kept], int
        ),
        np.array([[answer["probabilities"][name] for name in names] for answer, _ in kept]).reshape(
            len(kept), len(names)
        ),
        names,
        None,
    )
    samples = np.array([answer["sample"] for answer, _ in kept], int)
    return Recording(table, samples, len(true), len(told), int((pairs >= 0).sum()))


def _truth(case: Scored) -> Sequence[Mapping[str, Any]]:
    """The beats that are expected, one or more. Raises click.UsageError."""
    told: Any = case.truth.get("beats") if isinstance(case.truth, dict) else case.truth
    if (
        isinstance(told, list)
        and told
        and all(
            isinstance(each, dict) and isinstance(each.get("sample"), int) and "label" in each
            for each in told
        )
    ):
        return told
    raise click.UsageError(f'What is expected of {case.place} is no list of {{"sample": ..., "label": ...}}.')


def _joined(tables: Sequence[Classified]) -> Classified:
    return Classified(
        np.concatenate([each.truth for each in tables]),
        np.concatenate([each.answers for each in tables]),
        np.concatenate([each.probabilities for each in tables]),
        tables[0].names,
        None,
    )


def _measures(table: Classified) -> dict[str, Callable[[Ints], float]]:
    """The figures of the classes together but for areas under curves, and of each class."""
    found = {name: measure for name, measure in measures_of(table).items() if not name.startswith("AUC")}
    found["kappa"] = lambda rows: kappa(_crossed(table.of(rows)))
    known = [name.casefold() for name in table.names]
    if all(name in known for name in ECTOPIC):
        ectopic = known.index(ECTOPIC[0]), known.index(ECTOPIC[1])
        found["jk"] = lambda rows: jk_index(_crossed(table.of(rows)), ectopic)
    for place, name in enumerate(table.names):
        found[f"sensitivity of {name}"] = _of_class(recall, table, place)
        found[f"positive predictive value of {name}"] = _of_class(precision, table, place)
    return found


def _crossed(table: Classified) -> Floats:
    """How many beats of each class (rows) got which answer (columns): [C, C], without those that were abstained from."""
    found = np.zeros((len(table.names), len(table.names)))
    given_one = table.answers >= 0
    np.add.at(found, (table.truth[given_one], table.answers[given_one]), 1)
    return found


def _of_class(
    measure: Callable[[Classified, int], float], table: Classified, place: int
) -> Callable[[Ints], float]:
    return lambda rows: measure(table.of(rows), place)


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else float("nan")


def _mistakes(case: Scored, recording: Recording) -> list[dict[str, Any]]:
    table = recording.table
    return [
        {
            "case": case.place,
            "sample": int(recording.samples[row]),
            "truth": table.names[table.truth[row]],
            "answer": table.names[table.answers[row]],
            "probability": float(table.probabilities[row, table.answers[row]]),
        }
        for row in np.flatnonzero((table.answers >= 0) & (table.answers != table.truth))
    ]


def _caption(mistake: Mapping[str, Any]) -> str:
    return "{case}, sample {sample}: truth {truth}, answer {answer} ({probability:.3f})".format(**mistake)
