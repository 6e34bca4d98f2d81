"""Ids come back as they are written, and two ids that are written alike are one."""

import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.files.parts import PartKind
from tests.unit.service.batches.files.example_batches import csv_file, errors, parquet_file, scored

PARQUET, CSV, NDJSON, _, _ = BatchFormat


def lines_of(*ids: str, filler: int = 0) -> bytes:
    """NDJSON with ids as they are written, `filler` other lines between them."""
    rows = []
    for number, written in enumerate(ids):
        rows.append(f'{{"dose":1,"k":{written},"age":2}}\n')
        rows += [f'{{"k":"f{number}-{row}","dose":1,"age":2}}\n' for row in range(filler)]
    return "".join(rows).encode()


def ids_of(content: bytes, form: BatchFormat = NDJSON, **options: Any) -> list[object]:
    return [line["k"] for line in scored(content, form, id_column="k", **options).lines()]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (["9007199254740993", "9007199254740992", "0.5"], ["9007199254740993", "9007199254740992", "0.5"]),
        (["9007199254740993", "9007199254740992"], [9007199254740993, 9007199254740992]),
        (["9223372036854775808", "9223372036854775807"], ["9223372036854775808", "9223372036854775807"]),
        (["18446744073709551617", "18446744073709551616"], ["18446744073709551617", "18446744073709551616"]),
        (["1.0", "1", "1.00", "1e0"], ["1.0", "1", "1.00", "1e0"]),
        (["0.1", "0.1000000000000000055"], ["0.1", "0.1000000000000000055"]),
        (["1e999", "-1e999", "2"], ["1e999", "-1e999", "2"]),
        (['"a"', "1", '"Größe\\n"'], ["a", "1", "Größe\n"]),
        (["1", "2"], [1, 2]),
        (["-0", "0", "-0.0", "0.0"], ["-0", "0", "-0.0", "0.0"]),
        (["0", "1", "-0"], ["0", "1", "-0"]),
    ],
)
@pytest.mark.parametrize("filler", [0, 200])
def test_ids_of_lines_come_back_as_they_are_written(
    written: list[str], told: list[object], filler: int
) -> None:
    found = ids_of(lines_of(*written, filler=filler))
    expected = [str(each) for each in told] if filler else told
    assert [each for each in found if not str(each).startswith("f")] == expected


@pytest.mark.parametrize(
    ("one", "other"), [("1", '"1"'), ('"1.0"', "1.0"), ("9007199254740993", '"9007199254740993"')]
)
@pytest.mark.parametrize("filler", [0, 40_000])
def test_ids_that_are_written_alike_are_one_whatever_their_type(one: str, other: str, filler: int) -> None:
    content = lines_of(one, other, filler=filler)
    assert errors(content, NDJSON, id_column="k") == [(filler + 2, "k", "duplicate_id")]


def test_an_id_is_the_same_before_and_behind_ids_of_another_kind() -> None:
    between = (str(number) for number in range(10, 40_010))
    content = lines_of("1.0", *between, '"a"', "1.0")
    assert errors(content, NDJSON, id_column="k") == [(40_003, "k", "duplicate_id")]


def test_a_negative_zero_far_behind_is_no_second_zero() -> None:
    content = lines_of("0", *map(str, range(1, 40_000)), "-0", "-0")
    assert errors(content, NDJSON, id_column="k") == [(40_002, "k", "duplicate_id")]


@pytest.mark.parametrize("written", ["true", "false", "[1]", '{"a":1}'])
@pytest.mark.parametrize("filler", [0, 200])
def test_what_is_neither_text_nor_number_is_no_id(written: str, filler: int) -> None:
    content = lines_of('"a"', written, written, '"b"', filler=filler)
    step = filler + 1
    expected = [(step + 1, "k", "unusable_id"), (2 * step + 1, "k", "unusable_id")]
    assert errors(content, NDJSON, id_column="k") == expected


@pytest.mark.parametrize("written", ["NaN", "Infinity", '"\\ud800"', "01", "+1"])
def test_an_id_that_is_no_json_costs_its_line(written: str) -> None:
    assert errors(lines_of('"a"', written, "1"), NDJSON, id_column="k") == [(2, None, "invalid_json")]


def test_a_line_with_two_ids_is_refused() -> None:
    content = b'{"k":"a","dose":1,"age":2,"k":"b"}\n{"k":"c","dose":1,"age":2}\n'
    assert errors(content, NDJSON, id_column="k") == [(1, None, "invalid_json")]


def test_a_field_of_the_model_can_be_the_id_and_stays_a_number() -> None:
    content = b'{"dose":1.50,"age":2}\n{"dose":1.5,"age":3}\n{"dose":"x","age":3}\n{"dose":3,"age":3}\n'
    run = scored(content, NDJSON, id_column="dose")
    assert [line["dose"] for line in run.lines()] == ["1.50", "1.5", "3"]
    assert [(e["row"], e["code"]) for e in run.lines(PartKind.ERRORS)] == [(3, "wrong_type")]


@pytest.mark.parametrize("output", OutputFormat)
def test_a_carried_number_is_never_another_one(output: OutputFormat) -> None:
    values = ["9007199254740993", "0.5", "1e999", "-9223372036854775808"]
    content = "".join(f'{{"c":{value},"dose":1,"age":2}}\n' for value in values).encode()
    told = [line["c"] for line in scored(content, NDJSON, carry=("c",), output=output).lines()]
    assert told == ["9007199254740993", "0.5", "Infinity", "-9223372036854775808"]


def test_large_integers_among_fractions_are_seen_wherever_they_stand() -> None:
    values = ["0.5"] * 30_000 + ["9007199254740993"]
    content = "".join(f'{{"c":{value},"dose":1,"age":2}}\n' for value in values).encode()
    assert scored(content, NDJSON, carry=("c",)).lines()[-1]["c"] == "9007199254740993"


def test_ids_of_csv_are_texts() -> None:
    ids = ["9007199254740993", "9007199254740992", "1.0", "1", "1e999", "true", "007", " x", "NA"]
    content = csv_file([{"k": each, "dose": 1, "age": 2} for each in ids])
    assert ids_of(content, CSV) == ids


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([2**63, 2**64 - 1], pa.uint64()), [2**63, 2**64 - 1]),
        (pa.array([2**53 + 1, 2**53], pa.int64()), [2**53 + 1, 2**53]),
        (pa.array([Decimal("1.0"), Decimal("1.5")], pa.decimal128(38, 1)), ["1.0", "1.5"]),
        (pa.array([Decimal(2**70), Decimal(2**70 + 1)], pa.decimal256(60, 0)), [str(2**70), str(2**70 + 1)]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array([0.5, 1.5], pa.float64()), [0.5, 1.5]),
    ],
)
def test_ids_of_parquet_are_exact(column: pa.Array, told: list[object]) -> None:
    table = pa.table({"k": column, "dose": [1.0, 1.0], "age": [2.0, 2.0]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert ids_of(sink.getvalue(), PARQUET) == told


def test_an_id_that_is_no_finite_number_is_an_error_of_its_row() -> None:
    rows = [{"k": each, "dose": 1, "age": 2} for each in (0.5, float("nan"), float("inf"), float("inf"))]
    assert errors(parquet_file(rows), PARQUET, id_column="k") == [
        (row, "k", "unusable_id") for row in (2, 3, 4)
    ]
