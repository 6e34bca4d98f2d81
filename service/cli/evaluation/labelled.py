"""Labelled cases: the rows of a table, the lines of an NDJSON file, or files in one folder for each label; see also indexed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from models.strict_json import JsonInvalid, read_json
from service.cli.batches.sources import BY_SUFFIX
from service.cli.cases import FileCase, read_file

TABLES = frozenset({"csv", "parquet"})
LINES = "ndjson"
INDEXED = "indexed"
INDEXES = ("index.ndjson", "index.jsonl")
EXPECTED = "expected"
MAC_FOLDER = "__MACOSX"

Note = Callable[[str], object]
"""Tells whoever waits for an evaluation what of their data was not read."""


def to_stderr(told: str) -> None:
    """The Note of commands that make no report."""
    click.echo(told, err=True)


def is_hidden(name: str) -> bool:
    """Whether a file is one that programs leave behind, by its path below the folder or in the archive."""
    return any(part.startswith(".") or part == MAC_FOLDER for part in name.split("/"))


@dataclass(frozen=True)
class Labelled:
    """One case: where it stands, its input, what is true of it, and the subgroups that it belongs to."""

    place: str
    input: Any | FileCase
    truth: Any
    groups: Mapping[str, str] = field(default_factory=dict)


def form_of(data: Path) -> str:
    """What `data` is: `indexed`, `folder`, or a format of batches. Raises click.UsageError for others and empty ones."""
    if data.is_file() and not data.stat().st_size:
        raise click.UsageError(
            f"{data} is empty: it needs a header and a row for each case, or a case a line."
        )
    if data.suffix.lower() == ".zip" or any((data / name).is_file() for name in INDEXES):
        return INDEXED
    if data.is_dir():
        return "folder"
    form = BY_SUFFIX.get(data.suffix.lower())
    if form == LINES or form in TABLES:
        return str(form)
    raise click.UsageError(
        f"{data} cannot be evaluated. Name a table (.csv, .tsv, .parquet) with a column of labels, lines (.ndjson, .jsonl) of "
        '{"input": ..., "expected": ...}, a folder with one folder of files for each label, or a folder or ZIP archive with '
        f"{INDEXES[0]}."
    )


def read_folder(folder: Path, note: Note = to_stderr) -> list[Labelled]:
    """The files of a folder's folders: the name of each is the label of what lies in it, also in folders of its own.

    Files beside the folders are counted to `note`. Raises click.UsageError.
    """
    found, beside = list[Labelled](), 0
    for label in sorted(folder.iterdir()):
        for path in sorted(label.rglob("*")) if label.is_dir() else [label]:
            place = path.relative_to(folder).as_posix()
            if path.is_dir() or is_hidden(place):
                continue
            if path == label:
                beside += 1
            else:
                found.append(Labelled(place, read_file(str(path)), label.name))
    if not found:
        raise click.UsageError(f"{folder} holds no files in folders: make a folder for each label.")
    if beside:
        note(
            f"{counted(beside, 'file')} not read: no label is known of what lies beside the folders of {folder}."
        )
    return found


def counted(number: int, what: str) -> str:
    """As in `1 file was` and `2 files were`."""
    return f"1 {what} was" if number == 1 else f"{number:,} {what}s were"


def read_lines(path: Path, groups: Sequence[str]) -> list[Labelled]:
    """The lines of an NDJSON file; `groups` are keys beside `input`. Raises click.UsageError, which quotes nothing."""
    with path.open("rb") as lines:
        found = [_line(place, value, groups) for place, value in read_objects(lines)]
    if not found:
        raise click.UsageError(f"{path} holds no line.")
    return found


def read_objects(lines: Iterable[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The JSON objects of lines, each with its place. Raises click.UsageError, which quotes nothing."""
    for number, content in enumerate(lines, start=1):
        if not content.strip():
            continue
        place = f"line {number}"
        try:
            yield place, read_object(content)
        except ValueError as wrong:
            raise click.UsageError(f"{place} {wrong}") from None


def read_object(content: bytes) -> Mapping[str, Any]:
    """The JSON object of a line. Raises ValueError, which quotes nothing."""
    try:
        value = read_json(content)
    except JsonInvalid as error:
        raise ValueError(f"is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ValueError("is not an object.")  # noqa: TRY004 - of what is read, not of an argument
    return value


def _line(place: str, value: Mapping[str, Any], groups: Sequence[str]) -> Labelled:
    if not {"input", EXPECTED} <= value.keys():
        raise click.UsageError(f'{place} is not {{"input": ..., "{EXPECTED}": ...}}.')
    return Labelled(place, value["input"], value[EXPECTED], groups_of(place, value, groups))


def groups_of(place: str, value: Mapping[str, Any], groups: Sequence[str]) -> dict[str, str]:
    """The subgroups of a line. Raises click.UsageError."""
    lacking = [name for name in groups if name not in value]
    if lacking:
        raise click.UsageError(f"{place} lacks {', '.join(lacking)}, which --group names.")
    return {name: str(value[name]) for name in groups}
