"""The rows of a refit, accounted: each one is used, held out, or refused with its place and the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import click
import numpy as np

from models.pipelines import Pipeline
from service.cli.evaluation.local import LocalCase, RefusedCase, read_every_case

LEAST_ROWS: Final = 50  # of each part, unless a row holds many cases: intervals of fewer say nothing
# Of each part. Groups are what is resampled: of one the interval has no width, and of few it is too narrow (Cameron & Miller,
# J Hum Resour 50:317, 2015). The folds of the fit divide none either.
LEAST_GROUPS: Final = 10
REPEATS: Final = "repeats a row that is used to fit."


@dataclass(frozen=True)
class Row:
    """A case that can be used. Of each stratum, such as a label, the same share is held out."""

    case: LocalCase
    stratum: Hashable

    @property
    def content(self) -> bytes:
        """What a row that repeats this one has in common with it: the stored input."""
        return self.case.case.payload

    @cached_property
    def digest(self) -> str:
        """Of the content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


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

    @property
    def repeated(self) -> int:
        """How many rows used or held out have the content of another one that is counted."""
        known = [*self.used, *self.held_out]
        return len(known) - different(known)


def different(rows: Sequence[Row]) -> int:
    """How many rows are left if each content is counted once."""
    return len({row.digest for row in rows})


def accounted(pipeline: Pipeline, told: RowFile, split: Split, kind: ReadsRows[RowT]) -> Rows[RowT]:
    """Every row of the files. Raises click.UsageError for files that cannot be read, and for too few rows.

    Rows that repeat another one are a group where the file tells none. No row held out repeats one that is used.
    """
    used, refused = _read(pipeline, told, kind, "")
    if split.apart is not None:
        held, more = _read(pipeline, split.apart, kind, f"{split.apart.path.name}: ")
        refused += more
    else:
        out = _held_out(used, split)
        held = [row for row, away in zip(used, out, strict=True) if away]
        used = [row for row, away in zip(used, out, strict=True) if not away]
    fitted = {row.digest for row in used}
    refused += [RefusedCase(row.case.place, REPEATS) for row in held if row.digest in fitted]
    rows = Rows(used, [row for row in held if row.digest not in fitted], refused)
    _check_enough(rows, kind, told.group)
    return _grouped(rows) if told.group is None and rows.repeated else rows


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
    """Which rows are held out: whole groups, or, of each stratum alike, rows with those that repeat them."""
    chance = np.random.default_rng(split.seed)
    grouped = any(row.case.group is not None for row in rows)
    together: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        together.setdefault(row.case.group if grouped else row.digest, []).append(place)
    strata: dict[Hashable, list[list[int]]] = {}
    for places in together.values():
        strata.setdefault(None if grouped else rows[places[0]].stratum, []).append(places)
    out = np.zeros(len(rows), np.bool_)
    for members in strata.values():
        wanted = round(split.share * sum(map(len, members)))
        for number in chance.permutation(len(members)):
            if wanted <= 0:
                break
            out[members[number]] = True
            wanted -= len(members[number])
    return out.tolist()


def _grouped(rows: Rows[RowT]) -> Rows[RowT]:
    """The same rows, each in the group of those that repeat it: cross-validation and resamples do not divide it."""
    used, held_out = (
        [replace(row, case=replace(row.case, group=row.digest)) for row in part]
        for part in (rows.used, rows.held_out)
    )
    return Rows(used, held_out, rows.refused)


def _check_enough(rows: Rows[RowT], kind: ReadsRows[RowT], group: str | None) -> None:
    """Raises click.UsageError where a part has too few rows or groups, or too little of what its kind needs."""
    for name, part in (("used to fit", rows.used), ("held out", rows.held_out)):
        if lacking := _few_groups(rows, part, group) or _few(part, kind.least) or kind.lacking(part):
            repeated = f" {rows.repeated} rows repeat another." if rows.repeated else ""
            raise click.UsageError(
                f"{len(part)} rows would be {name}: {lacking}.{repeated}{_first_refused(rows.refused)}"
            )


def _few_groups(rows: Rows[RowT], part: Sequence[Row], group: str | None) -> str:
    """What is wrong with the column `group`, if anything is. One that is empty is the reason why all rows are refused."""
    count = len({row.case.group for row in part})
    if group is None or count >= LEAST_GROUPS or not (rows.used or rows.held_out):
        return ""
    return (
        f"{group}, which --group names, has too few different values in them ({count}): {LEAST_GROUPS} or more are needed in "
        "each part, because the intervals resample groups"
    )


def _few(part: Sequence[Row], least: int) -> str:
    if len(part) < least:
        return f"{least} rows or more are needed"
    count = different(part)
    return f"only {count} of them are different, and {least} or more are needed" if count < least else ""


def _first_refused(refused: Sequence[RefusedCase]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f" {len(refused)} rows were refused, the first: {first.place} {first.told}"
