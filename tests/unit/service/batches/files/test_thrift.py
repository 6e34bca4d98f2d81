"""Thrift's compact protocol: bytes as its specification has them, there and back."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    MAP,
    MOST_DEPTH,
    SET,
    STRUCT,
    TRUE,
    Struct,
    ThriftInvalid,
    read_struct,
    written_struct,
)

ONE = struct.pack("<d", 1.0)
EXAMPLE: Struct = {
    1: (I32, 5),
    2: (BINARY, b"ab"),
    20: (TRUE, True),
    21: (LIST, (I64, [1, -1, 300])),
    22: (MAP, (BINARY, I32, [(b"k", 2)])),
    23: (DOUBLE, ONE),
    24: (BYTE, 7),
    25: (STRUCT, {3: (FALSE, False)}),
    26: (SET, (TRUE, [True, False])),
    27: (MAP, (0, 0, [])),
    28: (LIST, (BYTE, list(range(15)))),
    29: (I16, -64),
    44: (I16, 0),
}
WRITTEN = (
    b"\x15\x0a\x18\x02ab\x01\x28\x19\x36\x02\x01\xd8\x04\x1b\x01\x85\x01k\x04\x17" + ONE + b"\x13\x07"
    b"\x1c\x32\x00\x1a\x21\x01\x02\x1b\x00\x19\xf3\x0f" + bytes(range(15)) + b"\x14\x7f\xf4\x00\x00"
)  # fmt: skip


def test_every_type_is_written_as_the_specification_has_it() -> None:
    assert written_struct(EXAMPLE) == WRITTEN


def test_every_type_is_read_as_the_specification_has_it() -> None:
    assert read_struct(WRITTEN + b"what follows") == EXAMPLE


def test_bytes_that_are_cut_anywhere_are_refused() -> None:
    for length in range(len(WRITTEN)):
        with pytest.raises(ThriftInvalid):
            read_struct(WRITTEN[:length])


@pytest.mark.parametrize("kind", [0, 13, 15])
def test_a_type_that_there_is_not_is_refused(kind: int) -> None:
    with pytest.raises(ThriftInvalid):
        read_struct(bytes([0x19, 0x10 | kind, 0, 0]))


def nested(kind: int, levels: int) -> Struct:
    """A struct with `levels` structs in it, each in the one before or in a list or map of it."""
    inner: Struct = {}
    for _ in range(levels):
        values: dict[int, Any] = {
            STRUCT: inner,
            LIST: (STRUCT, [inner]),
            MAP: (BYTE, STRUCT, [(1, inner)]),
        }
        inner = {1: (kind, values[kind])}
    return inner


@pytest.mark.parametrize(
    ("kind", "levels"), [(STRUCT, MOST_DEPTH), (LIST, MOST_DEPTH // 2), (MAP, MOST_DEPTH // 2)]
)
def test_structs_may_be_nested_so_deep_and_no_deeper(kind: int, levels: int) -> None:
    assert read_struct(written_struct(nested(kind, levels))) == nested(kind, levels)
    with pytest.raises(ThriftInvalid):
        read_struct(written_struct(nested(kind, levels + 1)))


integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(
    st.tuples(st.sampled_from([I16, I32, I64]), integers),
    st.tuples(st.just(BYTE), st.integers(0, 255)),
    st.tuples(st.just(BINARY), st.binary(max_size=200)),
    st.tuples(st.just(DOUBLE), st.binary(min_size=8, max_size=8)),
    st.booleans().map(lambda value: (TRUE if value else FALSE, value)),
)
structs = st.recursive(
    st.dictionaries(st.integers(-(2**15), 2**15 - 1), scalars, max_size=5),
    lambda inner: st.dictionaries(
        st.integers(1, 40),
        st.one_of(
            st.tuples(st.just(STRUCT), inner),
            st.lists(inner, max_size=20).map(lambda values: (LIST, (STRUCT, values))),
            st.lists(st.tuples(integers, inner), min_size=1, max_size=3).map(
                lambda pairs: (MAP, (I64, STRUCT, pairs))
            ),
        ),
        max_size=4,
    ),
)


@given(structs)
def test_any_struct_is_read_as_it_was_written(fields: Struct) -> None:
    assert read_struct(written_struct(fields)) == fields
