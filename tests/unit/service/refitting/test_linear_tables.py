"""`medqueue models refit` of a table whose graph ends in a linear layer: its weights move where the ward differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import read_bundle
from models.checking import check_bundle
from service.cli.refitting.fitting import Asked, Refit, refitted
from tests.unit.models.example_bundles import write_bundle
from tests.unit.service.refitting.ward import as_lines

PLAIN = Asked(
    parent=None, folder=Path(), version="1.9.0", data=Path(), values={}, label=None, ignore=(), group=None,  # type: ignore[arg-type]  # the bundle is made for each test
    apart=None, share=0.4, seed=0, parent_rows=None,
)  # fmt: skip


def ward(count: int, *, age: float) -> list[dict[str, Any]]:
    """Patients whose log odds rise with the age by `age` a year; the model of the example says 0.02."""
    chance = np.random.default_rng(11)
    dose, years = chance.uniform(0, 50, count), chance.uniform(0, 120, count)
    odds = 0.1 * dose + age * (years - 60) - 0.8
    ill = chance.uniform(size=count) < 1 / (1 + np.exp(-odds))
    return [
        {"input": {"dose": float(one), "age": float(other)}, "expected": "ill" if is_ill else "well"}
        for one, other, is_ill in zip(dose.round(3), years.round(3), ill, strict=True)
    ]


def refit(folder: Path, cases: list[dict[str, Any]]) -> Refit:
    parent = read_bundle(write_bundle(folder / "parent"))
    data = as_lines(folder / "ward.ndjson", cases)
    return refitted(replace(PLAIN, parent=parent, folder=folder / "refit", data=data))


def test_weights_move_where_the_ward_differs(tmp_path: Path) -> None:
    found = refit(tmp_path, ward(800, age=0.08))
    assert found.said.startswith("last linear layer moved")
    gains = {each.name: each for each in found.comparison.gains}
    assert gains["AUC"].gain.low > 0.03
    assert gains["Brier score"].gain.low > 0
    assert check_bundle(found.bundle.folder) == []
    threshold = found.bundle.manifest.parameters["threshold"]
    assert 0.01 <= threshold["value"] <= 0.99
    assert threshold["sensitivity"] == pytest.approx(gains["sensitivity"].parent.value, abs=0.15)


def test_where_it_does_not_probabilities_alone_are_recalibrated(tmp_path: Path) -> None:
    found = refit(tmp_path, ward(400, age=0.02))
    assert "a step of the last layer was no better in cross-validation" in found.said
    weights = [(tmp_path / name / "model.onnx").read_bytes() for name in ("parent", "refit")]
    assert weights[0] != weights[1]
