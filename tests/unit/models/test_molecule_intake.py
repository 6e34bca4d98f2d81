"""What is read as a molecule, what is refused with which code, and what no input may cost."""

import time
from contextlib import suppress

import pytest

from models.pipelines import InputRejected, load_pipeline, molecules
from tests.unit.models.example_bundles import manifest

pytest.importorskip("rdkit", reason="the extra `chem` is not installed")

PIPELINE = load_pipeline(manifest("molecule-property"))
LIMITS = molecules.Limits(200, 40)
FEATURES = molecules.Features(2, 2048, ["MolWt", "MolLogP", "BertzCT", "Chi4v"])


def refusal(value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("smiles", "code"),
    [
        ("C1CC", "invalid_smiles"),  # a ring that is not closed
        ("c1cccc1", "invalid_smiles"),  # no double bonds can be placed
        ("C(C)(C)(C)(C)C", "invalid_smiles"),  # five bonds of carbon
        ("C:C:C", "invalid_smiles"),  # aromatic bonds outside of a ring
        ("c1ccccc1C:O", "invalid_smiles"),
        ("CC(=O", "invalid_smiles"),
        ("CC)C(", "invalid_smiles"),
        ("C[C", "invalid_smiles"),
        ("[300CH4]", "invalid_smiles"),  # no such isotope
        ("[2CH4]", "invalid_smiles"),
        ("C[C[C]]", "invalid_smiles"),
        ("[(C)]", "invalid_smiles"),
        ("C[#0]C", "invalid_smiles"),
        (".", "invalid_smiles"),
        ("aspirin", "invalid_smiles"),
        ("C*C", "wrong_format"),  # any atom
        ("C>>C", "wrong_format"),  # a reaction
        ("CCO ethanol", "wrong_format"),
        ("CCO |$a;b;c$|", "wrong_format"),
        ("CCO\n", "wrong_format"),
        ("\u04211\u0421\u04211", "wrong_format"),  # letters of Cyrillic
        ("阿司匹林", "wrong_format"),
        ("", "too_short"),
        ("C" * 1001, "too_long"),
        ("C" * 1_000_000, "too_long"),
        ("C" * 201, "too_long"),  # heavy atoms
        ("C" * 150 + "." + "C" * 60, "too_long"),
        ("C12(CC1)CC2" * 21, "too_long"),  # rings
    ],
)
def test_what_is_no_molecule_is_refused(smiles: str, code: str) -> None:
    assert refusal({"smiles": smiles}) == [("/smiles", code)]


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        ({}, "missing_field", "/smiles"),
        ({"smiles": None}, "wrong_type", "/smiles"),
        ({"smiles": 7}, "wrong_type", "/smiles"),
        ({"smiles": "CCO", "name": "ethanol"}, "unknown_field", "/name"),
        ("CCO", "not_an_object", ""),
    ],
)
def test_what_is_no_input_is_refused(value: object, code: str, pointer: str) -> None:
    assert refusal(value) == [(pointer, code)]


def nested_rings(count: int) -> str:
    """A ladder of rings, each fused to the next."""
    return "C1CC1" + "".join(f"C{place % 9 + 1}CC{place % 9 + 1}" for place in range(count - 1))


@pytest.mark.parametrize(
    "smiles",
    [
        "C" * 200,
        "(" * 999 + "C",
        "[" * 500 + "]" * 500,
        "C(" * 190 + "C" + ")" * 190,
        "C%99" * 250,
        "C1" * 500,
        "[C@H](O)" * 100 + "C",
        "C/C=C/" * 60,
        "c1ccc2cc3cc4cc5cc6cc7cc8cc9ccccc9cc8cc7cc6cc5cc4cc3cc2c1",
        "C12C3C4C1C5C2C3C45" + "C12C3C4C1C5C2C3C45" * 5,
        "[U]" * 190,
        ".".join("C" * 200),
        nested_rings(40),
    ],
    ids=lambda smiles: smiles[:8],
)
def test_no_input_takes_long(smiles: str) -> None:
    began = time.process_time()
    with suppress(InputRejected):
        PIPELINE.encode({"smiles": smiles})
        parent = molecules.parent_of(molecules.read(smiles, LIMITS))
        molecules.fingerprint(parent.mol, 1024)
        FEATURES.of(parent)
        molecules.picture(parent.mol)
    assert time.process_time() - began < 5
