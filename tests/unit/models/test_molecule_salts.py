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
        "CC(=O)Oc1ccccc1C(=O)[O-].[K+].O",
        "O=C(CCCN1CCC(O)(CC1)c1ccc(Cl)cc1)c1ccc(F)cc1.OC(=O)[C@H](O)[C@@H](O)C(=O)O",
        "[Na].CC(=O)Oc1ccccc1C(=O)O",
        "[Cl].CC(C)NCC(O)COc1cccc2ccccc12",
        "CC1(C)CCCC(C)(C)N1[O]",
        "[O-][n+]1ccccc1",
        "CC[N+]#[C-]",
    ],
    ids=[
        "maleate", "mesylate", "its ions", "tromethamine", "two of one ion", "an ion alone",
        "a hydrate of a potassium salt", "a tartrate", "an acid and sodium as an atom",
        "an amine and chlorine as an atom", "a nitroxide", "an N-oxide", "an isocyanide",
    ],
)  # fmt: skip
def test_what_stands_in_collections_is_scored(smiles: str) -> None:
    assert molecules.parent_of(molecules.read(smiles, LIMITS)).unfit is None


@pytest.mark.parametrize(
    "beside",
    [
        "[K+].[C-]#N", "[Na+].[N-]=[N+]=[N-]", "[Na+].[F-]", "[Na+].[O-]C(=O)CF", "OO", "[Na+].[O-][N+]=O", "C#N", "CN",
        "[K+].[O-]Cl(=O)(=O)=O", "[Na+].[BH4-]",
    ],
    ids=[
        "potassium cyanide", "sodium azide", "sodium fluoride", "sodium fluoroacetate", "hydrogen peroxide", "sodium nitrite",
        "hydrogen cyanide", "methylamine", "potassium perchlorate", "sodium borohydride",
    ],
)  # fmt: skip
@pytest.mark.parametrize("drug", ["Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CC(=O)Oc1ccccc1C(=O)O"])
def test_what_is_no_usual_counter_ion_is_not_taken_away(drug: str, beside: str) -> None:
    assert molecules.parent_of(molecules.read(f"{drug}.{beside}", LIMITS)).unfit == molecules.MIXTURE
