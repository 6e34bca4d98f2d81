"""The bundled model of stays in intensive care refuses what is no stay of two days, or no patient at all."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from models.bundle import bundled, read_bundle
from models.pipelines import InputRejected, load_pipeline

Row = dict[str, Any]
[FOLDER] = [folder for folder in bundled() if folder.name == "icu-mortality"]
PIPELINE = load_pipeline(read_bundle(FOLDER).manifest)
STAY: list[Row] = json.loads((FOLDER / "golden.json").read_text())["cases"][0]["input"]["observations"]
LATE = "47:58"


def all_of(name: str, change: Callable[[float], float]) -> list[Row]:
    return [{**row, "value": change(row["value"])} if row["parameter"] == name else row for row in STAY]


def with_one(name: str, *values: float) -> list[Row]:
    return STAY + [{"time": LATE, "parameter": name, "value": value} for value in values]


def refusals(rows: list[Row]) -> set[str]:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"observations": rows})
    return {fault.code for fault in refused.value.faults}


@pytest.mark.parametrize(
    "rows",
    [
        all_of("HR", lambda _: 0),
        all_of("RespRate", lambda _: 0),
        all_of("Weight", lambda _: 0),
        all_of("Weight", lambda _: 1),
        all_of("Height", lambda _: 1.7),  # metres
        all_of("Age", lambda _: 0),
        all_of("Age", lambda _: 5),
        all_of("Lactate", lambda value: value * 9 + 20),
        with_one("Bilirubin", 3.0 * 17.1),  # umol/L
        with_one("Glucose", 7.0),  # mmol/L
        with_one("Cholesterol", 5.2),  # mmol/L
        with_one("Age", 20),
        with_one("Gender", 1),
        with_one("Height", 160, 170),
        with_one("NIDiasABP", 180),  # above the systolic pressure
        with_one("SysABP", 60) + with_one("DiasABP", 120)[-1:],
    ],
)
def test_values_of_no_patient_are_refused(rows: list[Row]) -> None:
    assert refusals(rows) == {"out_of_range"}


@pytest.mark.parametrize("row", [("Gender", 0.5), ("GCS", 3.7), ("MechVent", 0.3)])
def test_a_score_and_a_mark_are_whole_numbers(row: tuple[str, float]) -> None:
    assert refusals(with_one(*row)) == {"wrong_type"}


@pytest.mark.parametrize(("first", "end"), [("00:00", "02:00"), ("00:00", "32:00"), ("20:00", "48:00")])
def test_a_part_of_a_stay_is_refused(first: str, end: str) -> None:
    rows = [row for row in STAY if first <= row["time"] < end or row["time"] == "00:00"]
    assert refusals(rows) == {"too_short"}


@pytest.mark.parametrize(
    "rows",
    [
        with_one("HR", 0),  # an artefact, as the charts have
        with_one("NISysABP", 0),
        with_one("Age", 74),  # stays of the files have several
        [row for row in STAY if row["time"] < "33:00"],
    ],
)
def test_stays_as_the_files_have_them_are_accepted(rows: list[Row]) -> None:
    PIPELINE.encode({"observations": rows})
