"""Recommenders whose graph is linear: users as rows, and the update of the matrices by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, BundleRefused
from models.manifest import MODEL
from models.pipelines.recommendation import Recommendation
from models.refits.making import Change
from models.refits.recommenders import known_gram, linear_of, ranked, updated_by
from models.variants.measuring import LocalModel
from service.cli.evaluation.gains import Comparison, compared_columns
from service.cli.evaluation.local import LocalCase, RefusedCase
from service.cli.refitting.rows import LEAST_ROWS, Row

Floats = NDArray[np.float64]

AT_ONCE: Final = 128  # cases in one run of the graph, behind a row of nothing
_MOST_SHOWN: Final = 100  # letters of a name that is shown
OPTIONS: Final = {"reasons": 0, "top": 1}  # so that each case is one row
NO_USERS: Final = (
    "The model was never refitted: say with --parent-rows how many users it was trained on, as its card does."
)


@dataclass(frozen=True)
class UserRow(Row):
    """A user: all items [I], those of the history and those expected, and the context [C], as the graph is fed them."""

    items: Floats
    context: Floats

    @property
    def content(self) -> bytes:
        """Items and context: users who differ in what is expected alone are two."""
        return self.items.tobytes() + self.context.tobytes()


class Recommending:
    """The refit of one such model. Raises BundleRefused for other graphs."""

    least = LEAST_ROWS

    def __init__(self, bundle: Bundle, parent: LocalModel, users: int | None) -> None:
        assert isinstance(parent.pipeline, Recommendation)
        self._bundle = bundle
        self._pipeline = parent.pipeline
        self._model = linear_of(bundle)
        self._gram = known_gram(bundle)
        self._users = users

    def rows(self, cases: Sequence[LocalCase]) -> list[UserRow | RefusedCase]:
        """See ReadsRows."""
        recording = LocalModel(self._bundle.folder, recording=True)
        options = self._pipeline.check_options(OPTIONS)
        found: list[UserRow | RefusedCase] = []
        for start in range(0, len(cases), AT_ONCE):
            some = [
                replace(each, case=each.case._replace(options=options))
                for each in cases[start : start + AT_ONCE]
            ]
            found += map(self._row, some, self._fed(recording, some))
        return found

    def _fed(self, recording: LocalModel, cases: Sequence[LocalCase]) -> list[tuple[Floats, Floats] | None]:
        """What the graph is fed of each case; None of one on which the model fails."""
        table = self._bundle.manifest.graph_tables[MODEL]
        path = self._bundle.folder / table.file
        try:
            recording.answers([each.case for each in cases])
        except BundleRefused:
            return [None] if len(cases) == 1 else [self._fed(recording, [each])[0] for each in cases]
        fed: Any = recording.recorded[path][-1]
        history, context = (
            np.asarray(fed[table.inputs.get(name, name)], np.float64)[1:] for name in ("history", "context")
        )
        return list(zip(history, context, strict=True))

    def _row(self, case: LocalCase, fed: tuple[Floats, Floats] | None) -> UserRow | RefusedCase:
        if fed is None:
            return RefusedCase(case.place, "is an input on which the model fails.")
        expected = case.truth if case.truth is not None else []
        if not isinstance(expected, list) or not all(isinstance(each, str) for each in expected):
            return RefusedCase(case.place, "has no list of ids of items in `expected`.")
        items = fed[0].copy()
        catalogue = self._pipeline.catalogue
        for name in expected:
            meant = [each for each in catalogue.meant(name) if each.withdrawn is None]
            if not meant:
                return RefusedCase(
                    case.place, "expects an item that the catalogue lacks.", name[:_MOST_SHOWN]
                )
            items[[catalogue.place[each.id] for each in meant]] = 1
        if not items.any():
            return RefusedCase(case.place, "has no item of the catalogue.")
        return UserRow(case, None, items, fed[1])

    def lacking(self, part: Sequence[UserRow]) -> str:
        """See ReadsRows."""
        several = sum(row.items.sum() > 1 for row in part)
        if several < LEAST_ROWS:
            return f"{several} of them have two items of the catalogue or more, and {LEAST_ROWS} are needed"
        return ""

    def change(self, rows: Sequence[UserRow]) -> Change:
        """What is fitted to the rows. Raises click.UsageError where --parent-rows is missing: the file is looked at before."""
        if self._gram is None and self._users is None:
            raise click.UsageError(NO_USERS)
        items, context = np.array([row.items for row in rows]), np.array([row.context for row in rows])
        return updated_by(self._bundle, self._model, items, context, gram=self._gram, users=self._users)

    def compared(self, parent: LocalModel, refit: LocalModel, rows: Sequence[UserRow]) -> Comparison:
        """The figures of both on the rows."""
        items, context = np.array([row.items for row in rows]), np.array([row.context for row in rows])
        old, new = (ranked(model.run, items, context) for model in (parent, refit))
        return compared_columns(old, new, [row.case.group for row in rows])
