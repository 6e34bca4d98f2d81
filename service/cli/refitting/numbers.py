"""Regressions of tables: their rows, and the step and interval that are fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.refits.making import Change
from models.refits.regressors import Measured, refit_regression
from models.variants.measuring import LocalModel
from service.cli.evaluation.gains import Comparison, compared
from service.cli.evaluation.local import LocalCase, RefusedCase
from service.cli.evaluation.losses import scored_here
from service.cli.refitting.classes import NOVEL
from service.cli.refitting.rows import LEAST_ROWS, Row


@dataclass(frozen=True)
class NumberRow(Row):
    """A case with the value of its parent and the true one."""

    value: float
    truth: float


class Numbers:
    """The refit of one such model."""

    least = LEAST_ROWS

    def __init__(self, bundle: Bundle, parent: LocalModel) -> None:
        self._bundle = bundle
        self._parent = parent

    def rows(self, cases: Sequence[LocalCase]) -> list[NumberRow | RefusedCase]:
        """See ReadsRows."""
        scored = scored_here(self._parent, cases)
        return [
            _row(case, None if each.answer is None else dict(each.answer))
            for case, each in zip(cases, scored, strict=True)
        ]

    def lacking(self, part: Sequence[NumberRow]) -> str:
        """See ReadsRows."""
        same = len({row.truth for row in part}) < 2
        return "all of them have one value, and two or more are needed" if same else ""

    def change(self, rows: Sequence[NumberRow]) -> Change:
        """What is fitted to the rows. Raises BundleRefused."""
        recording = LocalModel(self._bundle.folder, recording=True)
        scored_here(recording, [row.case for row in rows])
        measured = Measured(
            feeds=recording.recorded[self._bundle.model_path],
            values=np.array([row.value for row in rows]),
            truth=np.array([row.truth for row in rows]),
            groups=[row.case.group or place for place, row in enumerate(rows)],
        )
        return refit_regression(self._bundle, measured)

    def compared(self, parent: LocalModel, refit: LocalModel, rows: Sequence[NumberRow]) -> Comparison:
        """The figures of both on the rows. Raises BundleRefused."""
        return compared(parent, refit, [row.case for row in rows], {})


def _row(case: LocalCase, answer: dict[str, Any] | None) -> NumberRow | RefusedCase:
    told = case.truth.get("value") if isinstance(case.truth, dict) else case.truth
    if told is None or told == "":
        return RefusedCase(case.place, "has no truth.")
    try:
        truth = float(str(told))
    except ValueError:
        truth = float("nan")
    if not isfinite(truth):
        return RefusedCase(case.place, "has a truth that is no number.")
    if answer is None:
        return RefusedCase(case.place, "is an input on which the model fails.")
    if answer["value"] is None:
        return RefusedCase(case.place, NOVEL)
    return NumberRow(case, None, float(answer["value"]), truth)
