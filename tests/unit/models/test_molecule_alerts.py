"""Molecules from which single tasks abstain: those with an alert, those of carbon and halogens alone, and long chains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import BundleRefused, ManifestInvalid
from models.pipelines import Case, molecules
from models.pipelines.molecule_property import FEW_HETEROATOMS, LONG_CHAIN
from tests.unit.models.example_bundles import MOLECULES
from tests.unit.models.test_molecule_property import LIMITS, by_weight, pipeline

pytest.importorskip("rdkit", reason="the extra `chem` is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "known.npz", drugs=np.full((1, 32), 255, np.uint8))
    return tmp_path


def test_a_task_abstains_from_molecules_of_carbon_and_halogens_alone(folder: Path) -> None:
    solubility, toxic = ({**task, "least_similarity": 0.0} for task in MOLECULES["tasks"])
    made = pipeline(tasks=[solubility, {**toxic, "fewest_heteroatoms": 1}])
    cases = [Case(made.encode({"smiles": each})) for each in ("CCCCCC", "ClC(F)(Br)I", "CCCCCO")]
    found: list[Any] = [each.result["tasks"] for each in made.open(folder).score(by_weight, cases)]
    assert [each["toxic"]["abstained"] for each in found] == [True, True, False]
    assert found[0]["toxic"]["abstain_reason"] == FEW_HETEROATOMS
    assert [each["solubility"]["value"] is None for each in found] == [False] * 3


def test_a_task_abstains_from_chains_longer_than_those_it_knows_though_their_bits_are_the_same(
    tmp_path: Path,
) -> None:
    prints = [molecules.fingerprint(molecules.parent_of(molecules.read("C" * 16, LIMITS)).mol, 256)]
    np.savez(tmp_path / "known.npz", drugs=np.stack(prints))
    solubility, toxic = MOLECULES["tasks"]
    made = pipeline(tasks=[solubility, {**toxic, "most_rotatable_bonds": 13}])
    cases = [Case(made.encode({"smiles": "C" * length})) for length in (16, 17)]
    found: list[Any] = [each.result["tasks"] for each in made.open(tmp_path).score(by_weight, cases)]
    assert [each["toxic"]["similarity"] for each in found] == [1.0, 1.0]
    assert [each["toxic"]["abstain_reason"] for each in found] == [None, LONG_CHAIN]
    assert [each["solubility"]["value"] is None for each in found] == [False, False]


ALERT = {"smarts": "P(=O)F", "reason": "like a nerve agent", "source": "made up"}


def test_a_task_abstains_from_molecules_with_a_structural_alert(folder: Path) -> None:
    solubility, toxic = ({**task, "least_similarity": 0.0} for task in MOLECULES["tasks"])
    made = pipeline(tasks=[solubility, {**toxic, "alerts": True}], alerts=[ALERT])
    cases = [Case(made.encode({"smiles": each})) for each in ("CC(C)OP(C)(=O)F", "CC(C)OP(C)(=O)O")]
    found: list[Any] = [each.result["tasks"] for each in made.open(folder).score(by_weight, cases)]
    assert [each["toxic"]["abstain_reason"] for each in found] == ["like a nerve agent", None]
    assert (found[0]["toxic"]["label"], found[0]["toxic"]["positive"]) == (None, None)
    assert found[0]["solubility"]["value"] is not None


def test_an_alert_that_cannot_be_read_is_a_fault_of_the_bundle(folder: Path) -> None:
    solubility, toxic = MOLECULES["tasks"]
    made = pipeline(tasks=[solubility, {**toxic, "alerts": True}], alerts=[ALERT, {**ALERT, "smarts": "C(("}])
    with pytest.raises(BundleRefused) as refused:
        made.open(folder)
    [fault] = refused.value.faults
    assert (fault.code, fault.place) == ("smarts_unusable", "manifest.toml: parameters.alerts[1]")


def test_alerts_that_no_task_asks_for_and_tasks_without_alerts_are_refused() -> None:
    solubility, toxic = MOLECULES["tasks"]
    for told in ({"alerts": [ALERT]}, {"tasks": [solubility, {**toxic, "alerts": True}]}):
        with pytest.raises(ManifestInvalid, match="or neither"):
            pipeline(**told)
