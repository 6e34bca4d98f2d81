"""The bundled model of stays in intensive care refuses what is no stay of two days, or no patient at all."""

import json
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import pytest

from models.bundle import bundled, fitted, read_bundle
from models.pipelines import Case, InputRejected, load_pipeline
from models.sandbox import CpuRun

Row = dict[str, Any]
[FOLDER] = [folder for folder in bundled() if folder.name == "icu-mortality"]
PIPELINE = load_pipeline(read_bundle(FOLDER).manifest)
STAY: list[Row] = json.loads((FOLDER / "golden.json").read_text())["cases"][0]["input"]["observations"]
LATE = "47:58"


def all_of(name: str, change: Callable[[float], float], rows: Sequence[Row] = STAY) -> list[Row]:
    return [{**row, "value": change(row["value"])} if row["parameter"] == name else row for row in rows]


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
        all_of("Glucose", lambda value: round(value / 18.02, 1)),  # mmol/L
        with_one("Cholesterol", 5.2),  # mmol/L
        with_one("Age", 20),
        with_one("Gender", 1),
        with_one("Height", 160, 170),
        all_of("NIDiasABP", lambda _: 180),  # above the systolic pressure
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
        with_one("Weight", 72.26),  # decimals alone are no sign of another unit
        all_of("Lactate", lambda value: value + 0.31),
        with_one("HR", 0),  # an artefact, as the charts have
        with_one("NISysABP", 0),
        with_one("Age", 74),  # stays of the files have several
        [row for row in STAY if row["time"] < "33:00"],
    ],
)
def test_stays_as_the_files_have_them_are_accepted(rows: list[Row]) -> None:
    PIPELINE.encode({"observations": rows})


def answer(rows: list[Row]) -> dict[str, Any]:
    run = fitted(FOLDER, read_bundle(FOLDER).manifest, PIPELINE, CpuRun())
    [found] = PIPELINE.open(FOLDER).score(run, [Case(PIPELINE.encode({"observations": rows}))])
    return dict(found.result)


def test_heart_rate_alone_is_not_answered() -> None:
    rows = [{"time": f"{hour:02}:00", "parameter": "HR", "value": 80} for hour in range(48)]
    found = answer(rows)
    assert (found["label"], found["abstained"]) == (None, True)
    assert "1 of 14 bedside measurements" in found["abstain_reason"]
    assert "0 of 22 laboratory values" in found["abstain_reason"]


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ({"Age"}, "of age and sex"),
        ({"BUN", "K", "Na"}, "laboratory values"),
        ({"HR", "Temp", "GCS"}, "bedside measurements"),
    ],
)
def test_a_stay_that_lacks_what_nearly_all_have_is_not_answered(without: set[str], reason: str) -> None:
    assert answer(STAY)["abstain_reason"] is None
    assert reason in answer([row for row in STAY if row["parameter"] not in without])["abstain_reason"]


@pytest.mark.parametrize(
    ("name", "factor", "decimals"),
    [
        ("BUN", 0.357, 1),  # mmol/L of urea
        ("BUN", 0.357, 9),
        ("NISysABP", 0.1333, 1),  # kPa
        ("NIMAP", 0.1333, 1),
        ("Creatinine", 0.0884, 3),  # mmol/L
        ("ALT", 1 / 60, 2),  # ukat/L
    ],
)
def test_values_of_a_wrong_unit_are_refused_by_their_decimals_or_each_other(
    name: str, factor: float, decimals: int
) -> None:
    rows = with_one("ALT", 30) if name == "ALT" else STAY
    more = cycle((0, 2))  # the values of a patient differ
    wrong = all_of(name, lambda value: round((value + next(more)) * factor, decimals), rows)
    assert refusals(wrong) <= {"invalid_value", "out_of_range"}


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [("Lactate", 9.008, "mg/dL"), ("Weight", 3.6, "pounds"), ("Mg", 0.6, "mmol/L")],
)
def test_values_that_few_patients_have_are_not_answered(name: str, factor: float, unit: str) -> None:
    reason = answer(all_of(name, lambda value: round(value * factor)))["abstain_reason"]
    assert f"{name} looks to be in {unit}" in reason


def test_bilirubin_and_troponin_of_whole_numbers_look_to_be_in_molar_units() -> None:
    assert "Bilirubin looks to be in umol/L" in answer(with_one("Bilirubin", 12))["abstain_reason"]
    assert "TroponinT looks to be in ng/L" in answer(with_one("TroponinT", 14))["abstain_reason"]
    assert answer(with_one("Bilirubin", 0.7))["abstain_reason"] is None
