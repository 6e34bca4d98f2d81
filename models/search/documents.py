"""Reads a collection of documents from a file: CSV with a header, or a JSON object on each line.

A file is taken whole or not at all. Each fault names the line that the document begins on, and quotes nothing of it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from models.pipelines.contract import InputRejected
from models.pipelines.texts import ScriptParameters, check_text
from models.strict_json import JsonInvalid, read_json_line

LONGEST: Final = 1_000_000  # code points of a text
LONGEST_OTHER: Final = 2000  # of an id, a title or a link
MOST_FAULTS: Final = 20
CSV_SUFFIXES: Final = (".csv",)
JSON_SUFFIXES: Final = (".jsonl", ".ndjson")

Code = tuple[str, str]  # URI of a code system, and a code in it


@dataclass(frozen=True)
class Document:
    """What is found: its text is searched, the rest is shown."""

    id: str
    text: str
    title: str | None = None
    url: str | None = None
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The names of the columns, or fields, of a file. Those that a file need not have may be missing in all of it."""

    text: str = "text"
    id: str = "id"
    title: str = "title"
    url: str = "url"


class LineFault(NamedTuple):
    """What is wrong on a line, which is numbered from 1."""

    line: int
    detail: str


class CollectionRefused(Exception):
    """The file cannot be made an index of. `faults` are the first MOST_FAULTS."""

    def __init__(self, *faults: LineFault) -> None:
        self.faults = faults
        super().__init__("\n".join(f"line {fault.line}: {fault.detail}" for fault in faults))


def read_documents(path: Path, columns: Columns, script: ScriptParameters | None = None) -> list[Document]:
    """The documents of a file, in its order. Raises CollectionRefused, and OSError for a file that cannot be read."""
    if path.suffix.lower() in CSV_SUFFIXES:
        records = _csv_records(path, columns)
    elif path.suffix.lower() in JSON_SUFFIXES:
        records = _json_records(path)
    else:
        known = ", ".join((*CSV_SUFFIXES, *JSON_SUFFIXES))
        raise CollectionRefused(LineFault(1, f"name the file by its format: {known}"))
    reading = _Reading(columns, script)
    try:
        for line, record in records:
            reading.add(line, record)
            if len(reading.faults) >= MOST_FAULTS:
                break
    except CollectionRefused as refused:
        reading.faults += refused.faults
    except UnicodeDecodeError:
        reading.faults.append(LineFault(_line_of_bad_bytes(path), "it is not UTF-8: save the file as UTF-8"))
    if not (reading.documents or reading.faults):
        reading.faults.append(LineFault(1, "the file holds no document"))
    if reading.faults:
        raise CollectionRefused(*reading.faults)
    return reading.documents


@dataclass
class _Reading:
    """What was read until now."""

    columns: Columns
    script: ScriptParameters | None
    documents: list[Document] = field(default_factory=list)
    faults: list[LineFault] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)  # of ids

    def add(self, line: int, record: Mapping[str, object] | str) -> None:
        """A record of the file, or what is wrong with it."""
        if isinstance(record, str):
            self.faults.append(LineFault(line, record))
            return
        try:
            document = self._document(line, record)
        except ValueError as error:
            self.faults.append(LineFault(line, str(error)))
            return
        if (first := self.lines.setdefault(document.id, line)) != line:
            name = self.columns.id
            self.faults.append(
                LineFault(line, f"its {name} is that of line {first}: give each document its own")
            )
            return
        self.documents.append(document)

    def _document(self, line: int, record: Mapping[str, object]) -> Document:
        """Raises ValueError with what to do."""
        names = self.columns
        text = _text_of(record, names.text, LONGEST)
        if text is None:
            raise ValueError(f"it has no {names.text}: give the text, or name its column")
        self._check(text)
        identifier = _text_of(record, names.id, LONGEST_OTHER)
        if names.id in record and identifier is None:
            raise ValueError(f"its {names.id} is empty: give each document its own, or leave the column out")
        return Document(
            id=identifier or str(line),
            text=text,
            title=_text_of(record, names.title, LONGEST_OTHER),
            url=_text_of(record, names.url, LONGEST_OTHER),
        )

    def _check(self, text: str) -> None:
        try:
            check_text(text, self.columns.text, self.script)
        except InputRejected as rejected:
            raise ValueError(f"its {self.columns.text}: {rejected.faults[0].detail}") from None


def _text_of(record: Mapping[str, object], name: str, longest: int) -> str | None:
    """A field; None if it is absent, null or empty. A whole number, such as an id, is read as text. Raises ValueError."""
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"its {name} is no text: send text in quotes")  # noqa: TRY004 - a fault of the file
    if len(value) > longest:
        raise ValueError(f"its {name} has more than {longest:,} characters: divide or shorten it")
    return value


def _csv_records(path: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    """Records of CSV (RFC 4180) with the lines that they begin on. Raises CollectionRefused and UnicodeDecodeError."""
    csv.field_size_limit(4 * LONGEST)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        begins = 1
        try:
            header = [name.strip() for name in next(rows, [])]
            _check_header(header, columns)
            begins = rows.line_num + 1
            for row in rows:
                if row and len(row) != len(header):
                    yield (
                        begins,
                        f"it has {len(row)} cells, and the header {len(header)}: quote texts with commas",
                    )
                elif row:
                    yield begins, dict(zip(header, row, strict=True))
                begins = rows.line_num + 1
        except csv.Error as error:
            raise CollectionRefused(LineFault(begins, f"it is no CSV ({error}): close every quote")) from None


def _check_header(header: list[str], columns: Columns) -> None:
    """Raises CollectionRefused."""
    if columns.text not in header:
        names = ", ".join(header[:20])
        advice = f"the header has no column {columns.text}: name the text's column by --text"
        raise CollectionRefused(LineFault(1, f"{advice}. There are: {names}"))
    if twice := {name for name in header if header.count(name) > 1}:
        raise CollectionRefused(LineFault(1, f"the header has {', '.join(sorted(twice))} more than once"))


def _json_records(path: Path) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    """Objects with the lines that they are on; blank lines are left out."""
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            text = content.removeprefix(b"\xef\xbb\xbf") if line == 1 else content
            if not text.strip():
                continue
            try:
                value = read_json_line(text)
            except JsonInvalid as invalid:
                yield line, f"it is not JSON: {invalid}"
                continue
            yield line, value if isinstance(value, dict) else "it is no JSON object"


def _line_of_bad_bytes(path: Path) -> int:
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return line
    return 1
