"""Texts that a model wrote, compared with those of people: ROUGE, and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
import numpy as np

from models.training.rouge import rouge_1, rouge_2, rouge_l, words_of
from service.cli.evaluation.figures import Evaluation, Floats, Ints, evaluation, given
from service.cli.evaluation.scoring import Scored

_MEASURES: dict[str, Callable[[str, str], float]] = {
    "ROUGE-1": rouge_1,
    "ROUGE-2": rouge_2,
    "ROUGE-L": rouge_l,
}


def texts(scored: Sequence[Scored]) -> Evaluation:
    """Compare texts, of the cases that the model answered. Raises click.UsageError."""
    answered = [case for case in scored if case.answer is not None]
    kept = [case for case in answered if given(case).get("text") is not None]
    if not kept:
        raise click.UsageError("The model abstained from every case.")
    pairs = [(str(given(case)["text"]), _text(case)) for case in kept]
    columns = {name: np.array([measure(*pair) for pair in pairs]) for name, measure in _MEASURES.items()}
    lengths = np.array([[len(words_of(text)) for text in pair] for pair in pairs], float)
    measures: dict[str, Callable[[Ints], float]] = {name: _mean(column) for name, column in columns.items()}
    measures["words for each word of the truth"] = lambda rows: _ratio(*lengths[rows].sum(axis=0))
    worst = np.argsort(columns["ROUGE-1"], kind="stable")
    mistakes = [
        {"case": kept[row].place, **{name: float(column[row]) for name, column in columns.items()}}
        for row in worst
    ]
    return evaluation("text", scored, measures, kept, mistakes=mistakes)


def _text(case: Scored) -> str:
    if not isinstance(case.truth, str) or not words_of(case.truth):
        raise click.UsageError(f"The truth of {case.place} is not a text with at least one word.")
    return case.truth


def _mean(column: Floats) -> Callable[[Ints], float]:
    return lambda rows: float(column[rows].mean())


def _ratio(ours: float, theirs: float) -> float:
    return float(ours / theirs)
