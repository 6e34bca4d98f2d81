"""The first difference of a result from what is expected of it."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard


def difference(expected: object, actual: object, tolerance: float, place: str = "") -> str | None:
    """The first difference of `actual` from the subset `expected`, in words; None if there is none."""
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        keys = ((f"{place}/{key}", value, actual.get(key, "absent")) for key, value in expected.items())
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in keys)), None
        )
    if isinstance(expected, list) and isinstance(actual, Sequence) and len(expected) == len(actual):
        items = ((f"{place}/{index}", *pair) for index, pair in enumerate(zip(expected, actual, strict=True)))
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in items)), None
        )
    if _is_number(expected) and _is_number(actual):
        same = math.isclose(expected, actual, rel_tol=0, abs_tol=tolerance)
    else:
        same = type(expected) is type(actual) and expected == actual
    return None if same else f"{place} is {actual!r}; expected {expected!r}"


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
