"""Values that are read as they are, being long, are accepted and refused as those that are written as JSON first."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import FailFast, Field

from models.field_codes import FieldCode
from models.pipelines import InputRejected
from models.pipelines.canonical import PIECE, canonical
from models.pipelines.long_numbers import long_numbers
from models.pipelines.typed import TypedInput
from models.pipelines.typed_schemas import derived_schema
from models.pipelines.typed_values import checked, read_as_it_is, read_as_written, stored


class Part(TypedInput):
    """A part of an input."""

    at: Annotated[int, Field(ge=0)]
    name: str = "none"


class Everything(TypedInput):
    """An input with a field of each kind."""

    number: float = 0.0
    bounded: Annotated[float, Field(ge=0, le=10)] = 1.0
    whole: int = 0
    flag: bool = False
    word: Annotated[str, Field(min_length=1, max_length=3, pattern="^[a-c]*$")] = "a"
    kind: Literal["a", "b"] = "a"
    level: Literal[1, 2] = 1
    answer: Literal[True] | None = None
    either: int | str | None = None
    numbers: Annotated[list[float], FailFast()] = Field(default_factory=list)
    wholes: Annotated[list[int], Field(min_length=1, max_length=3)] = Field(default_factory=lambda: [1])
    parts: list[Part] = Field(default_factory=list)
    named: dict[str, float] = Field(default_factory=dict)
    counted: dict[int, float] = Field(default_factory=dict)
    day: date | None = None
    pair: tuple[float, float] | None = None
    anything: Any = None
    long: long_numbers(least=0, most=5) = Field(default_factory=list)  # type: ignore[valid-type]  # made by a call


SCHEMA = derived_schema(Everything, "validation")
HUGE = 10**400
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.sampled_from([2**63, HUGE, 1e300, -0.0, float("inf")]),
    st.floats(-3, 12), st.integers(-3, 12).map(float), st.sampled_from(["", "a", "b ", "abcd", "1", "2026-03-01", "é"]),
)  # fmt: skip
lists = st.lists(scalars, max_size=6)
tables = st.dictionaries(st.sampled_from(["at", "name", "1", "x"]), scalars, max_size=3)
anything = st.one_of(scalars, lists, tables, st.lists(tables, max_size=5))
numbers = st.one_of(st.integers(-3, 12), st.floats(-3, 12))
likely = {
    "numbers": st.lists(numbers),
    "wholes": st.lists(st.integers(0, 9)),
    "long": st.lists(numbers),
    "parts": st.lists(st.fixed_dictionaries({"at": scalars})),
    "counted": st.dictionaries(st.sampled_from(["1", "2", "x"]), numbers),
    "day": st.just("2026-03-01"),
    "pair": st.lists(numbers, min_size=2, max_size=2),
}
inputs = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(likely.get(name, scalars), anything) for name in [*Everything.model_fields, "unknown"]
    },
)


def outcome(read: Callable[..., Any], value: object, schema: Any = SCHEMA, model: Any = Everything) -> Any:
    """The JSON of what was read, or the faults; None if it was not read."""
    try:
        found = read(model, value, schema)
    except InputRejected as rejected:
        return [(fault.pointer, fault.code, fault.detail) for fault in rejected.faults]
    return found and found.model_dump(mode="json", by_alias=True)


@given(st.one_of(inputs, anything))
def test_a_value_is_read_as_it_is_as_it_is_when_written(value: object) -> None:
    found = outcome(read_as_it_is, value)
    assert found is None or repr(found) == repr(outcome(read_as_written, value))


@given(inputs, st.integers(0, 2))
def test_a_long_value_is_checked_as_if_it_were_short(value: dict[str, Any], place: int) -> None:
    tails: list[list[Any]] = [[0.5] * PIECE, [1] * PIECE + [0.5], [0.5] * PIECE + ["a"]]
    whole = value | {"numbers": tails[place], "anything": 1}
    assert repr(outcome(checked, whole)) == repr(outcome(read_as_written, whole))


@pytest.mark.parametrize("value", ["\ud800", b"\xff", {"\ud800": 1}, [b"\xff"]])
def test_a_long_value_that_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InputRejected) as rejected:
        checked(Everything, {"anything": [value, *[0] * PIECE]}, SCHEMA)
    assert [fault.code for fault in rejected.value.faults] == [FieldCode.NOT_JSON]


def test_a_number_past_the_range_of_a_float_in_a_long_list_is_found() -> None:
    for long in ([1.0] * PIECE, [1] * PIECE):
        with pytest.raises(InputRejected) as rejected:
            checked(Everything, {"anything": [*long, float("inf")]}, SCHEMA)
        (fault,) = rejected.value.faults
        assert (fault.pointer, fault.code) == (f"/anything/{PIECE}", FieldCode.NOT_FINITE)


class Long(TypedInput):
    """A long list of numbers, which becomes an array."""

    numbers: long_numbers(least=2, most=2 * PIECE)  # type: ignore[valid-type]  # made by a call


class Plain(TypedInput):
    """The same as a plain list."""

    numbers: Annotated[list[float], Field(min_length=2, max_length=2 * PIECE), FailFast()]


LONG_LISTS = {
    "integers": [*range(PIECE + 1)],
    "floats": [place / 7 for place in range(PIECE + 1)],
    "both": [-0.0, 1, 2**60 + 1, 0.1] * (PIECE // 2),
    "too many": [1] * (2 * PIECE + 1),
    "a text": [*[0.5] * PIECE, "1"],
    "true": [*[1] * PIECE, True],
    "infinite": [*[1.0] * PIECE, float("inf")],
    "huge": [*[1] * PIECE, HUGE],
    "a list": [*[1] * PIECE, [1]],
}


@pytest.mark.parametrize("name", LONG_LISTS)
def test_an_array_is_accepted_refused_and_stored_as_the_list(name: str) -> None:
    value = {"numbers": LONG_LISTS[name]}
    schema = derived_schema(Plain, "validation")
    assert derived_schema(Long, "validation")["properties"] == schema["properties"]
    listed = outcome(checked, value, schema, Plain)
    assert repr(outcome(checked, value, schema, Long)) == repr(listed)
    if isinstance(listed, dict):
        text = canonical(listed)
        assert canonical({"numbers": checked(Long, value, schema).numbers}) == text
        assert repr(stored(Long, text).model_dump(mode="json")) == repr(listed)
