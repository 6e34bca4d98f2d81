"""The output of a batch: results and errors as Arrow, and as the bytes of a part, NDJSON, Parquet or CSV.

The same rows give the same bytes. No format makes a Python object per row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.pipelines import Array, Pipeline, TensorSpec
from models.pipelines.columns import (
    NO_FAULTS,
    CategoryColumn,
    CellFaults,
    ResultColumn,
)
from models.pipelines.rows import FieldPipeline, FilePipeline
from models.pipelines.schema_columns import (
    ColumnKind,
    DerivedColumn,
    ResultField,
    result_columns,
    result_fields,
)
from service.batches.files.csv_lines import csv_records
from service.batches.files.json_lines import json_lines
from service.batches.files.layouts import Layout, Wanted
from service.batches.files.output_names import ROW, TAKEN_PREFIX, OutputFormat

__all__ = [
    "ROW",
    "OutputFormat",
    "encoded",
    "errors_batch",
    "errors_schema",
    "results_batch",
    "results_schema",
    "told_fields",
    "told_of_input",
]


ARROW_TYPES: Final = {
    ColumnKind.TEXT: pa.string(),
    ColumnKind.NUMBER: pa.float64(),
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.JSON: pa.json_(),
}


def results_batch(rows: Any, carried: pa.RecordBatch, columns: Sequence[ResultColumn]) -> pa.RecordBatch:
    """Row numbers int64 [n], their carried columns and their results as one batch."""
    arrays = [
        pa.array(rows, pa.int64()),
        *carried.columns,
        *(_array(column, len(rows)) for column in columns),
    ]
    names = [ROW, *carried.schema.names, *(column.name for column in columns)]
    return pa.RecordBatch.from_arrays(arrays, names)


def errors_batch(
    faults: CellFaults, first_row: int, carried: pa.RecordBatch, layout: Layout
) -> pa.RecordBatch:
    """The faults of a block as lines of errors: row number, id and file where there are any, column, code and message."""
    columns = [pa.array(faults.rows + first_row, pa.int64())]
    names = [ROW]
    for name in layout.identifying:
        columns.append(carried.column(name).take(pa.array(faults.rows)))
        names.append(name)
    words: dict[str, list[str | None]] = {
        "column": [_column_of(fault.pointer) for fault in faults.kinds],
        "code": [fault.code for fault in faults.kinds],
        "message": [fault.detail for fault in faults.kinds],
    }
    for name, values in words.items():
        columns.append(_words(faults.faults, values))
        names.append(name)
    return pa.RecordBatch.from_arrays(columns, names)


def results_schema(layout: Layout, pipeline: Pipeline) -> pa.Schema:
    """The columns of results, for a file that has none."""
    if not isinstance(pipeline, FieldPipeline | FilePipeline):
        columns = result_columns(told_fields(pipeline, layout.wanted), [])
        return results_batch([], _no_rows(layout), columns).schema
    found: list[ResultColumn] = [*pipeline.result_columns(_no_tensors(pipeline.outputs), 0)]
    if isinstance(pipeline, FieldPipeline):
        found += told_of_input(pipeline, layout.wanted, _no_tensors(pipeline.feeds))
    return results_batch([], _no_rows(layout), found).schema


def told_fields(pipeline: Pipeline, wanted: Wanted) -> list[ResultField]:
    """The derived columns of results. A batch that was planned by an earlier release keeps the columns of that one."""
    fields = result_fields(pipeline.result_schema())
    return [field for field in fields if not wanted.taken or field.name in wanted.taken]


def told_of_input(pipeline: FieldPipeline, wanted: Wanted, feeds: Mapping[str, Array]) -> list[ResultColumn]:
    """The columns that tell of the inputs, likewise."""
    return [column for column in pipeline.input_columns(feeds) if column.name in wanted.taken]


def errors_schema(layout: Layout) -> pa.Schema:
    """The columns of errors, for a file that has none."""
    return errors_batch(NO_FAULTS, 1, _no_rows(layout), layout).schema


def encoded(batches: Sequence[pa.RecordBatch], form: OutputFormat) -> memoryview:
    """Batches of one schema as the bytes of a part. A part of Parquet has one row group, one of CSV no header."""
    if form is OutputFormat.CSV:
        return memoryview(b"".join(csv_records(batch) for batch in batches))
    table = pa.Table.from_batches(batches)
    return _parquet(table) if form is OutputFormat.PARQUET else _ndjson(table)


def _no_tensors(specs: Iterable[TensorSpec]) -> dict[str, Array]:
    """Feeds or outputs of zero rows."""
    return {spec.name: np.empty((0, *spec.shape), spec.dtype) for spec in specs}


def _no_rows(layout: Layout) -> pa.RecordBatch:
    if not len(layout.carried):
        return pa.RecordBatch.from_struct_array(pa.nulls(0, pa.struct([])))
    return pa.RecordBatch.from_pylist([], layout.carried)


def _array(column: ResultColumn, count: int) -> pa.Array:
    if isinstance(column, DerivedColumn):
        return pa.array(column.values, ARROW_TYPES[column.kind])
    if isinstance(column, CategoryColumn):
        words = _words(column.codes, column.words)
        if column.kind is not ColumnKind.JSON:
            return words
        return pa.ExtensionArray.from_storage(ARROW_TYPES[column.kind], words.dictionary_decode())
    return pa.nulls(count, pa.float64()) if column.values is None else pa.array(column.values)


def _words(codes: NDArray[np.int32], words: Sequence[str | None]) -> pa.Array:
    """Texts by code, -1 and None being null. Each text once: else Arrow writes different Parquet bytes each time."""
    places = {word: place for place, word in enumerate(dict.fromkeys(w for w in words if w is not None))}
    if len(places) < len(words):
        codes = np.array([-1 if word is None else places[word] for word in (*words, None)], np.int32)[codes]
    null = codes < 0
    indices = pa.array(codes, pa.int32(), mask=null if null.any() else None)
    return pa.DictionaryArray.from_arrays(indices, pa.array(places, pa.string()), safe=False)


def _column_of(pointer: str) -> str | None:
    """The column that a JSON pointer of one step names."""
    return pointer[1:].replace("~1", "/").replace("~0", "~") if pointer else None


def _parquet(table: pa.Table) -> memoryview:
    """One row group. Texts are dictionary-encoded; ids seldom repeat and probabilities do not compress, so those are not."""
    names = set(table.schema.names)
    words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    squeezed = [name for name in names if name not in words and not name.startswith(TAKEN_PREFIX)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, table.num_rows),
        use_dictionary=[*words, *(names & {"threshold"})],
        compression=dict.fromkeys(squeezed, "zstd"),
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
        write_statistics=[ROW],
    )
    return memoryview(sink.getvalue())


def _ndjson(table: pa.Table) -> memoryview:
    return memoryview(b"".join(json_lines(batch) for batch in table.to_batches()))
