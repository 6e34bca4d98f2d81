"""Canonical JSON: the bytes are those of `json.dumps`, however long a value is."""

import json
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines.canonical import PIECE, canonical, is_long

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars, lambda each: st.one_of(st.lists(each), st.dictionaries(texts, each)), max_leaves=30
)


def plain(value: object) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


@given(values, st.sampled_from([1, PIECE // 5, PIECE, PIECE + 1]))
def test_it_is_what_json_writes(value: object, times: int) -> None:
    assert canonical(value) == plain(value)
    assert canonical([value] * times) == plain([value] * times)
    assert canonical({"b": [value] * times, "a": value}, before=b"x") == b"x" + plain(
        {"b": [value] * times, "a": value}
    )


LONG = [place / 8 - 300 for place in range(2 * PIECE + 1)]


@pytest.mark.parametrize(
    "value",
    [LONG, [LONG, LONG], [[LONG]], {"a": {"b": LONG, "ä": 1}, "": []}, [[1.5] * 3] * PIECE, [{"at": LONG}, 1], [[]] * PIECE * 2,
     {str(place): place for place in range(2 * PIECE)}],
)  # fmt: skip
def test_long_values_are_written_as_short_ones(value: object) -> None:
    assert is_long(value)
    assert canonical(value) == plain(value)


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1])
def test_an_array_is_written_as_a_list(count: int) -> None:
    assert canonical({"a": array("d", [0.5] * count)}) == plain({"a": [0.5] * count})


@pytest.mark.parametrize("value", [float("inf"), [float("nan")] * (PIECE + 1)])
def test_a_number_that_is_not_finite_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)
