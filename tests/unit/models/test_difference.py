"""What counts as a difference of two answers, and how it is told."""

import pytest

from models.difference import difference


@pytest.mark.parametrize(
    ("expected", "actual", "where"),
    [
        ({"a": 1.0}, {"a": 1.00009, "b": 2}, None),
        ({"a": 1.0}, {"a": 1.0002}, "/a"),
        ({"a": 1.0}, {"a": float("nan")}, "/a"),
        ({"a": 1}, {"a": True}, "/a"),
        ({"a": True}, {"a": True}, None),
        ({"a": None}, {}, "/a"),
        ({"a": None}, {"a": None}, None),
        ({"a": "x"}, {"a": "y"}, "/a"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2.1]}}, "/a/b/1"),
        ({"a": [1]}, {"a": [1, 2]}, "/a"),
        ({"a": {"b": 1}}, {"a": 1}, "/a"),
        ({}, {"a": 1}, None),
    ],
)
def test_a_difference_is_found_and_named(expected: object, actual: object, where: str | None) -> None:
    found = difference(expected, actual, 1e-4)
    assert (found and found.split()[0]) == where


def test_decimals_a_tolerance_apart_are_alike_whatever_floats_make_of_them() -> None:
    """A share that is rounded to four decimals is one step off where sums of another processor cross a boundary."""
    assert abs(0.3001 - 0.3002) > 1e-4
    steps = [(step / 10_000, (step + 1) / 10_000) for step in range(10_000)]
    assert [pair for pair in steps if difference(*pair, 1e-4) is not None] == []
    assert difference(0.3001, 0.3003, 1e-4) == " is 0.3003; expected 0.3001"


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        ({"flagged": [0] * 42}, {"flagged": [0] * 45}, "/flagged has 45 entries, expected 42"),
        ({"a": [{"b": 1.0}, {"b": 2.0}]}, {"a": [{"b": 1.0}, {"b": 2.5}]}, "/a/1/b is 2.5; expected 2.0"),
        ({"a": {}}, {"a": "y" * 40_000}, f"/a is '{'y' * 96}...; expected {{}}"),
    ],
)
def test_the_first_difference_has_its_pointer_and_is_short(
    expected: object, actual: object, words: str
) -> None:
    assert difference(expected, actual, 0) == words
