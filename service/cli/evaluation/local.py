"""Reads the cases of a file to be scored in this process instead of the service: for variants and refits.

Files are those of `medqueue models evaluate`, read by the same rules: tables, lines, folders of files, files with an index.
"""

from __future__ import annotations

import json
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
    group: str | None = None


@dataclass(frozen=True)
class RefusedCase:
    """A case of a file that is no input of the model: where it stands, and why.

    The reason quotes no value, as bundles state it; `value` is what was refused, for whoever has the file.
    """

    place: str
    reason: str
    value: str = ""

    @property
    def told(self) -> str:
        """The reason, with the value if there is one."""
        return (
            f"{self.reason.rstrip('.')}: {json.dumps(self.value, ensure_ascii=False)}."
            if self.value
            else self.reason
        )


def read_cases(
    path: Path, pipeline: Pipeline, label: str | None, ignore: Sequence[str] = ()
) -> list[LocalCase]:
    """The cases of a file or folder. `label` is the column of a table that holds the truth.

    Raises click.UsageError, which quotes no value, for a file that cannot be read or whose first faulty case the model refuses.
    """
    found = []
    for each in read_every_case(path, pipeline, label, ignore):
        if isinstance(each, RefusedCase):
            raise click.UsageError(f"{each.place} {each.reason}")
        found.append(each)
    return found


def read_every_case(
    path: Path, pipeline: Pipeline, label: str | None, ignore: Sequence[str] = (), group: str | None = None
) -> list[LocalCase | RefusedCase]:
    """The same, with the cases that the model refuses. `group` is a column, or a key beside `input`, whose values name groups.

    Raises click.UsageError for a file that cannot be read.
    """
    form = labelled.form_of(path)
    found: list[LocalCase | RefusedCase]
    if form in labelled.TABLES:
        found = list(_table(path, pipeline, form, label=label, ignore=ignore, group=group))
    elif form == "folder":
        if group is not None:
            raise click.UsageError("A folder tells no groups.")
        files = labelled.read_folder(path)
        found = [_encoded(each.place, each.input, pipeline, each.truth) for each in files]
    elif form == labelled.INDEXED:
        cases = read_indexed(path, () if group is None else (group,))
        found = [
            _encoded(each.place, each.input, pipeline, each.truth, each.groups.get(group or ""))
            for each in cases
        ]
    else:
        found = list(_lines(path, pipeline, group))
    if not found:
        raise click.UsageError(f"{path} holds no case.")
    return found


def _lines(path: Path, pipeline: Pipeline, group: str | None) -> Iterator[LocalCase | RefusedCase]:
    """Lines of {"input": ..., "expected": ...}, of which the second may be missing."""
    with path.open("rb") as lines:
        for number, content in enumerate(lines, start=1):
            if not content.strip():
                continue
            place = f"line {number}"
            try:
                value = labelled.read_object(content)
            except ValueError as wrong:
                yield RefusedCase(place, str(wrong))
                continue
            if "input" not in value:
                yield RefusedCase(place, 'is not {"input": ..., "expected": ...}.')
            elif group is not None and _is_blank(value.get(group)):
                yield RefusedCase(place, f"lacks {group}, which --group names.")
            else:
                named = None if group is None else str(value[group])
                yield _encoded(place, value["input"], pipeline, value.get(labelled.EXPECTED), named)


def _encoded(
    place: str, value: Any, pipeline: Pipeline, truth: Any, group: str | None = None
) -> LocalCase | RefusedCase:
    if isinstance(value, FileCase):
        with value.open() as opened:
            value = {"data": opened.read()}
    rest, given = take_apart(value, pipeline.parts)
    if given or pipeline.parts:
        raise click.UsageError(
            f"{place}: the model's input has parts that no file gives: do without this file."
        )
    try:
        return LocalCase(place, Case(pipeline.encode(_sent(rest, pipeline)), {}, {}), truth, group)
    except InputRejected as rejected:
        first = rejected.faults[0]
        reason = f"{first.pointer} {first.detail}".lstrip()
        return RefusedCase(place, f"is no input of the model: {reason}")


def _sent(value: Any, pipeline: Pipeline) -> Any:
    """What a pipeline is given of an input; of a file, its bytes."""
    from models.golden_parts import file_bytes

    if not pipeline.binary:
        return value
    data = value.get("data") if isinstance(value, dict) else None
    return data if isinstance(data, bytes) else file_bytes(value)


def _table(
    path: Path, pipeline: Pipeline, form: str, *, label: str | None, ignore: Sequence[str], group: str | None
) -> Iterator[LocalCase | RefusedCase]:
    """The rows of a table, read as a batch's are."""
    from service.batches.files.formats import inspect, reader_of, wanted_of
    from service.batches.files.layouts import BatchFormat
    from service.batches.files.problems import FileRefused
    from service.batches.files.sources import UriSource

    whole = path.resolve()
    carried = tuple(dict.fromkeys(name for name in (label, group) if name is not None))
    try:
        source = UriSource(whole.as_uri(), [whole.parent.as_uri()])
        wanted = wanted_of(pipeline, carry=carried, ignore=tuple(ignore))
        plan = inspect(source, BatchFormat(form), wanted)
        with source.open() as file:
            reader = reader_of(file, plan.layout, pipeline)
            for chunk in plan.chunks:
                for block in reader.read(chunk):
                    yield from _rows(block, pipeline, wanted.field_names, label, group)
    except FileRefused as refused:
        raise click.UsageError(f"{path} cannot be read: {refused.detail} [{refused.problem}]") from None


def _rows(
    block: RowBlock, pipeline: Pipeline, names: Sequence[str], label: str | None, group: str | None
) -> Iterator[LocalCase | RefusedCase]:
    truths, groups = _carried(block, label), _carried(block, group)
    faulty = block.faults.any_of(block.count)
    for row, (truth, named) in enumerate(zip(truths, groups, strict=True)):
        place = f"row {block.first_row + row}"
        unreadable = block.unreadable is not None and block.unreadable[row]
        wrong = any(each.wrong_type is not None and each.wrong_type[row] for each in block.numbers)
        if faulty[row] or unreadable or wrong:
            yield RefusedCase(place, "cannot be read: `medqueue batch submit --dry-run` says why.")
        elif group is not None and _is_blank(named):
            yield RefusedCase(place, f"lacks {group}, which --group names.")
        else:
            value = block.values[row] if block.values else _numbers(block, row, names)
            yield _encoded(place, value, pipeline, truth, None if named is None else str(named))


def _is_blank(group: object) -> bool:
    """Whether it names no group: rows of nobody in particular do not belong together."""
    return group is None or not str(group).strip()


def _carried(block: RowBlock, name: str | None) -> Sequence[Any]:
    return [None] * block.count if name is None else block.carried.column(name).to_pylist()


def _numbers(block: RowBlock, row: int, names: Sequence[str]) -> Mapping[str, float | None]:
    """A row of numbers as an input."""
    return {
        name: None if column.missing is not None and column.missing[row] else float(column.values[row])
        for name, column in zip(names, block.numbers, strict=True)
    }
