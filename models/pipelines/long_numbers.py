"""Lists of numbers that may be long, as a recording's samples: kept as an array, in a quarter of what a list takes.

Plain Python, because the API has no numpy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Annotated, Any, Final, NoReturn

from pydantic import FailFast, Field, PlainSerializer, ValidationError, WrapValidator
from pydantic_core import InitErrorDetails

from models.pipelines.canonical import PIECE

_AT_ONCE: Final = 16 * PIECE  # numbers that are read while no other thread runs
_NUMBERS: Final = frozenset((int, float))

_Read = Callable[[object], object]


def long_numbers(*, least: int, most: int, **told: Any) -> Any:
    """The type of a list of `least` to `most` finite numbers: a list of floats, or an array of them if it is long.

    Of a list only the first wrong element is told: pydantic would keep an error of each.
    """

    def packed(value: object, read: _Read) -> object:
        if isinstance(value, list) and PIECE < len(value) <= most and len(value) >= least:
            return _packed(value, read)
        try:
            return read(value)
        except ValidationError:
            if not isinstance(value, list) or int not in set(map(type, value)):
                raise
        return read([*map(_as_in_json, value)])

    listed = Field(min_length=least, max_length=most, **told)
    return Annotated[list[float], listed, FailFast(), WrapValidator(packed), PlainSerializer(list)]


def _packed(value: list[object], read: _Read) -> array[float]:
    """The numbers of a list. Raises what `read` raises of the first element that is none."""
    found = array("d")
    for start in range(0, len(value), _AT_ONCE):
        part = value[start : start + _AT_ONCE]
        try:
            if set(map(type, part)) <= _NUMBERS and all(map(isfinite, part)):  # type: ignore[arg-type]  # then they are numbers
                found.extend(part)  # type: ignore[arg-type]
                continue
        except OverflowError:  # of an integer beyond the range of floats
            pass
        _refuse(part, start, read)
    return found


def _refuse(values: Sequence[object], start: int, read: _Read) -> NoReturn:
    """Raises what `read` raises of the first of these elements that is no finite number; `start` come before them."""
    place, each = next(
        (place, each)
        for place, each in enumerate(map(_as_in_json, values), start=start)
        if not isinstance(each, int | float) or isinstance(each, bool) or not isfinite(each)
    )
    try:
        read([each])
    except ValidationError as error:
        lines = [
            InitErrorDetails(
                type=told["type"], loc=(place, *told["loc"][1:]), input=told["input"], ctx=told.get("ctx", {})
            )
            for told in error.errors()
        ]
        raise ValidationError.from_exception_data(error.title, lines) from None
    raise AssertionError("a list with a wrong element was accepted")


def _as_in_json(value: object) -> object:
    """An integer beyond the range of floats as infinite, which it is when JSON is read as floats; others as they are."""
    if type(value) is int:
        try:
            float(value)
        except OverflowError:
            return inf
    return value
