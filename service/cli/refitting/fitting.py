"""One refit: the rows are accounted, the change that suits the model's kind is fitted, both versions are measured."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import click

from models.bundle import Bundle, BundleRefused, Fault, file_digest
from models.manifest import MANIFEST_NAME
from models.pipelines.beat_classification import BeatClassification
from models.pipelines.recommendation import Recommendation
from models.pipelines.tabular_regression import TabularRegression
from models.refits.making import Change, Report, write_refit
from models.refits.recalibration import scores_of
from models.variants.measuring import LocalModel
from service.cli.evaluation import labelled
from service.cli.evaluation.gains import Comparison, as_metrics, as_table, check_gains
from service.cli.refitting.classes import Classes
from service.cli.refitting.numbers import Numbers
from service.cli.refitting.recommending import Recommending
from service.cli.refitting.recordings import Recordings
from service.cli.refitting.rows import ReadsRows, RowFile, Rows, RowT, Split, accounted

_LINES: Final = (
    "{name} is a table, and recommenders are refitted to lines of JSON (.ndjson): each has a user's `history` and what else is "
    "known in `input`, and lists items that were had beside these in `expected`."
)


@dataclass(frozen=True)
class Asked:
    """What is asked for: see the options of the command."""

    parent: Bundle
    folder: Path
    version: str
    data: Path
    values: Mapping[str, str]
    label: str | None
    ignore: Sequence[str]
    group: str | None
    apart: Path | None
    share: float
    seed: int
    parent_rows: int | None

    def file(self, path: Path) -> RowFile:
        """One of the files, which are read alike."""
        return RowFile(path, self.label, self.ignore, self.group)


@dataclass(frozen=True)
class Refit:
    """A refit that was written and checked."""

    bundle: Bundle
    said: str
    rows: Rows[Any]
    comparison: Comparison
    document: Mapping[str, object]


class Kind(ReadsRows[RowT], Protocol[RowT]):
    """How models of one kind are refitted."""

    def change(self, rows: Sequence[RowT]) -> Change:
        """What is fitted to the rows. Raises BundleRefused."""

    def compared(self, parent: LocalModel, refit: LocalModel, rows: Sequence[RowT]) -> Comparison:
        """The figures of both on the rows. Raises BundleRefused."""


def refitted(asked: Asked) -> Refit:
    """Raises click.UsageError for files that cannot be used, BundleRefused for models, FileExistsError."""
    parent = LocalModel(asked.parent.folder)
    kind = _kind(asked, parent)
    _check_files(asked, kind)
    split = Split(None if asked.apart is None else asked.file(asked.apart), asked.share, asked.seed)
    rows = accounted(parent.pipeline, asked.file(asked.data), split, kind)
    change = kind.change(rows.used)
    found: list[tuple[Comparison, Report]] = []

    def measure(old: LocalModel, new: LocalModel) -> Report:
        comparison = kind.compared(old, new, rows.held_out)
        check_gains(comparison.gains)
        found.append((comparison, _report(asked, change, rows, comparison)))
        return found[0][1]

    bundle = write_refit(asked.parent.folder, asked.folder, change, version=asked.version, measure=measure)
    comparison, report = found[0]
    return Refit(bundle, change.said, rows, comparison, report.document)


def _kind(asked: Asked, parent: LocalModel) -> Kind[Any]:
    """Raises BundleRefused for a model of a kind that cannot be refitted."""
    if isinstance(parent.pipeline, Recommendation):
        return Recommending(asked.parent, parent, asked.parent_rows)
    if isinstance(parent.pipeline, TabularRegression):
        return Numbers(asked.parent, parent)
    scores = scores_of(parent.pipeline)
    if scores is not None and isinstance(parent.pipeline, BeatClassification):
        return Recordings(asked.parent, parent, scores, asked.values)
    properties = parent.pipeline.result_schema().get("properties", {})
    if scores is not None and isinstance(properties, Mapping) and "probabilities" in properties:
        return Classes(asked.parent, parent, scores, asked.values)
    reason = (
        f"models of `{parent.manifest.pipeline}` cannot be refitted: train it again. Those that can are classifiers with "
        "probabilities (of tables, images, series, sequences, texts and beats), regressions of tables, and recommenders"
    )
    raise BundleRefused(Fault(f"{MANIFEST_NAME}: pipeline", "refit_unsuited", reason))


def _check_files(asked: Asked, kind: Kind[Any]) -> None:
    recommends = isinstance(kind, Recommending)
    if asked.apart is not None and _digest(asked.apart) == _digest(asked.data):
        raise click.UsageError(
            "--held-out has the rows of --data: name other rows, or leave it out to hold out a share of --data."
        )
    if asked.parent_rows is not None and not recommends:
        raise click.UsageError("--parent-rows is for recommenders: leave it out.")
    if asked.values and not isinstance(kind, Classes | Recordings):
        raise click.UsageError("--value is for models that answer labels: leave it out.")
    for path in (asked.data, *([] if asked.apart is None else [asked.apart])):
        is_table = labelled.form_of(path) in labelled.TABLES
        if is_table and recommends:
            raise click.UsageError(_LINES.format(name=path.name))
        if is_table and asked.label is None:
            raise click.UsageError("Name the column that holds the truth with --label COLUMN.")
        if not is_table and asked.label is not None:
            raise click.UsageError("--label is for tables: lines name the truth `expected`.")


def _report(asked: Asked, change: Change, rows: Rows[Any], found: Comparison) -> Report:
    counts = rows.counts()
    files = {path.name: _digest(path) for path in (asked.data, asked.apart) if path is not None}
    sources = ", ".join(f"{name} ({digest})" for name, digest in files.items())
    source = f"{counts['held_out']} rows held out from {', '.join(files)}"
    reasons = Counter(each.reason for each in rows.refused)
    document = {
        "parent": {"version": asked.parent.manifest.version, "digest": asked.parent.digest},
        "files": files,
        "change": change.said,
        "rows": counts,
        "repeated": rows.repeated,
        "refused": [{"place": each.place, "reason": each.reason} for each in rows.refused],
        "held_out": "a file of its own" if asked.apart else {"share": asked.share, "seed": asked.seed},
        "figures": [asdict(each) for each in found.gains],
        "share_answered": found.answered and dict(zip(("parent", "refit"), found.answered, strict=True)),
    }
    card = (
        f"Rows: {counts['rows']} of {sources}; {counts['used']} were used to fit, {counts['held_out']} held out to measure, "
        f"{counts['refused']} refused{_told(reasons)}.{_repeated(rows.repeated)} Figures of the rows held out, with 95 % "
        f"intervals by resampling {'groups' if asked.group else 'rows'}; a gain above 0 is better.\n\n{as_table(found)}"
    )
    metrics = as_metrics(found) | {
        **{f"rows_{name}": number for name, number in counts.items() if name != "rows"},
        "parent": asked.parent.manifest.version,
        "protocol": source,
    }
    stated = {name: {**figures, "source": source} for name, figures in found.stated.items()}
    return Report(metrics, document, card, stated)


def _repeated(count: int) -> str:
    if not count:
        return ""
    return f" {count} of the rows used or held out repeat another of their part; rows of one content are resampled as one."


def _told(reasons: Counter[str]) -> str:
    told = "; ".join(f"{count}: {reason.rstrip('.')}" for reason, count in reasons.most_common(10))
    return f" ({told})" if told else ""


def _digest(path: Path) -> str:
    """The digest of a file; of a folder that of the digests of its files, by name."""
    if path.is_file():
        return file_digest(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = "".join(f"{file_digest(each)}  {each.relative_to(path).as_posix()}\n" for each in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
