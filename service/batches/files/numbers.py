"""From Arrow columns to the number columns that pipelines check: no object per cell."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.pipelines.columns import Mask, NumberColumn

# How CSV may write a number, including non-finite ones: as Arrow reads them.
DECIMAL: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# What many files write for a missing number: suggested, never assumed.
MARKER: Final = r"^(?i)(#?n[./ ]?a\.?|<na>|nan|null|none|nil|n\.?d\.?|k\.? ?a\.?|missing|unknown|unbekannt|-+|\?+|\.+|\*+|\\n)$"
DECLARE_MARKER: Final = (
    "If it marks a missing value, declare it: `missing` in the request, `--missing` in the command"
)
# A number with a decimal comma, where the mark is a point.
COMMA: Final = r"^[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$"
DECLARE_COMMA: Final = (
    "If its comma is the decimal mark, declare it: `decimal` in the request, `--decimal ,` in the command"
)
DECLARE_POINT: Final = "The decimal mark is declared to be a comma: leave `decimal` out if it is a point"
# Digits in groups of three: a thousands separator, or three decimals. Nobody can tell which, so neither is suggested alone.
GROUPED: Final = {
    ".": r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$",
    ",": r"^[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?$",
}
REMOVE_GROUPS: Final = (
    "If its {} separates thousands, take it out of the file: 7{}861 would be read as less than 8"
)
NOT_FINITE: Final = r"^(?i)[+-]?(nan(\([a-z0-9_]*\))?|inf(inity)?)$"


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def from_numeric(column: pa.Array) -> NumberColumn:
    """A column of any numeric type, nulls missing. Integers and decimals become float64 as Python would make them."""
    if pa.types.is_float64(column.type) and not column.null_count:
        return NumberColumn(column.to_numpy(zero_copy_only=True))
    as_double = column if pa.types.is_float64(column.type) else column.cast(pa.float64(), safe=False)
    missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    return NumberColumn(as_double.fill_null(0.0).to_numpy(zero_copy_only=False), missing)


def from_csv(column: pa.Array) -> NumberColumn:
    """A column of float64 that was read from CSV: what is NaN there was written so, and gets a hint."""
    found = from_numeric(column)
    nan = np.isnan(found.values)
    return replace(found, hints=((nan, DECLARE_MARKER),)) if nan.any() else found


def from_json(column: pa.Array) -> NumberColumn:
    """A column of JSON values of one kind: numbers, or texts, which are none."""
    if not pa.types.is_string(column.type):
        return from_numeric(column)
    told = column.is_valid().to_numpy(zero_copy_only=False)
    return NumberColumn(np.zeros(len(column)), ~told, told)


def from_text(column: pa.Array, missing_as: Sequence[str] = (), mark: str = ".") -> NumberColumn:
    """A column of texts as CSV has them: empty is missing, as is `missing_as`; what is no number has the wrong type.

    What looks like a missing number (NaN is one), or one with another decimal mark than `mark`, gets a hint.
    """
    text = pc.ascii_trim_whitespace(column.fill_null(""))
    missing = pc.is_in(text, pa.array(["", *missing_as], text.type)).to_numpy(zero_copy_only=False)
    hints = _hints(text, mark)
    if mark != ".":  # a point is no mark then: replaced by what no number holds
        text = pc.replace_substring(pc.replace_substring(text, ".", "\0"), mark, ".")
    decimal = pc.match_substring_regex(text, DECIMAL)
    not_finite = pc.match_substring_regex(text, NOT_FINITE)
    # A cast does not take a plus; a text that is no number must not reach it.
    bare = pc.ascii_ltrim(pc.if_else(decimal, text, "0"), characters="+")
    values = pc.cast(bare, pa.float64()).to_numpy(zero_copy_only=False)
    nan = not_finite.to_numpy(zero_copy_only=False).copy()
    nan &= ~missing
    wrong = ~(missing | nan | decimal.to_numpy(zero_copy_only=False))
    hinted = [(mask & (wrong | nan), hint) for mask, hint in hints]
    return NumberColumn(
        np.where(nan, np.nan, values),
        missing if missing.any() else None,
        wrong if wrong.any() else None,
        tuple((mask, hint) for mask, hint in hinted if mask.any()),
    )


def _hints(text: pa.Array, mark: str) -> list[tuple[Mask, str]]:
    """What to do about cells that are no numbers."""
    pattern, hint = (COMMA, DECLARE_COMMA) if mark == "." else (DECIMAL, DECLARE_POINT)
    groups = REMOVE_GROUPS.format(*(("comma", ",") if mark == "." else ("point", ".")))
    found = [_matching(text, each) for each in (MARKER, GROUPED[mark], pattern)]
    return [
        (found[0], DECLARE_MARKER),
        (found[1] & found[2], f"{groups}. {hint}"),
        (found[1] & ~found[2], groups),
        (found[2] & ~found[1], hint),
    ]


def _matching(text: pa.Array, pattern: str) -> Mask:
    return np.asarray(pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False))


def hint_of(text: str, mark: str) -> str | None:
    """The same for one cell that a model refused, whatever it takes there; None for most."""
    found = pa.array([text.strip(" \t\n\v\f\r")])
    return next((hint for mask, hint in _hints(found, mark) if mask[0]), None)


def absent(count: int) -> NumberColumn:
    """An optional field that a file has no column for."""
    return NumberColumn(np.zeros(count), np.ones(count, dtype=np.bool_))


def as_texts(column: pa.Array) -> pa.Array:
    """Floats as texts, large_string [n]: as short as they read back the same, and NaN, Infinity and -Infinity."""
    text = column.cast(pa.large_string())
    wide = column.cast(pa.float64())
    if pc.all(pc.is_finite(wide)).as_py() is not False:
        return text
    infinite = pc.if_else(pc.less(wide, 0.0), "-Infinity", "Infinity")
    word = pc.if_else(pc.is_nan(wide), "NaN", infinite).cast(pa.large_string())
    return pc.if_else(pc.is_finite(wide), text, word)
