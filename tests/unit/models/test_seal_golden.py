"""Sealing a bundle that has no golden cases yet."""

from pathlib import Path

import pytest

from models.checking import sealed
from models.manifest import BundleRefused
from tests.unit.models.example_bundles import write_bundle


def test_renewing_answers_without_any_case_says_at_once_how_many_are_needed(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "golden.json").unlink()
    with pytest.raises(BundleRefused) as refused:
        sealed(folder, golden=True)
    [told] = [fault.detail for fault in refused.value.faults if fault.place == "golden.json"]
    assert "at least 5 cases that differ" in told
