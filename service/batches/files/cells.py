"""From the cells of a row to the input of one job: for models whose rows are no plain numbers, a Python object each.

A cell that is no value of its kind is passed on as it is, so that the pipeline refuses it with its own message.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from models.pipelines.schema_columns import ColumnKind
from service.batches.files import numbers
from service.batches.files.layouts import Wanted

WHOLE: Final = re.compile(r"-?[0-9]+\.0+")
WRITTEN_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}

Cells = Sequence[Any]


def inputs_of(table: Mapping[str, pa.Array], wanted: Wanted, count: int) -> list[dict[str, Any]]:
    """The inputs of `count` rows, given the columns present; an empty cell yields no property."""
    columns = {
        name: _cells(table[name], ColumnKind(kind), wanted)
        for name, kind in zip(wanted.field_names, wanted.kinds or (), strict=True)
        if name in table
    }
    return [
        {name: cells[row] for name, cells in columns.items() if cells[row] is not None}
        for row in range(count)
    ]


def is_readable(kind: pa.DataType, wanted: str) -> bool:
    """Whether a column of Parquet of this type can hold what is wanted."""
    if wanted in (ColumnKind.NUMBER, ColumnKind.INTEGER):
        return numbers.is_numeric(kind)
    if pa.types.is_dictionary(kind):
        return is_readable(kind.value_type, wanted)
    if pa.types.is_null(kind):
        return True
    if wanted == ColumnKind.TEXT:
        return _is_text(kind)
    if wanted == ColumnKind.CODE:
        return _is_text(kind) or bool(pa.types.is_boolean(kind)) or numbers.is_numeric(kind)
    return bool(pa.types.is_boolean(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _cells(column: pa.Array, kind: ColumnKind, wanted: Wanted) -> Cells:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind in (ColumnKind.NUMBER, ColumnKind.INTEGER):
        return _numbers(column, wanted, whole=kind is ColumnKind.INTEGER)
    texts: list[Any] = column.to_pylist()
    if not _is_text(column.type):
        return [_as_json(value, whole=True) if isinstance(value, Decimal) else value for value in texts]
    missing = {None, "", *wanted.missing}
    if kind is ColumnKind.BOOLEAN:
        return [None if text in missing else WRITTEN_FLAGS.get(text.strip().lower(), text) for text in texts]
    if kind is ColumnKind.CODE:
        return [None if (code := _code(text)) in missing else code for text in texts]
    return [None if text in missing else text for text in texts]


def _code(text: str | None) -> str:
    """A code without spaces around it, and without the fraction that some programs add to whole numbers."""
    found = (text or "").strip()
    return found.partition(".")[0] if WHOLE.fullmatch(found) else found


def _numbers(column: pa.Array, wanted: Wanted, *, whole: bool) -> Cells:
    """Numbers by the rules of columns of numbers; integers keep all their digits."""
    if not pa.types.is_string(column.type):
        return [_as_json(value, whole=whole) for value in column.to_pylist()]
    read = numbers.from_text(column, wanted.missing, wanted.decimal or ".")
    nowhere = np.zeros(len(column), dtype=np.bool_)
    missing = nowhere if read.missing is None else read.missing
    wrong = nowhere if read.wrong_type is None else read.wrong_type
    kept: Callable[[str, float], Any] = _integer if whole else lambda _, value: value
    return [
        None if lacks else text if bad else kept(text, value)
        for text, value, lacks, bad in zip(
            column.to_pylist(), read.values.tolist(), missing.tolist(), wrong.tolist(), strict=True
        )
    ]


def _integer(text: str, value: float) -> Any:
    """The integer that a text spells, of any number of digits; else the number, which is not an integer."""
    digits = text.strip()
    if digits.lstrip("+-").isdecimal():
        return int(digits) if len(digits) < 4000 else text
    return _as_json(value, whole=True)


def _as_json(value: Any, *, whole: bool) -> Any:
    """An Arrow value as in JSON: decimals as floats, and integral floats as integers where integers are wanted."""
    if value is None or isinstance(value, bool):
        return value
    if whole:
        return int(value) if isinstance(value, int) or value == value // 1 else float(value)
    return float(value)
