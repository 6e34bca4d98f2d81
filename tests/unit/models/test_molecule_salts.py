"""Which molecules of several components or of strange atoms are scored, because collections write such."""

import pytest

from models.pipelines import molecules

pytest.importorskip("rdkit", reason="the extra `chem` is not installed")

LIMITS = molecules.Limits(200, 40)


@pytest.mark.parametrize(
    "smiles",
    [
        "O=C(CCCN1CCC(O)(CC1)c1ccc(Cl)cc1)c1ccc(F)cc1.OC(=O)C=CC(=O)O",
        "CN1CCCCC1c1ccccc1.CS(=O)(=O)O",
        "C[NH+]1CCCCC1c1ccccc1.CS(=O)(=O)[O-]",
        "OC(=O)Cc1ccccc1Nc1c(Cl)cccc1Cl.NC(CO)(CO)CO",
        "CCCCCCCC(=O)[O-].CCCCCCCC(=O)[O-]",
        "C[NH2+]CCc1ccccc1",
        "[Na].CC(=O)Oc1ccccc1C(=O)O",
        "[Cl].CC(C)NCC(O)COc1cccc2ccccc12",
        "CC1(C)CCCC(C)(C)N1[O]",
        "[O-][n+]1ccccc1",
        "CC[N+]#[C-]",
    ],
    ids=[
        "maleate", "mesylate", "its ions", "tromethamine", "two of one ion", "an ion alone", "an acid and sodium as an atom",
        "an amine and chlorine as an atom", "a nitroxide", "an N-oxide", "an isocyanide",
    ],
)  # fmt: skip
def test_what_stands_in_collections_is_scored(smiles: str) -> None:
    assert molecules.parent_of(molecules.read(smiles, LIMITS)).unfit is None
