"""Labelled cases: the rows of a table, the lines of an NDJSON file, or files in one folder for each label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from models.strict_json import JsonInvalid, read_json
from service.cli.batches.sources import BY_SUFFIX
from service.cli.cases import FileCase, read_file

TABLES = frozenset({"csv", "parquet"})
LINES = "ndjson"
EXPECTED = "expected"


@dataclass(frozen=True)
class Labelled:
    """One case: where it stands, its input, what is true of it, and the subgroups that it belongs to."""

    place: str
    input: Any | FileCase
    truth: Any
    groups: Mapping[str, str] = field(default_factory=dict)


def form_of(data: Path) -> str:
    """What `data` is: `folder`, or a format of batches. Raises click.UsageError for another file."""
    if data.is_dir():
        return "folder"
    form = BY_SUFFIX.get(data.suffix.lower())
    if form == LINES or form in TABLES:
        return str(form)
    raise click.UsageError(
        f"{data} cannot be evaluated. Name a table (.csv, .tsv, .parquet) with a column of labels, lines (.ndjson, .jsonl) of "
        '{"input": ..., "expected": ...}, or a folder with one folder of files for each label.'
    )


def read_folder(folder: Path) -> list[Labelled]:
    """The files of a folder's folders: the name of each is the label of what lies in it. Raises click.UsageError."""
    found = [
        Labelled(f"{each.parent.name}/{each.name}", read_file(str(each)), each.parent.name)
        for each in sorted(folder.glob("*/*"))
        if each.is_file() and not each.name.startswith(".")
    ]
    if not found:
        raise click.UsageError(f"{folder} holds no files in folders: make a folder for each label.")
    return found


def read_lines(path: Path, groups: Sequence[str]) -> list[Labelled]:
    """The lines of an NDJSON file; `groups` are keys beside `input`. Raises click.UsageError, which quotes nothing."""
    found = [_line(f"line {number}", content, groups) for number, content in _numbered(path)]
    if not found:
        raise click.UsageError(f"{path} holds no line.")
    return found


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as lines:
        for number, content in enumerate(lines, start=1):
            if content.strip():
                yield number, content


def _line(place: str, content: bytes, groups: Sequence[str]) -> Labelled:
    try:
        value = read_json(content)
    except JsonInvalid as error:
        raise click.UsageError(f"{place} is not JSON: {error}.") from None
    if not isinstance(value, dict) or not {"input", EXPECTED} <= value.keys():
        raise click.UsageError(f'{place} is not {{"input": ..., "{EXPECTED}": ...}}.')
    lacking = [name for name in groups if name not in value]
    if lacking:
        raise click.UsageError(f"{place} lacks {', '.join(lacking)}, which --group names.")
    return Labelled(place, value["input"], value[EXPECTED], {name: str(value[name]) for name in groups})
