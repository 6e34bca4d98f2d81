"""Reads the cases of a file, and scores them in this process instead of the service: for variants that are not published.

Files are those of `medqueue models evaluate`, read by the same rules: tables, lines, folders of files, files with an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.pipelines import Case, InputRejected, Pipeline
from models.pipelines.parts import take_apart
from service.cli.cases import FileCase
from service.cli.evaluation import labelled
from service.cli.evaluation.indexed import read_indexed

if TYPE_CHECKING:
    from service.batches.files.blocks import RowBlock


@dataclass(frozen=True)
class LocalCase:
    """A case of a file: where it stands, its stored input, and what is true of it if the file says so."""

    place: str
    case: Case
    truth: Any = None


def read_cases(
    path: Path, pipeline: Pipeline, label: str | None, ignore: Sequence[str] = ()
) -> list[LocalCase]:
    """The cases of a file or folder. `label` is the column of a table that holds the truth.

    Raises click.UsageError, which quotes no value, for a file that cannot be read or whose first faulty case the model refuses.
    """
    form = labelled.form_of(path)
    if form in labelled.TABLES:
        found = list(_table(path, pipeline, form, label, ignore))
    elif form in {"folder", labelled.INDEXED}:
        files = labelled.read_folder(path) if form == "folder" else read_indexed(path, ())
        found = [_encoded(each.place, each.input, pipeline, each.truth) for each in files]
    else:
        found = list(_lines(path, pipeline))
    if not found:
        raise click.UsageError(f"{path} holds no case.")
    return found


def _lines(path: Path, pipeline: Pipeline) -> Iterator[LocalCase]:
    """Lines of {"input": ..., "expected": ...}, of which the second may be missing."""
    with path.open("rb") as lines:
        for place, value in labelled.read_objects(lines):
            if "input" not in value:
                raise click.UsageError(f'{place} is not {{"input": ..., "expected": ...}}.')
            yield _encoded(place, value["input"], pipeline, value.get(labelled.EXPECTED))


def _encoded(place: str, value: Any, pipeline: Pipeline, truth: Any) -> LocalCase:
    if isinstance(value, FileCase):
        with value.open() as opened:
            value = {"data": opened.read()}
    rest, given = take_apart(value, pipeline.parts)
    if given or pipeline.parts:
        raise click.UsageError(
            f"{place}: the model's input has parts that no file gives: do without this file."
        )
    try:
        return LocalCase(place, Case(pipeline.encode(_sent(rest, pipeline)), {}, {}), truth)
    except InputRejected as rejected:
        first = rejected.faults[0]
        reason = f"{first.pointer} {first.detail}".lstrip()
        raise click.UsageError(f"{place} is no input of the model: {reason}") from None


def _sent(value: Any, pipeline: Pipeline) -> Any:
    """What a pipeline is given of an input; of a file, its bytes."""
    from models.golden_parts import file_bytes

    if not pipeline.binary:
        return value
    data = value.get("data") if isinstance(value, dict) else None
    return data if isinstance(data, bytes) else file_bytes(value)


def _table(
    path: Path, pipeline: Pipeline, form: str, label: str | None, ignore: Sequence[str]
) -> Iterator[LocalCase]:
    """The rows of a table, read as a batch's are."""
    from service.batches.files.formats import inspect, reader_of, wanted_of
    from service.batches.files.layouts import BatchFormat
    from service.batches.files.problems import FileRefused
    from service.batches.files.sources import UriSource

    whole = path.resolve()
    try:
        source = UriSource(whole.as_uri(), [whole.parent.as_uri()])
        wanted = wanted_of(pipeline, carry=() if label is None else (label,), ignore=tuple(ignore))
        plan = inspect(source, BatchFormat(form), wanted)
        with source.open() as file:
            reader = reader_of(file, plan.layout, pipeline)
            for chunk in plan.chunks:
                for block in reader.read(chunk):
                    yield from _rows(block, pipeline, wanted.field_names, label)
    except FileRefused as refused:
        raise click.UsageError(f"{path} cannot be read: {refused.detail} [{refused.problem}]") from None


def _rows(
    block: RowBlock, pipeline: Pipeline, names: Sequence[str], label: str | None
) -> Iterator[LocalCase]:
    truths = [None] * block.count if label is None else block.carried.column(label).to_pylist()
    faulty = block.faults.any_of(block.count)
    for row, truth in enumerate(truths):
        place = f"row {block.first_row + row}"
        unreadable = block.unreadable is not None and block.unreadable[row]
        wrong = any(each.wrong_type is not None and each.wrong_type[row] for each in block.numbers)
        if faulty[row] or unreadable or wrong:
            raise click.UsageError(f"{place} cannot be read: `medqueue batch submit --dry-run` says why.")
        value = block.values[row] if block.values else _numbers(block, row, names)
        yield _encoded(place, value, pipeline, truth)


def _numbers(block: RowBlock, row: int, names: Sequence[str]) -> Mapping[str, float | None]:
    """A row of numbers as an input."""
    return {
        name: None if column.missing is not None and column.missing[row] else float(column.values[row])
        for name, column in zip(names, block.numbers, strict=True)
    }
