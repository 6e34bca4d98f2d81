"""A line of NDJSON is judged by its own shape, whatever the lines before it look like."""

import json
from typing import Any

import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.parts import PartKind
from tests.unit.service.batches.files.example_batches import errors, ndjson_file, plan_of, scored

NDJSON = BatchFormat.NDJSON
GOOD = {"dose": 1, "age": 2}


def nested(name: object, found: object = GOOD) -> dict[str, object]:
    return {"custom_id": name, "input": found}


@pytest.mark.parametrize(
    "first", [{"custom_id": "a"}, {}, {"custom_id": "a", "input": None}, nested("a", [])]
)
def test_a_first_line_without_input_costs_itself(first: object) -> None:
    run = scored(ndjson_file([first, *(nested(f"b{row}") for row in range(3))]), NDJSON)
    assert [line["custom_id"] for line in run.lines()] == ["b0", "b1", "b2"]
    assert {line["row"] for line in run.lines(PartKind.ERRORS)} == {1}


@pytest.mark.parametrize("first", [GOOD, nested("a")])
@pytest.mark.parametrize("count", [5, 300])
def test_lines_of_both_shapes_are_scored(first: object, count: int) -> None:
    lines = [
        first,
        *({**GOOD, "custom_id": f"f{row}"} if row % 2 else nested(f"n{row}") for row in range(count)),
    ]
    run = scored(ndjson_file(lines), NDJSON)
    told = {line["row"]: line["custom_id"] for line in run.lines()}
    assert told | {1: None} == {1: None} | {
        row + 2: f"{'f' if row % 2 else 'n'}{row}" for row in range(count)
    }
    without_id = [] if "input" in first else [(1, "custom_id", "missing_field")]  # type: ignore[operator]  # a dict
    assert [(e["row"], e["column"], e["code"]) for e in run.lines(PartKind.ERRORS)] == without_id


def test_a_broken_first_line_decides_nothing() -> None:
    content = b'{"custom_id": "a", "input": {"dose": 1,\n' + ndjson_file([nested("b"), nested("c")])
    assert errors(content, NDJSON) == [(1, None, "invalid_json")]


@pytest.mark.parametrize("row", [0, 1, 150])
def test_a_line_of_its_own_shape_gives_the_same_fault_wherever_it_stands(row: int) -> None:
    lines: list[Any] = [nested(f"n{number}") for number in range(200)]
    lines[row] = {"custom_id": "x"}
    assert errors(ndjson_file(lines), NDJSON) == [(row + 1, None, "not_an_object")]


def test_an_input_that_is_to_be_carried_nests_nothing() -> None:
    run = scored(
        ndjson_file([{**GOOD, "input": "left"}, {**GOOD, "input": "right"}]), NDJSON, carry=("input",)
    )
    assert [line["input"] for line in run.lines()] == ["left", "right"]


def test_a_line_nested_where_no_id_is_known_is_told_so() -> None:
    lines = [GOOD] * 150 + [nested("late")]
    assert plan_of(ndjson_file(lines), NDJSON).layout.wanted.id_column is None
    assert errors(ndjson_file(lines), NDJSON) == [(151, "custom_id", "unknown_field")]


@pytest.mark.parametrize("inner", ['{"dose":1,"dose":2,"age":3}', '{"dose":NaN,"age":3}'])
@pytest.mark.parametrize("before", [0, 200])
def test_a_nested_input_is_read_by_the_rule_of_a_jobs_body(inner: str, before: int) -> None:
    lines = [json.dumps(nested(f"n{row}")) for row in range(before)]
    content = "\n".join([*lines, f'{{"custom_id":"x","input":{inner}}}', json.dumps(nested("y"))]).encode()
    assert errors(content, NDJSON) == [(before + 1, None, "invalid_json")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"dose":1,"age":2,"age":3}',
        b'{"dose":1,"age":2,"note":{"a":1,"a":2}}',
        b'{"dose":NaN,"age":2}',
        b'{"dose":1,"age":2,"note":"\\ud800"}',
        b'{"custom_id":"a","custom_id":"b","input":{"dose":1,"age":2}}',
    ],
)
def test_lines_that_all_break_the_rule_of_json_are_errors_of_their_own(line: bytes) -> None:
    content = (line + b"\n") * 150
    assert errors(content, NDJSON) == [(row, None, "invalid_json") for row in range(1, 151)]


def test_lines_behind_many_that_break_the_rule_keep_their_shape() -> None:
    twice = b'{"custom_id":"a","custom_id":"b","input":{"dose":1,"age":2}}\n'
    run = scored(twice * 150 + ndjson_file([nested("c")]), NDJSON)
    assert [(line["row"], line["custom_id"]) for line in run.lines()] == [(151, "c")]
