"""Record batches as records of CSV (RFC 4180), column by column: no Python object per row.

Lines end with CRLF, texts are quoted where they must be, null is an empty cell. A text that a spreadsheet would run as a
formula gets an apostrophe in front; numbers, also those in texts, are left as they are.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from service.batches.files import numbers
from service.batches.files.output_names import ROW

TEXT: Final = pa.large_string()
TO_QUOTE: Final = '[",\r\n]'
FORMULA: Final = r"^\s*[=@\x{ff1d}\x{ff20}]|^[\t\r+-]"
PLAIN_NUMBER: Final = r"^[+-][0-9 .,/()-]*([eE][+-]?[0-9]+)?$"


def csv_records(batch: pa.RecordBatch) -> bytes:
    """Every row as a record, cells in the order of columns."""
    if not batch.num_rows:
        return b""
    cells = [_cells(column) for column in batch.columns]
    records = pc.binary_join_element_wise(*cells, pa.scalar(",", TEXT))
    return "\r\n".join((*records.to_pylist(), "")).encode()


def csv_header(schema: pa.Schema) -> bytes:
    """The names of the columns as a record."""
    names = _written(pa.array(schema.names, TEXT)).to_pylist()
    return (",".join(names) + "\r\n").encode()


def csv_rows(content: pa.BufferReader) -> pa.Table:
    """The row numbers of records without a header: the first cell of each."""
    options = pcsv.ReadOptions(use_threads=False, autogenerate_column_names=True)
    first = pcsv.ConvertOptions(include_columns=["f0"], column_types={"f0": pa.int64()})
    parse = pcsv.ParseOptions(newlines_in_values=True)
    return pcsv.read_csv(content, options, parse, first).rename_columns([ROW])


def _cells(column: pa.Array) -> pa.Array:
    """A column's cells as they are written between commas: large_string [n] without nulls."""
    if isinstance(column.type, pa.JsonType):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pa.DictionaryArray.from_arrays(column.indices, _cells(column.dictionary)).dictionary_decode()
        return column.cast(TEXT).fill_null("")
    text = (numbers.as_texts(column) if pa.types.is_floating(kind) else column.cast(TEXT)).fill_null("")
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return _written(text) if is_text else text


def _written(texts: pa.Array) -> pa.Array:
    """Texts as cells: no formulas, and quoted where they must be."""
    formula = pc.and_(
        pc.match_substring_regex(texts, FORMULA), pc.invert(pc.match_substring_regex(texts, PLAIN_NUMBER))
    )
    if _any(formula):
        texts = pc.if_else(formula, _joined("'", texts), texts)
    to_quote = pc.match_substring_regex(texts, TO_QUOTE)
    if _any(to_quote):
        quoted = _joined('"', pc.replace_substring(texts, '"', '""'), '"')
        texts = pc.if_else(to_quote, quoted, texts)
    return texts


def _any(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())


def _joined(*pieces: Any) -> pa.Array:
    texts = [pa.scalar(piece, TEXT) if isinstance(piece, str) else piece for piece in pieces]
    return pc.binary_join_element_wise(*texts, pa.scalar("", TEXT))
