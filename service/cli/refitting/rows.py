"""The rows of a refit, accounted: each one is used, held out, or refused with its place and the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from models.pipelines.classification_parameters import Novelty
from service.cli.evaluation.local import LocalCase, RefusedCase, read_every_case
from service.cli.evaluation.losses import scored_here

if TYPE_CHECKING:
    from models.variants.measuring import LocalModel

LEAST_ROWS: Final = 50  # of each part: intervals of fewer say nothing
LEAST_OF_CLASS: Final = (
    20  # of each of two classes, in each part: ten events for each number fitted (Peduzzi et al. 1996)
)
NOVEL: Final = "is unlike the data that the model was trained on, and it abstains from it."


@dataclass(frozen=True)
class Row:
    """A case with its parent's answer, and its truth as the fit takes it: the place of a label, or a number."""

    case: LocalCase
    answer: Mapping[str, Any]
    truth: float


@dataclass(frozen=True)
class RowFile:
    """A labelled file, and how it is read."""

    path: Path
    label: str | None
    ignore: Sequence[str]
    group: str | None


@dataclass(frozen=True)
class Split:
    """Which rows are held out: those of a file of their own, or a share of the one file."""

    apart: RowFile | None
    share: float
    seed: int


@dataclass(frozen=True)
class Rows:
    """Every row of the files, in exactly one of the three."""

    used: Sequence[Row]
    held_out: Sequence[Row]
    refused: Sequence[RefusedCase]

    def counts(self) -> dict[str, int]:
        """How many are where, and how many there are."""
        parts = {"used": len(self.used), "held_out": len(self.held_out), "refused": len(self.refused)}
        return {"rows": sum(parts.values()), **parts}


# The truth of a case as the fit takes it. Raises ValueError with the reason where it is none, quoting nothing.
ReadTruth = Callable[[Any], float]


def accounted(parent: LocalModel, told: RowFile, split: Split, truth: ReadTruth) -> Rows:
    """Every row of the files. Raises click.UsageError for files that cannot be read, and for too few rows."""
    known, refused = _scored(parent, told, truth, "")
    if split.apart is not None:
        held, more = _scored(parent, split.apart, truth, f"{split.apart.path.name}: ")
        rows = Rows(known, held, [*refused, *more])
    else:
        out = _held_out(known, split)
        rows = Rows(
            [row for row, away in zip(known, out, strict=True) if not away],
            [row for row, away in zip(known, out, strict=True) if away],
            refused,
        )
    _check_enough(rows, classes=len(parent.pipeline.labels()))
    return rows


def _scored(
    parent: LocalModel, told: RowFile, truth: ReadTruth, before: str
) -> tuple[list[Row], list[RefusedCase]]:
    """The rows of a file with the parent's answers, and those that are refused; `before` precedes their places."""
    every = read_every_case(told.path, parent.pipeline, told.label, told.ignore, told.group)
    refused = [
        RefusedCase(f"{before}{each.place}", each.reason) for each in every if isinstance(each, RefusedCase)
    ]
    cases = [
        LocalCase(f"{before}{each.place}", each.case, each.truth, each.group)
        for each in every
        if isinstance(each, LocalCase)
    ]
    found = []
    for case, scored in zip(cases, scored_here(parent, cases), strict=True):
        try:
            found.append(_row(case, scored.answer, truth, _novelty(parent)))
        except ValueError as wrong:
            refused.append(RefusedCase(case.place, str(wrong)))
    return found, refused


def _row(case: LocalCase, answer: Mapping[str, Any] | None, truth: ReadTruth, novelty: str | None) -> Row:
    """Raises ValueError with the reason."""
    if case.truth is None or case.truth == "":
        raise ValueError("has no truth.")
    if answer is None:
        raise ValueError("is an input on which the model fails.")
    if answer.get("abstained") and answer.get("abstain_reason") == novelty:
        raise ValueError(NOVEL)
    return Row(case, answer, truth(case.truth))


def _novelty(parent: LocalModel) -> str | None:
    """The reason that the model gives where an input is unlike its training data."""
    table = parent.manifest.parameters.get("novelty")
    return None if table is None else Novelty.model_validate(table).reason


def _held_out(rows: Sequence[Row], split: Split) -> Sequence[bool]:
    """Which rows are held out: whole groups if there are any, or the share of each class."""
    chance = np.random.default_rng(split.seed)
    grouped = any(row.case.group is not None for row in rows)
    members: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        members.setdefault(row.case.group if grouped else row.truth, []).append(place)
    out = np.zeros(len(rows), np.bool_)
    if grouped:
        names = list(members)
        for number in chance.permutation(len(names)):
            if out.sum() >= split.share * len(rows):
                break
            out[members[names[number]]] = True
    else:
        for places in members.values():
            out[chance.permutation(places)[: round(split.share * len(places))]] = True
    return out.tolist()


def _check_enough(rows: Rows, *, classes: int) -> None:
    """Raises click.UsageError where a part has too few rows, or one class only."""
    for name, part in (("used to fit", rows.used), ("held out", rows.held_out)):
        found = Counter(row.truth for row in part)
        lacking = ""
        if len(part) < LEAST_ROWS:
            lacking = f"{LEAST_ROWS} rows or more are needed"
        elif classes and len(found) < 2:
            lacking = "all of them have one label, and two or more are needed"
        elif classes == 2 and min(found.values()) < LEAST_OF_CLASS:
            lacking = f"{min(found.values())} of them have one of the labels, and {LEAST_OF_CLASS} are needed"
        if lacking:
            raise click.UsageError(f"{len(part)} rows would be {name}: {lacking}.{_first_refused(rows)}")


def _first_refused(rows: Rows) -> str:
    if not rows.refused:
        return ""
    first = rows.refused[0]
    return f" {len(rows.refused)} rows were refused, the first: {first.place} {first.reason}"
