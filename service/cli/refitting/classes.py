"""Models that answer one class with its probabilities: their rows, and the recalibration to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import click
import numpy as np

from models.bundle import Bundle
from models.pipelines import Array, TensorSpec
from models.pipelines.classification_parameters import Novelty
from models.refits.classifiers import TABLES, Answered, refit_classifier
from models.refits.making import Change
from models.variants.measuring import LocalModel
from service.cli.evaluation.classes import check_values, label_of
from service.cli.evaluation.gains import Comparison, compared
from service.cli.evaluation.local import LocalCase, RefusedCase
from service.cli.evaluation.losses import scored_here
from service.cli.refitting.rows import LEAST_ROWS, Row

LEAST_OF_CLASS: Final = (
    20  # of each of two classes, in each part: ten events for each number fitted (Peduzzi et al. 1996)
)
NOVEL: Final = "is unlike the data that the model was trained on, and it abstains from it."


@dataclass(frozen=True)
class ClassifiedRow(Row):
    """A case with its parent's answer; its stratum is the place of the true label."""

    stratum: int
    answer: Mapping[str, Any]


class Classes:
    """The refit of one such model. Raises click.UsageError for values that mean no label of it."""

    least = LEAST_ROWS

    def __init__(
        self, bundle: Bundle, parent: LocalModel, scores: TensorSpec, values: Mapping[str, str]
    ) -> None:
        self._bundle = bundle
        self._parent = parent
        self._scores = scores
        self._values = values
        self._labels = [asdict(label) for label in parent.pipeline.labels()]
        self._names = [str(label["id"]) for label in self._labels]
        table = parent.manifest.parameters.get("novelty")
        self._novelty = None if table is None else Novelty.model_validate(table).reason
        check_values(values, self._labels)

    def rows(self, cases: Sequence[LocalCase]) -> list[ClassifiedRow | RefusedCase]:
        """See ReadsRows."""
        scored = scored_here(self._parent, cases)
        return [self._row(case, each.answer) for case, each in zip(cases, scored, strict=True)]

    def _row(self, case: LocalCase, answer: Mapping[str, Any] | None) -> ClassifiedRow | RefusedCase:
        if case.truth is None or case.truth == "":
            return RefusedCase(case.place, "has no truth.")
        if answer is None:
            return RefusedCase(case.place, "is an input on which the model fails.")
        if answer["abstained"] and answer["abstain_reason"] == self._novelty:
            return RefusedCase(case.place, NOVEL)
        truth = case.truth.get("label") if isinstance(case.truth, dict) else case.truth
        try:
            label = label_of(truth, case.place, self._labels, self._values)
        except click.UsageError:
            reason = (
                f"has a truth that is no label ({', '.join(self._names)}): map it with --value VALUE=LABEL."
            )
            return RefusedCase(case.place, reason)
        return ClassifiedRow(case, self._names.index(label), answer)

    def lacking(self, part: Sequence[ClassifiedRow]) -> str:
        """See ReadsRows."""
        found = Counter(row.stratum for row in part)
        if len(found) < 2:
            return "all of them have one label, and two or more are needed"
        least = min(found.values())
        if len(self._names) == 2 and least < LEAST_OF_CLASS:
            return f"{least} of them have one of the labels, and {LEAST_OF_CLASS} are needed"
        return ""

    def change(self, rows: Sequence[ClassifiedRow]) -> Change:
        """What is fitted to the rows. Raises BundleRefused."""
        answered = Answered(
            feeds=self._feeds(rows) if self._bundle.manifest.pipeline == TABLES else (),
            probabilities=np.array(
                [[row.answer[f"probability_{name}"] for name in self._names] for row in rows]
            ),
            truth=np.array([row.stratum for row in rows]),
            groups=[row.case.group or place for place, row in enumerate(rows)],
            positive=next((place for place, label in enumerate(self._labels) if label["positive"]), None),
        )
        return refit_classifier(self._bundle, self._scores, answered)

    def _feeds(self, rows: Sequence[ClassifiedRow]) -> list[Mapping[str, Array]]:
        recording = LocalModel(self._bundle.folder, recording=True)
        scored_here(recording, [row.case for row in rows])
        return recording.recorded[self._bundle.model_path]

    def compared(self, parent: LocalModel, refit: LocalModel, rows: Sequence[ClassifiedRow]) -> Comparison:
        """The figures of both on the rows. Raises BundleRefused."""
        return compared(parent, refit, [row.case for row in rows], self._values)
