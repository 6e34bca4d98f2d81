"""The first difference of a result from what is expected of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

MOST_CHARACTERS: Final = 300  # of a text about one difference or error
_MOST_OF_A_VALUE: Final = 100
_BINARY: Final = 1e-9  # of the tolerance: floats lie further apart than the decimals they stand for


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, or its beginning and an ellipsis if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def difference(expected: object, actual: object, tolerance: float, place: str = "") -> str | None:
    """The first difference of `actual` from the subset `expected`, in words with its JSON pointer; None if there is none.

    Of long values the beginning is given.
    """
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        keys = ((f"{place}/{key}", value, actual.get(key, "absent")) for key, value in expected.items())
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in keys)), None
        )
    if isinstance(expected, list) and _is_list(actual):
        if len(expected) != len(actual):
            return f"{place} has {len(actual)} entries, expected {len(expected)}"
        items = ((f"{place}/{index}", *pair) for index, pair in enumerate(zip(expected, actual, strict=True)))
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in items)), None
        )
    if _is_number(expected) and _is_number(actual):
        same = math.isclose(expected, actual, rel_tol=0, abs_tol=tolerance * (1 + _BINARY))
    else:
        same = type(expected) is type(actual) and expected == actual
    if same:
        return None
    found, wanted = (shortened(repr(value), _MOST_OF_A_VALUE) for value in (actual, expected))
    return f"{place} is {found}; expected {wanted}"


def deviation(expected: object, actual: object, place: str = "") -> tuple[float, str]:
    """The largest absolute difference of a number of two answers, and its place; infinite where something else differs."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping) and expected.keys() == actual.keys():
        parts = [deviation(value, actual[key], f"{place}/{key}") for key, value in expected.items()]
    elif _is_list(expected) and _is_list(actual) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        parts = [deviation(*pair, f"{place}/{index}") for index, pair in pairs]
    elif _is_number(expected) and _is_number(actual):
        return (math.inf if math.isnan(expected - actual) else abs(expected - actual)), place
    else:
        return (0.0 if type(expected) is type(actual) and expected == actual else math.inf), place
    return max(parts, key=lambda part: part[0], default=(0.0, place))


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
