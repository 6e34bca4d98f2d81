"""What may stand beside a molecule without being asked about: usual counter-ions of drugs, and water.

The acids and bases of salts of approved drugs, written without charges and stereochemistry: Stahl and Wermuth, *Handbook of
Pharmaceutical Salts* (2002), and the salts of the FDA's Orange Book (Paulekuhn et al., J Med Chem 50:6665, 2007). Metals are in
molecules. What is not here, such as cyanide, azide or a second drug, decides what a substance does, and is no counter-ion.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

INORGANIC: Final = {
    "water": "O", "hydrogen ion": "[H+]", "hydrochloric acid": "Cl", "hydrobromic acid": "Br", "hydroiodic acid": "I",
    "chlorine, of chloride written as an atom": "[Cl]", "bromine, the same": "[Br]", "iodine, the same": "[I]",
    "sulfuric acid": "OS(=O)(=O)O", "phosphoric acid": "OP(=O)(O)O", "nitric acid": "O[N+](=O)[O-]",
    "carbonic acid": "OC(=O)O", "ammonia": "N",
}  # fmt: skip
ACIDS: Final = {
    "acetic": "CC(=O)O", "adipic": "OC(=O)CCCCC(=O)O", "ascorbic": "OCC(O)C1OC(=O)C(O)=C1O", "aspartic": "NC(CC(=O)O)C(=O)O",
    "benzenesulfonic": "OS(=O)(=O)c1ccccc1", "benzoic": "OC(=O)c1ccccc1", "camphorsulfonic": "CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2",
    "citric": "OC(=O)CC(O)(CC(=O)O)C(=O)O", "dodecylsulfuric": "CCCCCCCCCCCCOS(=O)(=O)O",
    "ethane-1,2-disulfonic": "OS(=O)(=O)CCS(=O)(=O)O", "ethanesulfonic": "CCS(=O)(=O)O", "formic": "OC=O",
    "fumaric or maleic": "OC(=O)C=CC(=O)O", "galactaric": "OC(=O)C(O)C(O)C(O)C(O)C(=O)O", "gentisic": "OC(=O)c1cc(O)ccc1O",
    "glucoheptonic": "OCC(O)C(O)C(O)C(O)C(O)C(=O)O", "gluconic": "OCC(O)C(O)C(O)C(O)C(=O)O", "glutamic": "NC(CCC(=O)O)C(=O)O",
    "glycolic": "OCC(=O)O", "hippuric": "OC(=O)CNC(=O)c1ccccc1", "isethionic": "OCCS(=O)(=O)O", "lactic": "CC(O)C(=O)O",
    "malic": "OC(=O)CC(O)C(=O)O",
    "malonic": "OC(=O)CC(=O)O", "mandelic": "OC(=O)C(O)c1ccccc1", "methanesulfonic": "CS(=O)(=O)O",
    "methylsulfuric": "COS(=O)(=O)O", "naphthalene-2-sulfonic": "OS(=O)(=O)c1ccc2ccccc2c1",
    "naphthalene-1,5-disulfonic": "OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O", "nicotinic": "OC(=O)c1cccnc1",
    "oleic": "CCCCCCCCC=CCCCCCCCC(=O)O", "orotic": "OC(=O)c1cc(=O)[nH]c(=O)[nH]1", "oxalic": "OC(=O)C(=O)O",
    "palmitic": "CCCCCCCCCCCCCCCC(=O)O", "pamoic": "OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O",
    "propionic": "CCC(=O)O", "pyroglutamic": "OC(=O)C1CCC(=O)N1", "salicylic": "OC(=O)c1ccccc1O",
    "stearic": "CCCCCCCCCCCCCCCCCC(=O)O", "succinic": "OC(=O)CCC(=O)O", "tartaric": "OC(=O)C(O)C(O)C(=O)O",
    "toluenesulfonic": "Cc1ccc(S(=O)(=O)O)cc1", "trifluoroacetic": "OC(=O)C(F)(F)F",
    "1-hydroxy-2-naphthoic": "OC(=O)c1ccc2ccccc2c1O",
}  # fmt: skip
BASES: Final = {
    "arginine": "NC(CCCNC(N)=N)C(=O)O", "benzathine": "c1ccc(CNCCNCc2ccccc2)cc1", "choline": "C[N+](C)(C)CCO",
    "diethanolamine": "OCCNCCO", "diethylamine": "CCNCC", "dimethylaminoethanol": "CN(C)CCO", "ethanolamine": "NCCO",
    "ethylenediamine": "NCCN", "hydroxyethylpyrrolidine": "OCCN1CCCC1", "lysine": "NCCCCC(N)C(=O)O",
    "meglumine": "CNCC(O)C(O)C(O)C(O)CO", "morpholine": "C1COCCN1", "piperazine": "C1CNCCN1", "tert-butylamine": "CC(C)(C)N",
    "triethanolamine": "OCCN(CCO)CCO", "tromethamine": "NC(CO)(CO)CO",
}  # fmt: skip


def is_usual(component: Any, uncharge: Callable[[Any], Any]) -> bool:
    """Whether a molecule of RDKit, without isotopes, is listed above, as an ion or uncharged by `uncharge`."""
    return _name(uncharge(component)) in _usual(uncharge)


@cache
def _usual(uncharge: Callable[[Any], Any]) -> frozenset[str]:
    from rdkit import Chem

    listed = (*INORGANIC.values(), *ACIDS.values(), *BASES.values())
    return frozenset(_name(uncharge(Chem.MolFromSmiles(smiles))) for smiles in listed)


def _name(mol: Any) -> str:
    """Canonical SMILES without stereochemistry."""
    from rdkit import Chem

    return str(Chem.MolToSmiles(mol, isomericSmiles=False))
