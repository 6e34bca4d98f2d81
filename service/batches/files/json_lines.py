"""Record batches as lines of JSON, column by column: no Python object per row.

Most of a row is the same in many rows: keys, and columns with few different texts. Neighbouring columns of this kind
are combined beforehand, so that a line is joined from few pieces.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.batches.files import numbers

TO_ESCAPE: Final = '[\\\\"\\x00-\\x1f]'
MOST_WORDS: Final = 4096
TEXT: Final = pa.large_string()


@dataclass(frozen=True)
class _Words:
    """A piece of every line with few different texts: that of line i is `texts[codes[i]]`."""

    codes: NDArray[np.int32]
    texts: tuple[str, ...]


# Any: Arrow has no types; it stands for an array of texts, one a line.
_Piece = str | _Words | Any


def json_lines(batch: pa.RecordBatch) -> bytes:
    """Every row as an object on a line, keys in the order of columns.

    Numbers are written as short as they can be and read back the same; NaN and infinities are null, since JSON has
    none. Times and decimals become texts; JSON stays as it is.
    """
    pieces: list[_Piece] = ["{"]
    for number, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        _add(pieces, f"{',' if number else ''}{_quoted_text(name)}:")
        _add(pieces, _piece(column))
    _add(pieces, "}\n")
    if len(pieces) == 1 and isinstance(pieces[0], str):  # every row alike
        return str(pieces[0]).encode() * int(batch.num_rows)
    columns = [pa.scalar(piece, TEXT) if isinstance(piece, str) else _as_texts(piece) for piece in pieces]
    return _characters(pc.binary_join_element_wise(*columns, pa.scalar("", TEXT)))


def _add(pieces: list[_Piece], piece: _Piece) -> None:
    """Append a piece, or combine it with the one before."""
    last = pieces[-1] if pieces else ""
    match last, piece:
        case str(), str():
            pieces[-1] = last + piece
        case str(), _Words(codes, texts):
            pieces[-1] = _Words(codes, tuple(last + text for text in texts))
        case _Words(codes, texts), str():
            pieces[-1] = _Words(codes, tuple(text + piece for text in texts))
        case _Words(), _Words() if len(last.texts) * len(piece.texts) <= MOST_WORDS:
            together = tuple(one + other for one in last.texts for other in piece.texts)
            pieces[-1] = _Words(last.codes * np.int32(len(piece.texts)) + piece.codes, together)
        case _:
            pieces.append(piece)


def _piece(column: pa.Array) -> _Piece:
    """A column's cells as JSON; what is the same in all rows as one text."""
    kind = column.type
    if pa.types.is_dictionary(kind) and len(column.dictionary) < MOST_WORDS:
        texts = _cells(column.dictionary).to_pylist()
        codes = column.indices.fill_null(len(texts)).cast(pa.int32()).to_numpy(zero_copy_only=False)
        return _Words(codes, (*texts, "null"))
    if pa.types.is_dictionary(kind):
        return _cells(column.dictionary_decode())
    if pa.types.is_boolean(kind):
        codes = column.cast(pa.int32()).fill_null(2).to_numpy(zero_copy_only=False)
        return _Words(codes, ("false", "true", "null"))
    if len(column) and column.null_count == len(column):
        return "null"
    if pa.types.is_floating(kind) and len(column) and not column.null_count:
        values = column.to_numpy(zero_copy_only=True)
        if values.min() == values.max():
            return str(_cells(column.slice(0, 1))[0])
    return _cells(column)


def _cells(column: pa.Array) -> pa.Array:
    """A column's cells as JSON: large_string [n] without nulls."""
    kind = column.type
    if isinstance(kind, pa.JsonType):
        text = column.storage.cast(TEXT)
    elif pa.types.is_floating(kind):
        text, finite = numbers.as_texts(column), pc.is_finite(column.cast(pa.float64()))
        if pc.all(finite).as_py() is False:
            text = pc.if_else(finite, text, _quoted(text))
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        text = column.cast(TEXT)
    else:
        text = _quoted(column.cast(TEXT))
    return text.fill_null("null") if text.null_count else text


def _as_texts(piece: _Words | pa.Array) -> pa.Array:
    return pa.array(piece.texts, TEXT).take(pa.array(piece.codes)) if isinstance(piece, _Words) else piece


def _quoted(texts: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(texts, TO_ESCAPE)).as_py():
        for plain, escaped in (("\\", "\\\\"), ('"', '\\"')):
            texts = pc.replace_substring(texts, plain, escaped)
        for code in range(0x20):
            texts = pc.replace_substring(texts, chr(code), f"\\u{code:04x}")
    quote = pa.scalar('"', TEXT)
    return pc.binary_join_element_wise(quote, texts, quote, pa.scalar("", TEXT))


def _quoted_text(text: str) -> str:
    quoted: str = _quoted(pa.array([text], TEXT))[0].as_py()
    return quoted


def _characters(lines: Any) -> bytes:
    """The characters of all lines, one after another: Arrow keeps them so."""
    _, offsets, values = lines.buffers()
    places = np.frombuffer(offsets, np.int64)[lines.offset : lines.offset + len(lines) + 1]
    return bytes(memoryview(values)[places[0] : places[-1]])
