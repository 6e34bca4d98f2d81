"""The rows of a refit, accounted: each one is used, held out, or refused with its place and the reason."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import click
import numpy as np

from models.pipelines import Pipeline
from service.cli.evaluation.local import LocalCase, RefusedCase, read_every_case

LEAST_ROWS: Final = 50  # of each part, unless a row holds many cases: intervals of fewer say nothing


@dataclass(frozen=True)
class Row:
    """A case that can be used. Of each stratum, such as a label, the same share is held out."""

    case: LocalCase
    stratum: Hashable


RowT = TypeVar("RowT", bound=Row)


class ReadsRows(Protocol[RowT]):
    """What turns the cases of a file into rows that a kind of model is fitted with, of which each part needs the `least`."""

    least: int

    def rows(self, cases: Sequence[LocalCase]) -> Sequence[RowT | RefusedCase]:
        """Each case as a row, or why it is none, in order."""

    def lacking(self, part: Sequence[RowT]) -> str:
        """What is missing from enough rows to fit or to measure with; empty if nothing is."""


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
class Rows(Generic[RowT]):
    """Every row of the files, in exactly one of the three."""

    used: Sequence[RowT]
    held_out: Sequence[RowT]
    refused: Sequence[RefusedCase]

    def counts(self) -> dict[str, int]:
        """How many are where, and how many there are."""
        parts = {"used": len(self.used), "held_out": len(self.held_out), "refused": len(self.refused)}
        return {"rows": sum(parts.values()), **parts}


def accounted(pipeline: Pipeline, told: RowFile, split: Split, kind: ReadsRows[RowT]) -> Rows[RowT]:
    """Every row of the files. Raises click.UsageError for files that cannot be read, and for too few rows."""
    known, refused = _read(pipeline, told, kind, "")
    if split.apart is not None:
        held, more = _read(pipeline, split.apart, kind, f"{split.apart.path.name}: ")
        rows = Rows(known, held, [*refused, *more])
    else:
        out = _held_out(known, split)
        rows = Rows(
            [row for row, away in zip(known, out, strict=True) if not away],
            [row for row, away in zip(known, out, strict=True) if away],
            refused,
        )
    _check_enough(rows, kind)
    return rows


def _read(
    pipeline: Pipeline, told: RowFile, kind: ReadsRows[RowT], before: str
) -> tuple[list[RowT], list[RefusedCase]]:
    """The rows of a file, and the cases that are refused; `before` precedes their places."""
    every = [
        replace(each, place=f"{before}{each.place}")
        for each in read_every_case(told.path, pipeline, told.label, told.ignore, told.group)
    ]
    found = kind.rows([each for each in every if isinstance(each, LocalCase)])
    return (
        [each for each in found if not isinstance(each, RefusedCase)],
        [each for each in (*every, *found) if isinstance(each, RefusedCase)],
    )


def _held_out(rows: Sequence[Row], split: Split) -> Sequence[bool]:
    """Which rows are held out: whole groups if there are any, or the share of each class."""
    chance = np.random.default_rng(split.seed)
    grouped = any(row.case.group is not None for row in rows)
    members: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        members.setdefault(row.case.group if grouped else row.stratum, []).append(place)
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


def _check_enough(rows: Rows[RowT], kind: ReadsRows[RowT]) -> None:
    """Raises click.UsageError where a part has too few rows, or too little of what its kind needs."""
    for name, part in (("used to fit", rows.used), ("held out", rows.held_out)):
        few = f"{kind.least} rows or more are needed" if len(part) < kind.least else ""
        if lacking := few or kind.lacking(part):
            raise click.UsageError(
                f"{len(part)} rows would be {name}: {lacking}.{_first_refused(rows.refused)}"
            )


def _first_refused(refused: Sequence[RefusedCase]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f" {len(refused)} rows were refused, the first: {first.place} {first.reason}"
