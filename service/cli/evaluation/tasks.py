"""Several tasks in one answer, such as properties of a molecule: the figures of each, where its truth is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final

import click
import numpy as np

from models.training.figures import area
from service.cli.evaluation.classes import Classified, answered_rows
from service.cli.evaluation.classes import measures_of as class_measures
from service.cli.evaluation.figures import (
    Evaluation,
    Figure,
    Flags,
    Floats,
    Ints,
    TaskCounts,
    counts,
    figures_of,
    given,
    problems,
)
from service.cli.evaluation.numbers import bounds_of
from service.cli.evaluation.numbers import measures_of as number_measures
from service.cli.evaluation.scoring import Scored

TASK: Final = re.compile(r"tasks_(.+)_similarity")  # a column that every task has
POSITIVE: Final = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
UNKNOWN: Final = frozenset({"", "none", "nan"})


@dataclass(frozen=True)
class _Task:
    """The cases of one task with an answer and a truth: their figures, and what was wrong, the worst first."""

    counts: TaskCounts
    figures: Sequence[Figure] = ()
    mistakes: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Sequence[Scored], Floats, Ints] | None = None  # of a task with two classes


def tasks(scored: Sequence[Scored], values: Mapping[str, str]) -> Evaluation:
    """Compare the tasks that have a truth. A truth is a table of tasks with their values; null or empty: not measured.

    Of a task with two classes, 1 is the positive one; `values` maps other values to 1 or 0. Raises click.UsageError.
    """
    answered = [case for case in scored if case.answer is not None]
    known = [match[1] for name in given(answered[0]) if (match := TASK.fullmatch(name))]
    truths = [_truths(case, known) for case in answered]
    by_name: dict[str, _Task] = {}
    for task in known:
        rows = [row for row, truth in enumerate(truths) if task in truth]
        cases, wanted = [answered[row] for row in rows], [truths[row][task] for row in rows]
        compare = _numbers if f"tasks_{task}_value" in given(answered[0]) else partial(_classes, values)
        if cases:
            by_name[task] = compare(task, cases, wanted)
    if not by_name:
        raise click.UsageError(f"No case has a truth: tasks are {', '.join(known)}.")
    found = [*by_name.values()]
    mistakes = [
        each
        for each in chain.from_iterable(zip_longest(*(task.mistakes for task in found)))
        if each is not None
    ]
    figures = [*_mean_area(answered, found), *chain.from_iterable(task.figures for task in found)]
    return Evaluation(
        "tasks",
        counts(scored),
        problems(scored),
        lambda: figures,
        curves={name: task.curves for name, task in by_name.items()},
        mistakes=mistakes,
        tasks={name: task.counts for name, task in by_name.items()},
    )


def _truths(case: Scored, known: Sequence[str]) -> dict[str, str]:
    """What is known of a case, by task. Raises click.UsageError."""
    told = case.truth
    if not isinstance(told, dict):
        if len(known) > 1:
            raise click.UsageError(
                f"The truth of {case.place} names no task: name columns by --task TASK=COLUMN. Tasks are {', '.join(known)}."
            )
        told = dict.fromkeys(known, told)
    if strange := [name for name in told if name not in known]:
        raise click.UsageError(f"The model has no task {strange[0]}: tasks are {', '.join(known)}.")
    texts = {name: str(value).strip() for name, value in told.items()}
    return {name: text for name, text in texts.items() if text.lower() not in UNKNOWN}


def _numbers(task: str, cases: Sequence[Scored], wanted: Sequence[str]) -> _Task:
    """The errors of numbers, of the cases that the task did not abstain from."""
    pairs = [(case, text, _of(case, task)) for case, text in zip(cases, wanted, strict=True)]
    kept = [(case, text, answer) for case, text, answer in pairs if answer["value"] is not None]
    truth = np.array([_number(case, text, task) for case, text, _ in kept])
    ended = TaskCounts(len(cases), len(kept), len(cases) - len(kept))
    if not kept:
        return _Task(ended)
    told = np.array([float(answer["value"]) for *_, answer in kept])
    measures = number_measures(truth, told, [bounds_of(answer) for *_, answer in kept])
    mistakes = [
        {"case": kept[row][0].place, "task": task, "truth": float(truth[row]), "answer": float(told[row])}
        for row in np.argsort(-np.abs(truth - told))
    ]
    figures = _named(task, [case for case, *_ in kept], measures)
    return _Task(ended, figures, mistakes, {"pairs": (truth, told)})


def _classes(values: Mapping[str, str], task: str, cases: Sequence[Scored], wanted: Sequence[str]) -> _Task:
    """The figures of two classes, of the cases that were scored; what was abstained from has a probability, but no answer."""
    pairs = [(case, text, _of(case, task)) for case, text in zip(cases, wanted, strict=True)]
    kept = [(case, text, answer) for case, text, answer in pairs if answer["probability"] is not None]
    truth = np.array([_is_positive(case, values.get(text, text), task) for case, text, _ in kept], int)
    right_or_wrong = sum(answer["positive"] is not None for *_, answer in pairs)
    ended = TaskCounts(len(cases), right_or_wrong, len(cases) - right_or_wrong)
    if not kept:
        return _Task(ended)
    score = np.array([float(answer["probability"]) for *_, answer in kept])
    answers = np.array([-1 if answer["positive"] is None else int(answer["positive"]) for *_, answer in kept])
    table = Classified(truth, answers, np.stack([1 - score, score], axis=1), ("0", "1"), 1)
    wrong = np.flatnonzero((answers >= 0) & (answers != truth))
    mistakes = [
        {
            "case": kept[row][0].place,
            "task": task,
            "truth": int(truth[row]),
            "answer": int(answers[row]),
            "probability_positive": float(score[row]),
        }
        for row in wrong[np.argsort(-np.abs(truth - score)[wrong], kind="stable")]
    ]
    own = [case for case, *_ in kept]
    figures = _named(task, own, class_measures(table), answered_rows(table))
    return _Task(ended, figures, mistakes, {"table": table}, (own, score, truth))


def _named(
    task: str,
    cases: Sequence[Scored],
    measures: Mapping[str, Callable[[Ints], float]],
    counted: Mapping[str, Flags] | None = None,
) -> list[Figure]:
    """The figures of one task, after whose name they are called. `counted` by figure: see figure."""
    return figures_of(
        cases,
        {f"{task}: {name}": measure for name, measure in measures.items()},
        {f"{task}: {name}": rows for name, rows in (counted or {}).items()},
    )


def _mean_area(answered: Sequence[Scored], found: Sequence[_Task]) -> list[Figure]:
    """The mean of the areas under the curves of all tasks with two classes, if there are several."""
    tables = [task.scores for task in found if task.scores is not None]
    if len(tables) < 2:
        return []
    places = {id(case): row for row, case in enumerate(answered)}
    columns = [
        (np.array([places[id(case)] for case in cases]), score, truth) for cases, score, truth in tables
    ]

    def mean(rows: Ints) -> float:
        often = np.bincount(rows, minlength=len(answered))
        return float(np.mean(list(_areas(columns, often))))

    name, compared = "mean AUC of tasks", np.zeros(len(answered), np.bool_)
    compared[np.concatenate([rows for rows, *_ in columns])] = True
    return figures_of(answered, {name: mean}, {name: compared})


def _areas(columns: Sequence[tuple[Ints, Floats, Ints]], often: Ints) -> Iterator[float]:
    """The area of each task, each case as often as it was drawn. Raises ValueError if a class is missing."""
    for places, score, truth in columns:
        drawn = np.repeat(np.arange(len(places)), often[places])
        yield area(score[drawn], truth[drawn])


def _of(case: Scored, task: str) -> dict[str, Any]:
    """The answer of one task."""
    start = f"tasks_{task}_"
    told = {name.removeprefix(start): value for name, value in given(case).items() if name.startswith(start)}
    return {"value": None, "probability": None, "positive": None} | told


def _number(case: Scored, text: str, task: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"The truth of {task} of {case.place} is not a number.") from None


def _is_positive(case: Scored, text: str, task: str) -> bool:
    try:
        return POSITIVE[text.lower()]
    except KeyError:
        raise click.UsageError(
            f"The truth of {task} of {case.place} is neither 1 nor 0: map other values with --value VALUE=1."
        ) from None
