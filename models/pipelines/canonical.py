"""Writes canonical JSON: the same bytes for the same value, with sorted keys, no spaces, UTF-8.

The bytes are those of `json.dumps`. It makes a text of each number before it joins them, 60 bytes and more for each, so long
values are written piece by piece: then there is never more than the bytes themselves and the texts of one piece, and other
threads have their turn between pieces.
"""

import json
from array import array
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

PIECE: Final = 4096  # values that are written at once
_CONTAINERS: Final = frozenset[type]((dict, list, array))
_written: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def canonical(value: object, before: bytes = b"") -> bytes:
    """The bytes of a value made of dicts with texts as keys, lists, arrays of floats and scalars, after those of `before`.

    Raises ValueError for a number that is not finite.
    """
    if not is_long(value):
        return before + _written(value).encode()
    out = BytesIO(before)
    out.seek(len(before))
    for piece in _pieces(value):
        out.write(piece.encode())
    return out.getvalue()


def is_long(value: object) -> bool:
    """Whether there are more than PIECE values in it, or an array; it looks at no more of them than that."""
    return type(value) in _CONTAINERS and _left(value, PIECE) < 0


def _left(value: Any, count: int) -> int:
    """What is left of `count` after each value in the container `value`; less than zero if there are more."""
    if type(value) is array:
        return -1  # json.dumps does not write one
    count -= len(value)
    parts = value.values() if type(value) is dict else value
    if count < 0 or _CONTAINERS.isdisjoint(map(type, parts)):  # a loop takes ten times as long
        return count
    for part in parts:
        if type(part) in _CONTAINERS and (count := _left(part, count)) < 0:
            break
    return count


def _pieces(value: object) -> Iterator[str]:
    if not is_long(value):
        yield _written(value)
    elif isinstance(value, dict):
        before = "{"
        for key in sorted(value):
            yield f"{before}{_written(key)}:"
            yield from _pieces(value[key])
            before = ","
        yield "}"
    elif isinstance(value, list | array):
        before = "["
        for start in range(0, len(value), PIECE):
            yield before
            yield from _elements(value[start : start + PIECE])
            before = ","
        yield "]" if value else "[]"


def _elements(values: "list[object] | array[float]") -> Iterator[str]:
    """These elements of a list, without its brackets."""
    if isinstance(values, array):
        values = [*values]
    if not is_long(values):
        yield _written(values)[1:-1]
    elif len(values) == 1:
        yield from _pieces(values[0])
    else:
        middle = len(values) // 2
        yield from _elements(values[:middle])
        yield ","
        yield from _elements(values[middle:])
