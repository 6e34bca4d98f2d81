"""The header of CSV: the names in the first line, and what else may stand there.

What some programs write in front of a header is refused with what to do, and so is a file without one: read as a header,
either would lack every column.
"""

import io
import re
from collections.abc import Sequence, Set
from itertools import chain
from typing import Final

from models.pipelines.names import near_names
from service.batches.files.formats.records import Grammar, scan
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem, FileRefused

SEPARATOR_LINE: Final = re.compile(rb'\s*"?sep=', re.IGNORECASE)  # Excel's own, in front of the header
NUMBER: Final = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+([eE][+-]?[0-9]+)?$")
LOOKED_AT_LINES: Final = 10  # for the header, where the first line is none
QUOTED: Final = re.compile(rb'"((?:[^"]|"")*+)"')

Beginning = list[tuple[int, tuple[str, ...]]]


def header_of(top: io.BytesIO, delimiter: str, limits: Limits) -> tuple[str, ...]:
    """The names in the first line that is not blank, as `delimiter` splits it. Raises FileRefused."""
    ((_, names),) = _beginning(top, delimiter, limits, 1)
    return names


def check_first_line(
    top: io.BytesIO, header: Sequence[str], candidates: Sequence[str], taken: Set[str], limits: Limits
) -> None:
    """Raises FileRefused where the first line, split into `header`, is none. `taken`: the names that are wanted of it.

    Only where it has none of them are the next lines looked at, split by each of the `candidates`.
    """
    fits = not taken.isdisjoint(header)
    _check_begin(top.getvalue(), fits=fits)
    if taken and not fits:
        beginnings = [_beginning(top, delimiter, limits, LOOKED_AT_LINES) for delimiter in candidates]
        _check_no_later_header(beginnings, taken)
        if not near_names(taken, header):
            _check_names(beginnings)


def _check_begin(top: bytes, *, fits: bool) -> None:
    """Raises FileRefused where the first line is one that some programs put in front of the header."""
    if SEPARATOR_LINE.match(top):
        raise FileRefused(
            FileProblem.HEADER_INVALID,
            "The first line is Excel's `sep=`: remove it; the delimiter is detected, or given in `delimiter`.",
        )
    if top.lstrip().startswith(b"#") and not fits:
        raise FileRefused(
            FileProblem.HEADER_INVALID,
            "The first line is a comment: remove it, the file begins with its header.",
        )


def _check_no_later_header(beginnings: Sequence[Beginning], taken: Set[str]) -> None:
    """Raises FileRefused where a later line names two wanted columns, or the only one."""
    for number, row in chain.from_iterable(beginnings):
        if len(taken & set(row)) >= min(2, len(taken)):
            raise FileRefused(
                FileProblem.HEADER_INVALID,
                f"Line {number} looks like the header: remove what is before it, the file begins with its header.",
            )


def _check_names(beginnings: Sequence[Beginning]) -> None:
    """Raises FileRefused where the first line is a row of values, or shorter than the next ones as a title is."""
    split = [[row for _, row in beginning] for beginning in beginnings]
    first, *rows = max(split, key=lambda each: max(map(len, each)))
    numbers_held = sum(NUMBER.match(cell) is not None for cell in first)
    if numbers_held and 2 * numbers_held >= sum(map(bool, first)):
        raise FileRefused(
            FileProblem.HEADER_INVALID,
            "The first line holds values and names no column: begin the file with a line of the names of its columns.",
        )
    if rows and all(len(row) > len(first) for row in rows):
        raise FileRefused(
            FileProblem.HEADER_INVALID,
            "The first line names none of the columns and has fewer cells than the next: if it is a title, remove it.",
        )


def _beginning(top: io.BytesIO, delimiter: str, limits: Limits, most: int) -> Beginning:
    """Numbers and cells of the first lines that are not blank, one at least and `most` at most. Raises FileRefused."""
    grammar = Grammar(delimiter)
    first = next(scan(top, grammar, limits, start=0, row=0), None)  # type: ignore[arg-type]  # BytesIO reads alike
    if first is None or first.oversized:
        raise FileRefused(FileProblem.HEADER_INVALID, "The first line is too long to be a header.")
    if not len(first):
        raise FileRefused(FileProblem.EMPTY, "The file begins with blank lines only.")
    found = []
    for row in range(min(len(first), most)):
        number = len(first.content[: first.starts[row]].splitlines()) + 1
        found.append((number, tuple(name.strip() for name in _split(first.bytes_of(row, row + 1), grammar))))
    return found


def _split(line: bytes, grammar: Grammar) -> list[str]:
    """The cells of one record."""
    cells, position, line = [], 0, line.rstrip(b"\r\n")
    while True:
        found = grammar.field.match(line, position)
        assert found is not None, "a field may be empty"
        cells.append(_unquoted(found[0]).decode())
        position = found.end() + 1
        if found.end() >= len(line):
            return cells


def _unquoted(cell: bytes) -> bytes:
    quoted = QUOTED.match(cell)
    return cell if quoted is None else quoted[1].replace(b'""', b'"') + cell[quoted.end() :]
