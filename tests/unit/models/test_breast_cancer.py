"""The bundled model breast-cancer-wisconsin: it answers measurements that belong together alone."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from models.bundle import bundled, fitted, read_bundle
from models.pipelines import Case, load_pipeline
from models.sandbox import CpuRun

[FOLDER] = [folder for folder in bundled() if folder.name == "breast-cancer-wisconsin"]
BUNDLE = read_bundle(FOLDER)
PIPELINE = load_pipeline(BUNDLE.manifest)
RANGES = {each["name"]: each for each in BUNDLE.manifest.parameters["features"]}
MEDIAN = {name: each["example"] for name, each in RANGES.items()}
LENGTHS = {"radius": 1, "perimeter": 1, "area": 2}


def answer(row: Mapping[str, float]) -> dict[str, Any]:
    run = fitted(FOLDER, BUNDLE.manifest, PIPELINE, CpuRun())
    [scored] = PIPELINE.open(FOLDER).score(run, [Case(PIPELINE.encode(dict(row)))])
    return dict(scored.result)


def power(name: str) -> int:
    """Of a length: 2 for an area, 0 for what has no scale."""
    return next((each for word, each in LENGTHS.items() if word in name), 0)


ABSURD = {
    "zeros": dict.fromkeys(RANGES, 0.0),
    "the ends of the ranges": {name: each["maximum"] for name, each in RANGES.items()},
    "the middle of the ranges": {name: each["maximum"] / 2 for name, each in RANGES.items()},
    "a perimeter shorter than its radius": MEDIAN | {"mean_perimeter": 10.0},
    "an area ten times that of its radius": MEDIAN | {"mean_area": 5000.0},
    "worst values below the means": MEDIAN
    | {name: MEDIAN[name] / 2 for name in MEDIAN if name.startswith("worst_")},
    "a tenth of every measurement": {name: value / 10 for name, value in MEDIAN.items()},
    "millimetres": {name: value * 0.05 ** power(name) for name, value in MEDIAN.items()},
    "no spread at all": MEDIAN | {name: 0.0 for name in MEDIAN if name.endswith("_error")},
}


@pytest.mark.parametrize("row", ABSURD.values(), ids=ABSURD.keys())
def test_measurements_that_do_not_belong_together_get_no_answer(row: Mapping[str, float]) -> None:
    result = answer(row)
    assert (result["label"], result["abstained"]) == (None, True)
    assert "do not belong together" in result["abstain_reason"]


def test_rows_of_the_data_are_answered() -> None:
    cases = json.loads((FOLDER / "golden.json").read_text())["cases"]
    rows = [case["input"] for case in cases if case["note"].endswith("of the data")]
    assert len(rows) == 10
    assert {answer(row)["label"] for row in rows} == {"benign", "malignant"}
