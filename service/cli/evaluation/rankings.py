"""Ranked lists: nDCG, recall and reciprocal rank among the first ten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
import numpy as np

from service.cli.evaluation.figures import Evaluation, Ints, evaluation, given
from service.cli.evaluation.scoring import Scored

CUT = 10
MOST_SHOWN = 5


def ranking(scored: Sequence[Scored], listed: str = "hits") -> Evaluation:
    """Compare ranked lists, which answers have under the key `listed`.

    A truth is a list of ids that are relevant, or a table of ids with their grades. A case from which the model abstained has
    an empty list, and counts. Raises click.UsageError.
    """
    answered = [case for case in scored if case.answer is not None]
    grades = [_grades(case) for case in answered]
    ranks = [[str(hit["id"]) for hit in given(case)[listed][:CUT]] for case in answered]
    pairs = list(zip(grades, ranks, strict=True))
    columns = {
        f"nDCG@{CUT}": np.array([_ndcg(*pair) for pair in pairs]),
        f"recall@{CUT}": np.array([_recall(*pair) for pair in pairs]),
        f"reciprocal rank@{CUT}": np.array([_reciprocal(*pair) for pair in pairs]),
    }
    measures: dict[str, Callable[[Ints], float]] = {
        name: lambda rows, column=column: float(column[rows].mean())  # type: ignore[misc]  # mypy does not infer the default
        for name, column in columns.items()
    }
    worst = np.argsort(columns[f"nDCG@{CUT}"], kind="stable")
    mistakes: list[dict[str, Any]] = [
        {"case": answered[row].place, **{name: float(column[row]) for name, column in columns.items()}}
        for row in worst
    ]
    found = evaluation("ranking", scored, measures, answered, mistakes=mistakes)
    return replace(found, notes=_never_answered(grades, answered, listed))


def _never_answered(
    grades: Sequence[Mapping[str, float]], answered: Sequence[Scored], listed: str
) -> list[str]:
    """That ids are expected which stand in no answer: of one that the catalogue lacks, each case is a miss."""
    seen = {str(hit["id"]) for case in answered for hit in given(case)[listed]}
    never = sorted({name for each in grades for name in each} - seen)
    if not never:
        return []
    shown = ", ".join(never[:MOST_SHOWN]) + (", ..." if len(never) > MOST_SHOWN else "")
    detail = "see that each is an id of the model's catalogue, as what it lacks can never be found"
    return [f"{len(never)} of the expected ids stand in no answer and count as missed ({shown}): {detail}."]


def _grades(case: Scored) -> Mapping[str, float]:
    """The grade of each relevant id, above 0."""
    told = case.truth
    if isinstance(told, list):
        told = {str(each): 1.0 for each in told}
    if not isinstance(told, dict) or not all(isinstance(grade, int | float) for grade in told.values()):
        raise click.UsageError(
            f"What is expected of {case.place} is neither a list of ids nor a table of ids with grades."
        )
    grades = {str(each): float(grade) for each, grade in told.items() if grade > 0}
    if not grades:
        raise click.UsageError(f"Nothing is relevant to {case.place}: leave it out.")
    return grades


def _ndcg(grades: Mapping[str, float], ranks: Sequence[str]) -> float:
    """Normalised discounted cumulative gain with the grade as gain (Jarvelin and Kekalainen 2002)."""
    best = sorted(grades.values(), reverse=True)[:CUT]
    return _gain([grades.get(each, 0.0) for each in ranks]) / _gain(best)


def _gain(grades: Sequence[float]) -> float:
    return float(sum(grade / np.log2(place + 2) for place, grade in enumerate(grades)))


def _recall(grades: Mapping[str, float], ranks: Sequence[str]) -> float:
    return sum(each in grades for each in ranks) / len(grades)


def _reciprocal(grades: Mapping[str, float], ranks: Sequence[str]) -> float:
    return next((1 / place for place, each in enumerate(ranks, start=1) if each in grades), 0.0)
