"""Faults of many rows, collected by kind and told by row."""

import numpy as np
import pytest

from models.field_codes import OtherCode
from models.pipelines import FieldFault
from models.pipelines.columns import NO_FAULTS, CellFaults, FaultFinder
from models.pipelines.features import Feature
from tests.unit.models.example_bundles import FEATURES

LOW, HIGH, ODD = (
    FieldFault(f"/{code}", OtherCode(code), f"{code} is wrong.") for code in ("low", "high", "odd")
)


def told(found: CellFaults) -> list[tuple[int, str]]:
    """(row, code) of every fault, in order."""
    assert (found.rows.dtype.name, found.faults.dtype.name) == ("int64", "int32")
    return [(int(row), found.kinds[kind].code) for row, kind in zip(found.rows, found.faults, strict=True)]


def finder() -> FaultFinder:
    found = FaultFinder()
    found.add(np.array([2, 0], np.uint8), LOW)
    found.add(np.array([], np.int64), ODD)
    found.add([1, 0], HIGH)  # type: ignore[arg-type]  # any integers
    return found


def test_faults_come_by_row_and_those_of_one_row_in_the_order_they_were_found_in() -> None:
    found = finder().found()
    assert told(found) == [(0, "low"), (0, "high"), (1, "high"), (2, "low")]
    assert (len(found), found.kinds) == (4, (LOW, HIGH))


def test_faults_of_many_rows_keep_that_order() -> None:
    found = FaultFinder()
    rows = np.arange(1000)[::-1]
    for fault in (LOW, HIGH, ODD):
        found.add(rows, fault)
    assert told(found.found()) == [(row, code) for row in range(1000) for code in ("low", "high", "odd")]


def test_faults_found_elsewhere_are_counted_on() -> None:
    found = FaultFinder()
    found.add(np.array([5]), HIGH)
    found.add_all(NO_FAULTS, shift=7)
    found.add_all(finder().found(), shift=5)
    assert told(found.found()) == [(5, "high"), (5, "low"), (5, "high"), (6, "high"), (7, "low")]
    assert found.kinds == 2


def test_without_faults_there_are_none() -> None:
    assert FaultFinder().found() is NO_FAULTS
    assert len(NO_FAULTS) == FaultFinder().kinds == 0
    assert not NO_FAULTS.any_of(3).any()
    assert NO_FAULTS.of_rows(np.ones(3, np.bool_)) is NO_FAULTS


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [
        (0, 3, [(0, "low"), (0, "high"), (1, "high"), (2, "low")]),
        (1, 1, [(0, "high")]),
        (1, 5, [(0, "high"), (1, "low")]),
        (3, 2, []),
    ],
)
def test_a_part_of_the_rows_is_counted_from_its_start(
    start: int, count: int, expected: list[tuple[int, str]]
) -> None:
    assert told(finder().found().part(start, count)) == expected


def test_faults_of_chosen_rows_and_which_rows_have_any() -> None:
    found = finder().found()
    assert told(found.of_rows(np.array([True, False, True, True]))) == [(0, "low"), (0, "high"), (2, "low")]
    assert found.any_of(4).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([], True),
        ([0.0, 25.0, 50.0], True),
        ([0.0, 50.1], False),
        ([-0.1, 50.0], False),
        ([1.0, np.nan], False),
        ([np.inf], False),
    ],
)
def test_a_column_of_good_numbers_is_told_at_a_glance(values: list[float], held: bool) -> None:
    dose = Feature.model_validate(FEATURES[0])
    assert dose.holds(np.array(values, np.float64)) is held
