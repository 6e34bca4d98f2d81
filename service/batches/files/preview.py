"""The columns of a table before anybody validated it, for the answer to a submit, without Arrow.

Those of a CSV by its first line, of NDJSON by its first lines, of Parquet by its footer. Decides nothing: what the validation
finds counts, such as a key that only a later line has.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from typing import TYPE_CHECKING, Final

from service.batches.files.columns import Columns
from service.batches.files.formats.parquet_footer import column_names
from service.batches.files.layouts import BatchFormat

if TYPE_CHECKING:
    from service.batches.files.layouts import Wanted

LOOKED_AT_BYTES: Final = 64 * 1024
DELIMITERS: Final = (",", ";", "\t", "|")


def previewed(file: io.RawIOBase, wanted: Wanted, form: BatchFormat) -> Columns | None:
    """The columns of a table; None where what is looked at does not tell."""
    if form is BatchFormat.PARQUET:
        names = column_names(file, LOOKED_AT_BYTES)
        return None if names is None else Columns.of(names, wanted)
    content = b""
    while len(content) < LOOKED_AT_BYTES and (more := file.read(LOOKED_AT_BYTES - len(content))):
        content += more
    return _by_header(content, wanted) if form is BatchFormat.CSV else _by_keys(content, wanted)


def _by_keys(content: bytes, wanted: Wanted) -> Columns | None:
    """What the whole lines of NDJSON name: as in its validation, a text that reads like a key counts as the key."""
    if len(content) == LOOKED_AT_BYTES:
        content = content[: content.rfind(b"\n") + 1]
    if not content.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return None
    names = (*wanted.field_names, *wanted.ignore)
    return Columns.of(tuple(name for name in names if json.dumps(name).encode() in content), wanted)


def _by_header(content: bytes, wanted: Wanted) -> Columns | None:
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
