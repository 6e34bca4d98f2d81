"""Molecules: what is read, in which form it is scored, from what the model abstains, and what no input may cost."""

import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.checking import check_bundle, sealed
from models.manifest import BundleRefused, ManifestInvalid
from models.pipelines import (
    Answer,
    Array,
    Case,
    InputRejected,
    PredictionInvalid,
    RowFault,
    Run,
    load_pipeline,
    molecules,
)
from models.pipelines.molecule_property import MoleculeProperty
from service.bootstrap import ExtraNotInstalled, publish_folder
from tests.unit.models.example_bundles import MOLECULES, manifest, manifest_table, toml
from tests.unit.models.schemas import assert_fits

pytest.importorskip("rdkit", reason="the extra `chem` is not installed")

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
KNOWN = (ASPIRIN, "OC(=O)c1ccccc1O", "CCO", "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C")
LIMITS = molecules.Limits(200, 40)


def pipeline(**parameters: Any) -> MoleculeProperty:
    made = load_pipeline(manifest("molecule-property", **parameters))
    assert isinstance(made, MoleculeProperty)
    return made


def test_the_weight_of_a_molecule_has_its_name_and_unit_in_the_schema() -> None:
    schema: Any = pipeline().result_schema()
    weight = schema["$defs"]["Molecule"]["properties"]["weight"]
    assert (weight["title"], weight["unit"]) == ("Monoisotopic mass", "u")


def test_the_schema_says_which_class_a_probability_is_of() -> None:
    schema: Any = pipeline().result_schema()
    told = [each.get("description") for each in schema["$defs"]["Tasks"]["properties"].values()]
    positive = [getattr(task, "positive", None) for task in pipeline().parameters.tasks]
    assert told == [name and f"`probability` is that of: {name}" for name in positive]
    assert any(told)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("molecules")
    parents = [molecules.parent_of(molecules.read(each, LIMITS)) for each in KNOWN]
    drugs = np.stack([molecules.fingerprint(parent.mol, 256) for parent in parents])
    np.savez(made / "known.npz", drugs=drugs)
    return made


