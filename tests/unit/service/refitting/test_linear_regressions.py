"""`medqueue models refit` of a regression of a table: weights and interval follow the ward."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import BundleRefused, bundled, read_bundle, renew_golden, seal_bundle
from models.checking import check_bundle
from models.sandbox import CpuRun
from service.cli.refitting.fitting import Refit, refitted
from tests.unit.models.example_bundles import golden_table, graph, manifest_table, toml, write_bundle
from tests.unit.service.refitting.test_linear_tables import PLAIN
from tests.unit.service.refitting.ward import as_lines

INTERVAL = {"coverage": 0.9, "measured": 0.9, "method": "made up", "source": "made up", "half_width": 9.0}


def write_regression(folder: Path, **parameters: Any) -> Path:
    """A good, sealed bundle whose value is 0.1 * dose + 0.02 * age - 2."""
    write_bundle(folder)
    model = graph(output="value")
    model.graph.node[-1].op_type = "Identity"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "manifest.toml").write_text(toml(manifest_table("tabular-regression", **parameters)))
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def ward(count: int, *, age: float) -> list[dict[str, Any]]:
    """Patients whose value rises by `age` a year, with a spread of 0.5; the last two have no number as truth."""
    chance = np.random.default_rng(13)
    dose, years = chance.uniform(0, 50, count).round(3), chance.uniform(0, 120, count).round(3)
    values = 0.1 * dose + age * years - 2 + chance.normal(0, 0.5, count)
    found: list[dict[str, Any]] = [
        {"input": {"dose": float(one), "age": float(other)}, "expected": float(value)}
        for one, other, value in zip(dose, years, values, strict=True)
    ]
    return [*found, found[0] | {"expected": "high"}, found[1] | {"expected": None}]


def refit(folder: Path, cases: list[dict[str, Any]], **parameters: Any) -> Refit:
    parent = read_bundle(write_regression(folder / "parent", **parameters))
    data = as_lines(folder / "ward.ndjson", cases)
    return refitted(replace(PLAIN, parent=parent, folder=folder / "refit", data=data))


def test_weights_and_interval_follow_the_ward(tmp_path: Path) -> None:
    found = refit(tmp_path, ward(600, age=0.05), interval=INTERVAL)
    assert found.said.startswith("last linear layer moved")
    gains = {each.name: each for each in found.comparison.gains}
    assert gains["mean absolute error"].gain.low > 0.5
    assert gains["root mean squared error"].refit.value == pytest.approx(0.5, abs=0.1)
    interval = found.bundle.manifest.parameters["interval"]
    assert interval["half_width"] == pytest.approx(0.5 * 1.645, abs=0.15)
    assert interval["measured"] == round(gains["coverage of the interval"].refit.value, 4)
    assert interval["source"] == "240 rows held out from ward.ndjson"
    assert found.rows.counts() == {"rows": 602, "used": 360, "held_out": 240, "refused": 2}
    assert [each.reason for each in found.rows.refused] == ["has a truth that is no number.", "has no truth."]
    assert check_bundle(found.bundle.folder) == []


def test_an_interval_that_is_too_wide_is_calibrated_without_a_step(tmp_path: Path) -> None:
    found = refit(tmp_path, ward(400, age=0.02), interval=INTERVAL)
    assert "no better in cross-validation; half width of the interval calibrated again" in found.said
    assert found.bundle.manifest.parameters["interval"]["half_width"] < 1.2


def test_a_ward_that_the_parent_knows_gains_nothing(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused) as caught:
        refit(tmp_path, ward(400, age=0.02))
    assert [fault.code for fault in caught.value.faults] == ["refit_gains_nothing"]


def test_an_interval_that_the_graph_gives_is_left_to_training(tmp_path: Path) -> None:
    folder = next(each for each in bundled() if each.name == "diabetes-progression")
    bundle = read_bundle(folder)
    fed = bundle.golden[0].input
    lines = [
        {"input": fed | {"age": 20 + number % 60, "bmi": 20 + number / 10}, "expected": number}
        for number in range(200)
    ]
    with pytest.raises(BundleRefused) as caught:
        refitted(
            replace(
                PLAIN, parent=bundle, folder=tmp_path / "refit", data=as_lines(tmp_path / "d.ndjson", lines)
            )
        )
    assert [fault.code for fault in caught.value.faults] == ["refit_unsuited"]
