"""`medqueue models refit` of a model of beats: recordings are rows, and their beats are what is recalibrated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from models.bundle import bundled, read_bundle
from service.cli.refitting.fitting import refitted
from tests.unit.service.refitting.test_linear_tables import PLAIN
from tests.unit.service.refitting.ward import as_lines

FOLDER = next(folder for folder in bundled() if folder.name == "ecg-beats")
LABELS = [label["id"] for label in read_bundle(FOLDER).manifest.parameters["labels"]]


def recordings(count: int, *, wrong: float) -> list[dict[str, Any]]:
    """Golden recordings, again and again, whose beats have the classes of the golden answers but for a share that is drawn."""
    chance = np.random.default_rng(17)
    known = [case for case in read_bundle(FOLDER).golden if case.expected.get("beats")]
    found = []
    for number in range(count):
        case = known[number % len(known)]
        beats = [
            {
                "sample": beat["sample"],
                "label": str(chance.choice(LABELS)) if chance.uniform() < wrong else beat["label"],
            }
            for beat in case.expected["beats"]
        ]
        samples = [
            case.input["samples"][0] + 1e-3 * number,
            *case.input["samples"][1:],
        ]  # or they were copies
        found.append({"input": case.input | {"samples": samples}, "expected": beats, "patient": f"p{number}"})
    return found


def test_beats_are_recalibrated_and_recordings_accounted(tmp_path: Path) -> None:
    cases = recordings(120, wrong=0.3)
    flat = json.dumps({"input": cases[0]["input"] | {"samples": [0] * 9000}, "expected": [], "patient": "x"})
    odd = json.dumps(cases[0] | {"expected": [{"sample": 10, "label": "sinus"}]})
    data = as_lines(tmp_path / "ward.ndjson", cases, flat, odd)
    asked = replace(PLAIN, parent=read_bundle(FOLDER), folder=tmp_path / "refit", data=data, group="patient")
    found = refitted(asked)
    assert "temperature scaling" in found.said
    gains = {each.name: each for each in found.comparison.gains}
    assert gains["Brier score"].gain.low > 0
    assert gains["accuracy"].gain.value == pytest.approx(0, abs=0.05)
    counts = found.rows.counts()
    assert (counts["rows"], counts["refused"]) == (122, 2)
    assert {each.place for each in found.rows.refused} == {"line 121", "line 122"}


def test_few_recordings_are_refused(tmp_path: Path) -> None:
    data = as_lines(tmp_path / "ward.ndjson", recordings(8, wrong=0.1))
    with pytest.raises(click.UsageError, match="10 rows or more are needed"):
        refitted(replace(PLAIN, parent=read_bundle(FOLDER), folder=tmp_path / "refit", data=data))
