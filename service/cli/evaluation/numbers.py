"""Numbers: R2, errors, and how often an interval holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np

from service.cli.evaluation.figures import Evaluation, Floats, Ints, evaluation, given
from service.cli.evaluation.scoring import Scored


def regression(scored: Sequence[Scored]) -> Evaluation:
    """Compare numbers, and count how often an interval holds. Raises click.UsageError."""
    answered = [case for case in scored if case.answer is not None]
    kept = [case for case in answered if given(case).get("value") is not None]
    if not kept:
        raise click.UsageError("The model abstained from every case.")
    truth, told = (
        np.array([_number(case) for case in kept]),
        np.array([float(given(case)["value"]) for case in kept]),
    )
    measures = measures_of(truth, told, [bounds_of(given(case)) for case in kept])
    order = np.argsort(-np.abs(truth - told))
    mistakes = [
        {"case": kept[row].place, "truth": float(truth[row]), "answer": float(told[row])} for row in order
    ]
    return evaluation(
        "regression", scored, measures, kept, curves={"pairs": (truth, told)}, mistakes=mistakes
    )


def measures_of(
    truth: Floats, told: Floats, bounds: Sequence[tuple[float, float] | None]
) -> dict[str, Callable[[Ints], float]]:
    """The figures of numbers [N], each of some rows; that of the intervals if every answer has one."""
    measures: dict[str, Callable[[Ints], float]] = {
        "R2": lambda rows: _r2(truth[rows], told[rows]),
        "mean absolute error": lambda rows: float(np.abs(truth - told)[rows].mean()),
        "root mean squared error": lambda rows: float(np.sqrt(((truth - told)[rows] ** 2).mean())),
    }
    if None not in bounds:
        low, high = np.array(bounds, float).T
        inside = (low <= truth) & (truth <= high)
        measures["coverage of the interval"] = lambda rows: float(inside[rows].mean())
    return measures


def bounds_of(answer: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of an answer, if it has one."""
    low, high = answer.get("interval_lower"), answer.get("interval_upper")
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
