"""Labelled files with an index, in a folder or a ZIP archive: of each file, what is true of it.

The index is `index.ndjson` or `index.jsonl`: lines of `{"file": NAME, "expected": ...}`. Where the truth is a label map,
what is expected is `{"labels": NAME}`, the name of another file, or `{"labels": {LABEL: NAME}}`.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from service.cli.cases import FileCase, read_file
from service.cli.evaluation.labelled import (
    EXPECTED,
    INDEXES,
    Labelled,
    Note,
    counted,
    groups_of,
    is_hidden,
    read_objects,
    to_stderr,
)

FILE: Final = "file"
LABELS: Final = "labels"
LINE: Final = f'{{"{FILE}": ..., "{EXPECTED}": ...}}'
MOST_BYTES: Final = 1_000_000_000  # of a file in an archive, unpacked
Find = Callable[[str], FileCase]


def read_indexed(data: Path, groups: Sequence[str], note: Note = to_stderr) -> list[Labelled]:
    """The files that the index names; `groups` are keys of its lines. Files that it does not name are counted to `note`.

    Raises click.UsageError, which quotes no truth.
    """
    source = _folder(data) if data.is_dir() else _archive(data)
    named = set[str]()

    def find(name: str) -> FileCase:
        named.add(posixpath.normpath(name))
        return source.find(name)

    found = [_labelled(place, value, find, groups) for place, value in read_objects(source.index)]
    if not found:
        raise click.UsageError(f"The index of {data} is empty.")
    if unnamed := [name for name in source.names if name not in named and not is_hidden(name)]:
        note(f"{counted(len(unnamed), 'file')} not read, which the index of {data} does not name.")
    return found


@dataclass(frozen=True)
class _Source:
    """The lines of an index, how the files that it names are found, and the names of all but the index."""

    index: Sequence[bytes]
    find: Find
    names: Sequence[str]


def _folder(folder: Path) -> _Source:
    index = next(path for name in INDEXES if (path := folder / name).is_file())
    root = folder.resolve()

    def find(name: str) -> FileCase:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise click.UsageError(f"{folder} holds no file {name}, which its index names.")
        return read_file(str(path))

    names = [
        each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file() and each != index
    ]
    return _Source(index.read_bytes().splitlines(), find, names)


def _archive(path: Path) -> _Source:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):
        raise click.UsageError(f"{path} is no ZIP archive, or it is damaged.") from None
    members = {info.filename: info for info in archive.infolist()}
    index = next((name for name in INDEXES if name in members), None)
    if index is None:
        raise click.UsageError(f"{path} holds no index: add {INDEXES[0]} with lines of {LINE}.")

    def opened(info: zipfile.ZipInfo) -> io.BytesIO:
        try:
            return io.BytesIO(archive.read(info))
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError) as error:
            raise OSError(str(error)) from None

    def find(name: str) -> FileCase:
        info = members.get(name)
        if info is None or info.file_size > MOST_BYTES:
            raise click.UsageError(f"{path} holds no file {name} of at most {MOST_BYTES} bytes.")
        return FileCase(info.file_size, lambda: opened(info))

    names = [info.filename for info in members.values() if not info.is_dir() and info.filename != index]
    return _Source(opened(members[index]).read().splitlines(), find, names)


def _labelled(place: str, value: Mapping[str, Any], find: Find, groups: Sequence[str]) -> Labelled:
    if not isinstance(name := value.get(FILE), str) or EXPECTED not in value:
        raise click.UsageError(f"{place} of the index is not {LINE}.")
    truth = _with_files(value[EXPECTED], find)
    return Labelled(name, find(name), truth, groups_of(f"{place} of the index", value, groups))


def _with_files(truth: Any, find: Find) -> Any:
    """A truth with the label maps that it names."""
    if not isinstance(truth, dict) or LABELS not in truth:
        return truth
    named = truth[LABELS]
    if isinstance(named, str):
        return {**truth, LABELS: find(named)}
    if isinstance(named, dict) and all(isinstance(name, str) for name in named.values()):
        return {**truth, LABELS: {label: find(name) for label, name in named.items()}}
    return truth
