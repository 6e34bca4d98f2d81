"""Entities of texts: exact matches of place and type, as in the CoNLL shared tasks (Tjong Kim Sang and De Meulder 2003)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click
import numpy as np

from service.cli.evaluation.figures import Evaluation, Ints, evaluation, given
from service.cli.evaluation.scoring import Scored

Span = tuple[int, int, str]  # start, end, label


def entities(scored: Sequence[Scored], values: Mapping[str, str]) -> Evaluation:
    """Compare entities over all cases together (micro), and of each type. A truth is a list of {start, end, label}.

    `values` maps labels of the truth to those of the model. Raises click.UsageError.
    """
    answered = [case for case in scored if case.answer is not None and given(case)["entities"] is not None]
    if not answered:
        raise click.UsageError("The model abstained from every case.")
    wanted = [_truth(case, values) for case in answered]
    found = [
        {(each["start"], each["end"], each["label"]) for each in given(case)["entities"]} for case in answered
    ]
    measures: dict[str, Callable[[Ints], float]] = {}
    kinds = sorted({label for spans in (*wanted, *found) for _, _, label in spans})
    for kind in (None, *kinds):
        counted = np.array([_counted(*each, kind) for each in zip(wanted, found, strict=True)])
        suffix = "" if kind is None else f" of {kind}"
        measures[f"F1{suffix}"] = partial(_f1, counted)
        if kind is None:
            measures["precision"] = partial(_share_of, counted, 1)
            measures["recall"] = partial(_share_of, counted, 2)
    return evaluation("entities", scored, measures, answered, mistakes=_mistakes(answered, wanted, found))


def _truth(case: Scored, values: Mapping[str, str]) -> set[Span]:
    told: Any = case.truth.get("entities") if isinstance(case.truth, dict) else case.truth
    try:
        return {
            (int(each["start"]), int(each["end"]), values.get(each["label"], each["label"])) for each in told
        }
    except (TypeError, KeyError, ValueError):
        raise click.UsageError(
            f'What is expected of {case.place} is no list of {{"start": ..., "end": ..., "label": ...}}.'
        ) from None


def _counted(wanted: set[Span], found: set[Span], kind: str | None) -> tuple[int, int, int]:
    """How many entities are right, were found, and are true."""
    if kind is not None:
        wanted, found = ({span for span in spans if span[2] == kind} for spans in (wanted, found))
    return len(wanted & found), len(found), len(wanted)


def _share_of(counted: Ints, column: int, rows: Ints) -> float:
    right, all_of_them = counted[rows, 0].sum(), counted[rows, column].sum()
    return float(right / all_of_them) if all_of_them else float("nan")


def _f1(counted: Ints, rows: Ints) -> float:
    right, found, wanted = counted[rows].sum(axis=0)
    return float(2 * right / (found + wanted)) if found + wanted else float("nan")


def _mistakes(
    answered: Sequence[Scored], wanted: Sequence[set[Span]], found: Sequence[set[Span]]
) -> list[dict[str, Any]]:
    """Entities that were missed or made up, by the cases that have most of them."""
    rows = [
        {"case": case.place, "start": start, "end": end, "label": label, "is": word}
        for case, true, told in zip(answered, wanted, found, strict=True)
        for word, spans in (("missed", true - told), ("made up", told - true))
        for start, end, label in sorted(spans)
    ]
    often = {row["case"]: sum(each["case"] == row["case"] for each in rows) for row in rows}
    return sorted(rows, key=lambda row: -often[row["case"]])