def by_weight(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: the molecular weight, and a hundredth of its square root."""
    assert graph == "model"
    assert feeds["features"].dtype == np.float32
    weight = feeds["features"][:, 64]
    return {"values": np.stack([weight, np.sqrt(weight) / 100], axis=1)}


def constant(value: float, probability: float) -> Run:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"values": np.full((len(feeds["features"]), 2), (value, probability), np.float32)}

    return run


def answers(
    folder: Path, *smiles: str, run: Run = by_weight, options: dict[str, Any] | None = None
) -> list[Answer]:
    made = pipeline()
    cases = [Case(made.encode({"smiles": each}), options or {}) for each in smiles]
    return made.open(folder).score(run, cases)


def result(folder: Path, smiles: str, run: Run = by_weight) -> Any:
    [answer] = answers(folder, smiles, run=run)
    assert_fits(answer.result, pipeline().result_schema())
    return answer.result


def refusal(value: object, **parameters: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        pipeline(**parameters).encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_every_task_is_answered_with_the_identity_of_the_molecule(folder: Path) -> None:
    found = result(folder, "OC(=O)c1ccccc1OC(C)=O")
    assert found["molecule"] == {
        "smiles": ASPIRIN,
        "inchikey": "BSYNRYMUTXBXSQ-UHFFFAOYSA-N",
        "formula": "C9H8O4",
        "weight": pytest.approx(180.0423, abs=1e-4),
        "charge": 0,
        "components": 1,
    }
    assert found["tasks"]["solubility"] == {
        "value": pytest.approx(180.159, abs=1e-3),
        "unit": "log10(mol/L)",
        "interval": {
            "lower": pytest.approx(178.659, abs=1e-3),
            "upper": pytest.approx(181.659, abs=1e-3),
            "coverage": 0.9,
        },
        "similarity": 1.0,
        "abstained": False,
        "abstain_reason": None,
    }
    toxic = found["tasks"]["toxic"]
    assert (toxic["positive"], toxic["label"], toxic["threshold"]) == (False, "not toxic", 0.5)
    assert toxic["probability"] == pytest.approx(0.1342, abs=1e-4)
    assert (found["abstained"], found["abstain_reason"]) == (False, None)


@pytest.mark.parametrize(
    "written",
    [
        "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]",
        "[Ca+2].CC(=O)Oc1ccccc1C(=O)[O-].CC(=O)Oc1ccccc1C(=O)[O-]",
        "CC(=O)OC1=CC=CC=C1C(=O)O",
        "[H]OC(=O)c1ccccc1OC(C)=O",
        "[2H]OC(=O)c1ccccc1OC([13CH3])=O",
        "[CH3:7]C(=O)Oc1ccccc1C(=O)O.O.O",
    ],
    ids=["sodium salt", "calcium salt", "Kekulé", "explicit hydrogen", "isotopes", "numbered hydrate"],
)
def test_one_molecule_has_one_answer_however_it_is_written(folder: Path, written: str) -> None:
    plain, found = result(folder, ASPIRIN), result(folder, written)
    assert found["tasks"] == plain["tasks"]
    assert {**found["molecule"], "components": 1} == plain["molecule"]
    assert found["molecule"]["components"] == written.count(".") + 1


def test_charges_stay_where_no_hydrogen_atom_removes_them(folder: Path) -> None:
    assert result(folder, "C[N+](C)(C)CCO.[Cl-]")["molecule"]["charge"] == 1
    assert result(folder, "[NH3+]CC(=O)[O-]")["molecule"]["smiles"] == "NCC(=O)O"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("[NH3][Pt]([NH3])(Cl)Cl", molecules.METAL),
        ("[Zn+2].CC(=O)[O-].CC(=O)[O-]", molecules.METAL),
        ("C[Hg]C", molecules.METAL),
        ("O", molecules.NO_CARBON),
        ("[Na+].[Cl-]", molecules.NO_CARBON),
        ("[H][H]", molecules.NO_CARBON),
        ("CCO.CCN", molecules.MIXTURE),
        (f"{ASPIRIN}.Cn1cnc2c1c(=O)n(C)c(=O)n2C", molecules.MIXTURE),
        ("CCCCCCO.CO.CO.CO", molecules.MIXTURE),
        ("Cn1cnc2c1c(=O)n(C)c(=O)n2C.CO", molecules.MIXTURE),
        (f"{ASPIRIN}.CC(=O)O.OC=O", molecules.MIXTURE),
        ("[Na+].CCO", molecules.UNBALANCED),
        ("[Cl-].[Cl-].C[N+](C)(C)CCO", molecules.UNBALANCED),
        ("C[As](C)C", molecules.ELEMENT),
        ("[CH3]", molecules.RADICAL),
        ("[CH2]c1ccccc1", molecules.RADICAL),
        ("[Na].O=C([O])c1ccccc1", molecules.RADICAL),
        ("C[C+](C)C", molecules.CARBOCATION),
        ("[Na].CCO", molecules.NEUTRAL_ATOM),
        ("[Mg].c1ccccc1C", molecules.NEUTRAL_ATOM),
        ("[Cl].CCCCO", molecules.NEUTRAL_ATOM),
        ("[Na]", molecules.NO_CARBON),
        ("CC(=O)O[Na]", molecules.ELEMENT),
    ],
)
def test_what_the_model_cannot_know_is_not_scored(folder: Path, smiles: str, reason: str) -> None:
    found = result(folder, smiles, run=not_run)
    assert (found["abstained"], found["abstain_reason"]) == (True, reason)
    assert [task["abstain_reason"] for task in found["tasks"].values()] == [reason, reason]
    assert found["tasks"]["solubility"]["value"] is None
    assert found["tasks"]["toxic"]["probability"] is None


def test_what_inchi_cannot_express_is_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    read = molecules.read(ASPIRIN, LIMITS)
    assert molecules.parent_of(read).unfit is None
    monkeypatch.setattr("rdkit.Chem.MolToInchiKey", lambda mol: "")
    assert molecules.parent_of(read).unfit == molecules.NO_IDENTIFIER


def not_run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    raise AssertionError("it was scored")


def test_a_task_abstains_outside_of_its_own_domain(folder: Path) -> None:
    near = result(folder, "CCCCCCO")
    assert 0.1 < near["tasks"]["solubility"]["similarity"] < 0.5
    assert near["tasks"]["solubility"]["value"] is None
    assert (near["tasks"]["toxic"]["positive"], near["abstained"]) == (False, False)
    far = result(folder, "FC(F)(F)S(F)(F)(F)(F)F")
    assert (far["abstained"], far["tasks"]["toxic"]["positive"]) == (True, None)
    assert far["abstain_reason"].startswith("unlike the molecules")
    assert far["tasks"]["toxic"]["probability"] is not None


@pytest.mark.parametrize(
    ("probability", "positive", "reason"),
    [(0.5, True, None), (0.499, None, "unclear"), (0.401, None, "unclear"), (0.399, False, None)],
)
def test_a_classification_has_a_threshold_and_a_grey_zone(
    folder: Path, probability: float, positive: bool | None, reason: str | None
) -> None:
    toxic = result(folder, ASPIRIN, constant(1, probability))["tasks"]["toxic"]
    assert (toxic["positive"], toxic["abstain_reason"]) == (positive, reason)
    assert toxic["label"] == {True: "toxic", False: "not toxic", None: None}[positive]


@settings(max_examples=30)
@given(
    st.lists(
        st.sampled_from([*KNOWN, "O", "CCO.CCN", "CCCCCCO", "C[Hg]C", "c1ccncc1"]), min_size=1, max_size=9
    )
)
def test_the_answer_of_a_molecule_does_not_depend_on_its_company(folder: Path, smiles: list[str]) -> None:
    together = [each.result for each in answers(folder, *smiles)]
    assert together == [answers(folder, each)[0].result for each in smiles]


def test_a_drawing_is_made_where_it_is_asked_for(folder: Path) -> None:
    [drawn] = answers(folder, ASPIRIN, options={"picture": True})
    [artifact] = drawn.artifacts
    assert (artifact.name, artifact.media_type) == ("molecule.svg", "image/svg+xml")
    assert b"<svg" in artifact.content
    assert answers(folder, ASPIRIN)[0].artifacts == ()


def test_rdkit_prints_nothing_of_what_it_reads(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for smiles in ("C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "[NH3][Pt]([NH3])(Cl)Cl", "C[N+](C)(C)C"):
        with suppress(InputRejected):
            answers(folder, smiles)
    assert capfd.readouterr() == ("", "")


def test_without_rdkit_brackets_are_still_checked_and_no_bundle_opens(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    assert refusal({"smiles": "CC(=O"}) == [("/smiles", "invalid_smiles")]
    assert refusal({"smiles": "C" * 1001}) == [("/smiles", "too_long")]
    made = pipeline()
    made.encode({"smiles": "C1CC"})
    with pytest.raises(BundleRefused) as refused:
        made.open(folder)
    assert [fault.code for fault in refused.value.faults] == ["extra_missing"]
    assert "medqueue[chem]" in refused.value.faults[0].detail


def test_the_only_fault_of_a_good_bundle_without_rdkit_says_how_to_install_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(write_bundle(tmp_path / "bundle", folder), golden=True)
    assert check_bundle(tmp_path / "bundle") == []
    monkeypatch.setitem(sys.modules, "rdkit", None)
    [fault] = check_bundle(tmp_path / "bundle")
    assert (fault.code, fault.place) == ("extra_missing", "manifest.toml: pipeline")
    with pytest.raises(ExtraNotInstalled) as skipped:  # what `medqueue up` reports, and goes on
        publish_folder(None, None, tmp_path / "bundle", actor="test")  # type: ignore[arg-type]  # neither is reached
    assert "medqueue[chem]" in skipped.value.advice


def write_bundle(folder: Path, known: Path) -> Path:
    """A bundle whose graph gives the molecular weight, and a probability of it."""
    folder.mkdir()
    table = manifest_table("molecule-property")
    (folder / "manifest.toml").write_text(toml(table))
    (folder / "CARD.md").write_text("# Made up\n")
    shutil.copy(known / "known.npz", folder)
    cases = [{"input": {"smiles": each}, "expected": {}} for each in (*KNOWN, "O")]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    weights = np.zeros((66, 2), np.float32)
    weights[64] = (1, 0.001)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sums"]),
        helper.make_node("Identity", ["sums"], ["values"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("features", 66), ("values", 2))
    ]
    made = helper.make_graph(
        nodes, "weight", tensors[:1], tensors[1:], [numpy_helper.from_array(weights, "weights")]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


def test_a_molecule_that_an_api_without_rdkit_took_is_a_fault_of_its_row(folder: Path) -> None:
    stored = [b"\x01" + f'{{"smiles":"{each}"}}'.encode() for each in ("CCO", "C1CC", "CCN")]
    with pytest.raises(RowFault) as fault:
        pipeline().open(folder).score(by_weight, list(map(Case, stored)))
    assert (fault.value.index, fault.value.fault.code) == (1, "invalid_smiles")


@pytest.mark.parametrize("value", [(np.nan, 0.5), (1, 1.5), (1, -0.1), (np.inf, 0.5)])
def test_an_answer_that_is_none_is_refused(folder: Path, value: tuple[float, float]) -> None:
    with pytest.raises(PredictionInvalid) as refused:
        answers(folder, "O", "CCO", run=constant(*value))
    assert refused.value.rows == (1,)


def test_descriptors_without_a_number_are_0_and_bounded() -> None:
    features = molecules.Features(2, 16, ["MaxPartialCharge", "Ipc", "MolWt"])

    def of(smiles: str) -> list[float]:
        return list(features.of(molecules.parent_of(molecules.read(smiles, LIMITS)))[16:].tolist())

    assert of("C" * 150)[1] == molecules.LARGEST
    assert np.isfinite(of("[SiH4].C")).all()
    assert of("CCO")[2] == pytest.approx(46.069, abs=1e-3)


def test_keys_and_written_charges_are_fed_where_the_manifest_asks_for_them() -> None:
    features = molecules.Features(2, 16, ["MolWt"], keys=True, charges=True)
    acid, salt = (
        features.of(molecules.parent_of(molecules.read(each, LIMITS)))
        for each in ("OC(=O)CN", "[O-]C(=O)C[NH3+].[Na+].[Cl-]")
    )
    assert acid.shape == (16 + 167 + 1 + 2,)
    assert (acid[:-2] == salt[:-2]).all()
    assert set(acid[16:183].tolist()) == {0.0, 1.0}
    assert (acid[-2:].tolist(), salt[-2:].tolist()) == ([0.0, 0.0], [1.0, 1.0])
    assert pipeline(features={"bits": 64, "keys": True, "charges": True}).parameters.features.width == 233


def test_a_task_abstains_from_heavier_molecules(folder: Path) -> None:
    tasks = [{**task, "heaviest": 180.0} for task in MOLECULES["tasks"]]
    made = pipeline(tasks=tasks)
    cases = [Case(made.encode({"smiles": each})) for each in (ASPIRIN, "OC(=O)c1ccccc1O")]
    heavy, light = (each.result for each in made.open(folder).score(by_weight, cases))
    assert (heavy["abstained"], light["abstained"]) == (True, False)


def test_a_task_abstains_from_molecules_of_few_atoms(folder: Path) -> None:
    solubility, toxic = MOLECULES["tasks"]
    made = pipeline(tasks=[solubility, {**toxic, "fewest_atoms": 4}])
    cases = [Case(made.encode({"smiles": each})) for each in ("CCO", "CCCO")]
    found: list[Any] = [each.result for each in made.open(folder).score(by_weight, cases)]
    small, large = (each["tasks"] for each in found)
    assert small["toxic"]["abstain_reason"].startswith("unlike")
    assert small["solubility"]["value"] is not None
    assert not large["toxic"]["abstained"]


def test_fingerprints_are_compared_by_tanimoto() -> None:
    one, other = np.packbits([1, 1, 0, 0, 1, 0, 0, 0]), np.packbits([1, 0, 1, 0, 1, 0, 0, 0])
    known = np.stack([one, other, np.zeros(1, np.uint8)])
    assert molecules.similarity(one, known).tolist() == [1.0, 0.5, 0.0]
    assert molecules.similarity(known[2], known[2:]).tolist() == [0.0]


@pytest.mark.parametrize("wrong", [{"cats": np.zeros((2, 32), np.uint8)}, {"drugs": np.zeros((2, 31), np.uint8)},
                                   {"drugs": np.zeros((2, 32), np.int64)}, {"drugs": np.zeros((0, 32), np.uint8)}])  # fmt: skip
def test_a_side_file_that_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, Array]) -> None:
    np.savez(tmp_path / "known.npz", **wrong)  # type: ignore[arg-type]  # numpy declares further parameters
    with pytest.raises(BundleRefused) as refused:
        pipeline().open(tmp_path)
    assert "drugs" in str(refused.value)


def test_a_task_that_is_declared_twice_is_refused() -> None:
    tasks = MOLECULES["tasks"]
    with pytest.raises(ManifestInvalid, match="its own id"):
        pipeline(tasks=[tasks[0], tasks[0]])
    interval = {key: each for key, each in tasks[0]["interval"].items() if key != "half_width"}
    with pytest.raises(ManifestInvalid, match="half_width"):
        pipeline(tasks=[{**tasks[0], "interval": interval}])
    with pytest.raises(ManifestInvalid, match="kind"):
        pipeline(tasks=[{**tasks[0], "kind": "ranking"}])


def test_an_unknown_descriptor_is_refused(folder: Path) -> None:
    with pytest.raises(BundleRefused, match="Beauty"):
        pipeline(features={"bits": 64, "descriptors": ["Beauty"]}).open(folder)
