"""Carried columns and ids, the same in every format."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.pipelines import pointer_to
from models.pipelines.columns import NO_FAULTS, CellFaults, FaultFinder, Mask
from service.batches.files import numbers, problems
from service.batches.files.blocks import RowBlock
from service.batches.files.layouts import Wanted


def is_carriable(kind: pa.DataType) -> bool:
    """Whether a column of this type can stand in a line of JSON and in Parquet alike."""
    if pa.types.is_dictionary(kind):
        return is_carriable(kind.value_type)
    return bool(
        pa.types.is_primitive(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type in which a column is carried: which words a dictionary holds would depend on where a reader began."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def id_texts(ids: pa.Array) -> pa.Array:
    """Ids as texts; null stays null."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    return ids.cast(pa.large_string())


def id_faults(carried: pa.RecordBatch, wanted: Wanted, unreadable: Mask | None = None) -> CellFaults:
    """Rows without id, where there is a column of ids; of unreadable rows nothing is said."""
    if wanted.id_column is None:
        return NO_FAULTS
    texts = id_texts(carried.column(wanted.id_column))
    lacking = pc.equal(texts.fill_null(""), "").to_numpy(zero_copy_only=False)
    if unreadable is not None:
        lacking &= ~unreadable
    if not lacking.any():
        return NO_FAULTS
    finder = FaultFinder()
    finder.add(np.flatnonzero(lacking), problems.missing_id(pointer_to(wanted.id_column)))
    return finder.found()


def unread_row(row: int, carried: pa.Schema, fields: int) -> RowBlock:
    """The block of one row that is too large to be read."""
    finder = FaultFinder()
    finder.add(np.zeros(1, np.int64), problems.ROW_TOO_LARGE)
    return RowBlock(
        row,
        1,
        record_batch(carried, {field.name: pa.nulls(1, field.type) for field in carried}, 1),
        tuple(numbers.absent(1) for _ in range(fields)),
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
