"""A message that a child sends is a block, or it is refused: whoever made the file may have written it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.files.apart import wire
from service.batches.files.blocks import RowBlock
from service.batches.files.formats import reader_of
from service.batches.files.layouts import BatchFormat, Layout
from service.batches.files.problems import FileRefused
from service.parsing.channel import Message, MessageInvalid
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    file_of,
    good_rows,
    pipeline,
    plan_of,
)

ROWS = [*good_rows(30), {"id": None, "dose": "x", "age": 3.0, "marker": None}]


def sent(form: BatchFormat = BatchFormat.CSV) -> tuple[RowBlock, Layout, Message]:
    """A block with faults, its layout, and its message as it comes out of the channel."""
    content = file_of(form, ROWS)
    plan = plan_of(content, form, id_column="id")
    (block,) = reader_of(MemorySource(content).open(), plan.layout, pipeline()).read(plan.chunks[0])
    header, buffers = wire.sent_block(block)
    return block, plan.layout, Message(json.loads(json.dumps(header)), [bytes(each) for each in buffers])


@pytest.mark.parametrize("form", [BatchFormat.CSV, BatchFormat.NDJSON])
def test_a_block_arrives_as_it_was(form: BatchFormat) -> None:
    block, layout, message = sent(form)
    found = wire.received_block(message, layout, len(ROWS))
    assert found.carried.equals(block.carried)
    assert found.faults.kinds == block.faults.kinds
    assert len(found.faults)
    np.testing.assert_array_equal(found.faults.rows, block.faults.rows)
    for one, other in zip(found.numbers, block.numbers, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.missing, other.missing)
        np.testing.assert_array_equal(one.wrong_type, other.wrong_type)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 0),
        ("count", len(ROWS) + 1),
        ("count", True),
        ("count", "31"),
        ("first_row", None),
        ("numbers", []),
        ("numbers", [[True]]),
        ("kinds", []),
        ("kinds", [["", 5, ""]]),
        ("kinds", {"a": 1}),
        ("files", [True]),
        ("values", True),
        ("unreadable", True),
        ("decimal_mark", 5),
    ],
)
def test_a_header_that_does_not_fit_its_buffers_is_refused(name: str, value: Any) -> None:
    _, layout, message = sent()
    with pytest.raises(MessageInvalid):
        wire.received_block(message._replace(header={**message.header, name: value}), layout, len(ROWS))


@given(st.data())
def test_changed_bytes_are_refused_or_give_a_block_of_the_right_shape(data: st.DataObject) -> None:
    _, layout, message = sent()
    buffers = [bytearray(each) for each in message.buffers]
    chosen = data.draw(st.sampled_from([each for each in buffers if each]))
    for _ in range(data.draw(st.integers(1, 8))):
        chosen[data.draw(st.integers(0, len(chosen) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = wire.received_block(Message(message.header, buffers), layout, len(ROWS))
    except MessageInvalid:
        return
    assert found.carried.num_rows == found.count == len(ROWS)
    assert found.carried.schema.equals(layout.carried)
    found.carried.validate(full=True)
    assert {len(column.values) for column in found.numbers} == {len(ROWS)}
    assert found.faults.any_of(found.count).any()


@pytest.mark.parametrize("row", [-1, len(ROWS)])
def test_a_fault_of_no_row_is_refused(row: int) -> None:
    _, layout, message = sent()
    places = [np.frombuffer(each, np.int64) if len(each) % 8 == 0 else None for each in message.buffers]
    faulty = next(
        index
        for index in range(len(places) - 1, 0, -1)
        if places[index] is not None and index < len(places) - 1
    )
    buffers = list(message.buffers)
    buffers[faulty] = np.full(len(buffers[faulty]) // 8, row, np.int64).tobytes()
    with pytest.raises(MessageInvalid):
        wire.received_block(Message(message.header, buffers), layout, len(ROWS))


@pytest.mark.parametrize(
    "parts", [[], [[True, True]], [[False, False, False]], [[True, True, True], [True, True]]]
)
def test_carried_columns_of_another_shape_are_refused(parts: list[list[bool]]) -> None:
    _, layout, message = sent()
    with pytest.raises(MessageInvalid):
        wire.received_block(message._replace(header={**message.header, "carried": parts}), layout, len(ROWS))


def test_an_input_that_is_nested_too_deep_is_refused_when_it_is_parsed() -> None:
    text = b"[" * 100_000
    rows = wire.JsonRows(memoryview(b"1" + text), np.array([1, 1 + len(text)]))
    assert rows[0] == 1
    with pytest.raises(FileRefused):
        rows[1]
