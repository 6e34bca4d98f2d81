"""Models that answer the class of each beat of a recording: recordings as rows, and the recalibration to their beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import click
import numpy as np

from models.bundle import Bundle
from models.pipelines import TensorSpec
from models.refits.making import Change
from models.refits.recalibration import recalibration
from models.variants.measuring import LocalModel
from service.cli.evaluation.beats import matched
from service.cli.evaluation.classes import Classified, check_values, label_of
from service.cli.evaluation.gains import Comparison, compared
from service.cli.evaluation.local import LocalCase, RefusedCase
from service.cli.evaluation.losses import scored_here
from service.cli.evaluation.scoring import Scored
from service.cli.refitting.rows import Row

LEAST_RECORDINGS: Final = 10  # of each part
LEAST_BEATS: Final = 500


@dataclass(frozen=True)
class RecordingRow(Row):
    """A recording with the probabilities of those of its beats that were found, and their true classes."""

    beats: Classified


class Recordings:
    """The refit of one such model. Raises click.UsageError for values that mean no label of it."""

    least = LEAST_RECORDINGS

    def __init__(
        self, bundle: Bundle, parent: LocalModel, scores: TensorSpec, values: Mapping[str, str]
    ) -> None:
        self._bundle = bundle
        self._parent = parent
        self._scores = scores
        self._values = values
        self._labels = [asdict(label) for label in parent.pipeline.labels()]
        check_values(values, self._labels)

    def rows(self, cases: Sequence[LocalCase]) -> list[RecordingRow | RefusedCase]:
        """See ReadsRows."""
        scored = scored_here(self._parent, cases)
        return [self._row(*each) for each in zip(cases, scored, strict=True)]

    def _row(self, case: LocalCase, scored: Scored) -> RecordingRow | RefusedCase:
        if case.truth is None:
            return RefusedCase(case.place, "has no truth.")
        if scored.answer is None:
            return RefusedCase(case.place, "is an input on which the model fails.")
        if not scored.answer["beats"]:
            return RefusedCase(case.place, "is a recording from which the model abstains.")
        try:
            beats = matched(scored, self._labels, self._values).table
            for beat in case.truth["beats"] if isinstance(case.truth, dict) else case.truth:
                if beat["label"] is not None:
                    label_of(beat["label"], case.place, self._labels, self._values)
        except click.UsageError:
            names = ", ".join(str(label["id"]) for label in self._labels)
            reason = (
                f'expects no list of {{"sample", "label"}} with labels of the model ({names}), or null as a label: '
                "map others with --value VALUE=LABEL."
            )
            return RefusedCase(case.place, reason)
        return RecordingRow(case, None, beats)

    def lacking(self, part: Sequence[RecordingRow]) -> str:
        """See ReadsRows."""
        truth = np.concatenate([row.beats.truth for row in part])
        if len(truth) < LEAST_BEATS:
            return f"{len(truth)} of their beats are found and have a class, and {LEAST_BEATS} are needed"
        return "all of their beats have one label, and two or more are needed" if len({*truth}) < 2 else ""

    def change(self, rows: Sequence[RecordingRow]) -> Change:
        """What is fitted to the beats. Raises BundleRefused."""
        probabilities = np.concatenate([row.beats.probabilities for row in rows])
        truth = np.concatenate([row.beats.truth for row in rows])
        positive = next((place for place, label in enumerate(self._labels) if label["positive"]), None)
        return recalibration(self._bundle, self._scores, probabilities, truth, positive)

    def compared(self, parent: LocalModel, refit: LocalModel, rows: Sequence[RecordingRow]) -> Comparison:
        """The figures of both on the rows. Raises BundleRefused."""
        return compared(parent, refit, [row.case for row in rows], self._values)
