"""Carried columns and ids, the same in every format: which types can be carried, and which of their values."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.field_codes import FieldCode
from models.pipelines import FieldFault, pointer_to
from models.pipelines.columns import NO_FAULTS, CellFaults, FaultFinder, Mask
from service.batches.files import numbers, problems
from service.batches.files.blocks import RowBlock
from service.batches.files.layouts import Wanted

# How a date or a time of the years 1 to 9999 is written; of others Arrow writes that they are out of range, or more digits.
IN_RANGE: Final = r"^([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-|^[0-9]{2}:"


def is_carriable(kind: pa.DataType) -> bool:
    """Whether a column of this type can stand in a line of JSON and in Parquet alike."""
    if pa.types.is_dictionary(kind):
        return is_carriable(kind.value_type)
    return _is_plain(kind) and _is_writable(kind)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_duration(kind):  # there is no agreed text form
        return False
    return bool(
        pa.types.is_primitive(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_writable(kind: pa.DataType) -> bool:
    """Whether Arrow writes a value of this type as text. It knows no zone but those of the machine, and no intervals."""
    try:
        first = pa.array([0], pa.int64()).cast(kind, safe=False) if pa.types.is_timestamp(kind) else None
        (first if first is not None else pa.nulls(1, kind)).cast(pa.large_string())
    except (pa.ArrowException, ValueError):
        return False
    return True


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type in which a column is carried, never a dictionary: its entries would depend on where a reader began."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def sound(column: pa.Array, name: str) -> tuple[pa.Array, Mask | None, FieldFault | None]:
    """A column of a type that can be carried, null where a value cannot; where that is, bool [n], and what is wrong there."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        wrong, fault = _not_utf8(column), problems.text_not_utf8(pointer_to(name))
    elif pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        told = pc.match_substring_regex(column.cast(pa.large_string()), IN_RANGE)
        wrong = ~told.fill_null(True).to_numpy(zero_copy_only=False)
        fault = problems.time_out_of_range(pointer_to(name))
    else:
        return column, None, None
    if wrong is None or not wrong.any():
        return column, None, None
    plain = column.cast(pa.large_binary()) if fault.code == FieldCode.NOT_UTF8 else column
    return pc.if_else(pa.array(~wrong), plain, None).cast(plain_type(kind)), wrong, fault


def _not_utf8(texts: pa.Array) -> Mask | None:
    """Which texts are not UTF-8; None where all are."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return None
    wrong = np.zeros(len(texts), dtype=np.bool_)
    for row, text in enumerate(texts.cast(pa.large_binary()).to_pylist()):
        try:
            (text or b"").decode()
        except UnicodeDecodeError:
            wrong[row] = True
    return wrong


def id_texts(ids: pa.Array) -> pa.Array:
    """Ids as texts; null stays null, and what is no finite number is null."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    if pa.types.is_floating(ids.type):
        ids = pc.if_else(pc.is_finite(ids), ids, None)
    return ids.cast(pa.large_string())


def id_faults(carried: pa.RecordBatch, wanted: Wanted, unreadable: Mask | None = None) -> CellFaults:
    """Rows without id or with one that is no finite number, where there is a column of ids; of `unreadable` rows nothing."""
    if wanted.id_column is None:
        return NO_FAULTS
    ids, pointer = carried.column(wanted.id_column), pointer_to(wanted.id_column)
    lacking = pc.equal(id_texts(ids).fill_null(""), "").to_numpy(zero_copy_only=False)
    if unreadable is not None:
        lacking &= ~unreadable
    if not lacking.any():
        return NO_FAULTS
    finder = FaultFinder()
    told = ids.is_valid().to_numpy(zero_copy_only=False) & pa.types.is_floating(ids.type)
    finder.add(np.flatnonzero(lacking & ~told), problems.missing_id(pointer))
    finder.add(np.flatnonzero(lacking & told), problems.unusable_id(pointer))
    return finder.found()


def unread_row(row: int, carried: pa.Schema, wanted: Wanted) -> RowBlock:
    """The block of one row that is too large to read."""
    finder = FaultFinder()
    finder.add(np.zeros(1, np.int64), problems.ROW_TOO_LARGE)
    return RowBlock(
        row,
        1,
        record_batch(carried, {field.name: pa.nulls(1, field.type) for field in carried}, 1),
        () if wanted.by_value else tuple(numbers.absent(1) for _ in wanted.fields),
        values=(None,) if wanted.by_value else (),
        faults=finder.found(),
        unreadable=np.ones(1, dtype=np.bool_),
    )


def record_batch(schema: pa.Schema, columns: dict[str, pa.Array], count: int) -> pa.RecordBatch:
    """The columns of a schema, cast to it, as `count` rows; also where there is no column."""
    if not len(schema):
        return pa.RecordBatch.from_struct_array(pa.nulls(count, pa.struct([])))
    return pa.RecordBatch.from_arrays(
        [columns[field.name].cast(field.type) for field in schema], schema=schema
    )
