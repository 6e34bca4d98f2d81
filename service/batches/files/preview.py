"""The columns of a CSV before anybody validated it, by its first line alone: for the answer to a submit, without Arrow.

Decides nothing: what the validation finds counts.
"""

from __future__ import annotations

import codecs
import csv
import io
from typing import TYPE_CHECKING, Final

from service.batches.files.columns import Columns

if TYPE_CHECKING:
    from service.batches.files.layouts import Wanted

LOOKED_AT_BYTES: Final = 64 * 1024
DELIMITERS: Final = (",", ";", "\t", "|")


def previewed(file: io.RawIOBase, wanted: Wanted) -> Columns | None:
    """The columns of a CSV that begins as `file` does; None where its first line does not tell."""
    content = b""
    while len(content) < LOOKED_AT_BYTES and (more := file.read(LOOKED_AT_BYTES - len(content))):
        content += more
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    except UnicodeDecodeError:
        return None
    candidates = DELIMITERS if wanted.delimiter is None else (wanted.delimiter,)
    taken = {*wanted.field_names, *wanted.carried}
    headers = [_header(text, each, whole=len(content) < LOOKED_AT_BYTES) for each in candidates]
    best = max(headers, key=lambda names: len(taken.intersection(names)))
    return Columns.of(best, wanted) if taken.intersection(best) else None


def _header(text: str, delimiter: str, *, whole: bool) -> tuple[str, ...]:
    """The names in the first line that is not blank; none if it may go on behind the text."""
    rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row))
    try:
        header, next_row = next(rows, ()), next(rows, None)
    except csv.Error:
        return ()
    return tuple(name.strip() for name in header) if whole or next_row is not None else ()
