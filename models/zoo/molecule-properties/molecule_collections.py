"""What train.py of molecule-properties knows of the collections: tasks, settings, descriptors, foreign molecules, tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rdkit import Chem
from rdkit.Chem import Descriptors

from models.training.writing import rounded

# Without those that take long or grow beyond all bounds.
DESCRIPTORS = [name for name, _ in Descriptors.descList if name not in {"SPS", "qed", "Ipc", "AvgIpc"}]


@dataclass(frozen=True)
class Collection:
    """How the kernel of one collection is made and fitted."""

    regression: bool
    gamma: float  # of the Gaussian, for the mean square difference of descriptors
    ridge: float
    fewest: int  # molecules that a count must occur in
    landmarks: int  # most molecules that the kernel is compared with (Nystroem's method)
    charges: bool = False  # whether the kernel sees how charges were written
    withheld: float = (
        0.02  # share of molecules of scaffolds that were left out that the least similarity withholds
    )
    fewest_atoms: int = 1  # heavy atoms below which its tasks abstain
    fewest_heteroatoms: int = (
        0  # atoms other than carbon, hydrogen and halogens below which its tasks abstain
    )
    alerts: bool = False  # whether its tasks abstain from molecules with one of ALERTS


@dataclass(frozen=True)
class TaskOf:
    """One column of a collection."""

    collection: str
    column: str
    id: str
    title: str
    positive: str = ""
    negative: str = ""
    unit: str = ""


SETS = {
    "esol": Collection(True, 0.5, 0.2, 8, 1000),
    "lipophilicity": Collection(True, 1.0, 0.1, 30, 4000),
    "bbbp": Collection(False, 1.0, 0.5, 16, 1000),
    "clintox": Collection(
        False,
        0.5,
        10.0,
        16,
        1200,
        charges=True,
        withheld=0.25,
        fewest_atoms=12,
        fewest_heteroatoms=1,
        alerts=True,
    ),
    "tox21": Collection(False, 1.0, 2.0, 30, 700),
}
_TOX21 = {
    "NR-AR": "androgen receptor",
    "NR-AR-LBD": "androgen receptor, ligand-binding domain",
    "NR-AhR": "aryl hydrocarbon receptor",
    "NR-Aromatase": "aromatase inhibition",
    "NR-ER": "estrogen receptor alpha",
    "NR-ER-LBD": "estrogen receptor alpha, ligand-binding domain",
    "NR-PPAR-gamma": "PPAR gamma",
    "SR-ARE": "antioxidant response element",
    "SR-ATAD5": "genotoxicity (ATAD5)",
    "SR-HSE": "heat shock response",
    "SR-MMP": "mitochondrial membrane potential",
    "SR-p53": "p53 response",
}
TASKS = [
    TaskOf("esol", "log_solubility", "solubility", "Solubility in water", unit="log10(mol/L)"),
    TaskOf(
        "lipophilicity",
        "logd",
        "lipophilicity",
        "Lipophilicity: log D of octanol and water at pH 7.4",
        unit="1",
    ),
    TaskOf(
        "bbbp",
        "penetrates",
        "blood_brain_barrier",
        "Crosses the blood-brain barrier",
        "crosses",
        "does not cross",
    ),
    TaskOf("clintox", "FDA_APPROVED", "fda_approved", "Approved by the FDA", "approved", "not approved"),
    TaskOf(
        "clintox",
        "CT_TOX",
        "clinical_toxicity",
        "Failed in clinical trials for toxicity",
        "toxic",
        "not toxic",
    ),
    *(
        TaskOf(
            "tox21",
            column,
            "tox21_" + column.lower().replace("-", "_"),
            f"Tox21: {title}",
            "active",
            "inactive",
        )
        for column, title in _TOX21.items()
    ),
]
# Probabilities without an answer: the tasks of ClinTox depend on how charges were written; see the card.
UNCLEAR = "not clear enough: in the training data approved and failed drugs differ mostly in how their charges were drawn"
UNSURE = {"fda_approved": (0.5, 0.97), "clinical_toxicity": (0.03, 0.5)}
# Groups of poisons that are also groups of drugs, or near them: a list of drugs and failed drugs says nothing of the poison.
# The first three are those of schedule 1 of the Chemical Weapons Convention and of insecticides of their kind.
_CWC = "Chemical Weapons Convention, annex on chemicals, schedule 1"
ALERTS = [
    (
        "[PX4;!$(P[OX2H1,OX1-,SX2H1,SX1-])](=[OX1,SX1])[F,Cl,Br,$(C#N),$([OX2][#6]),$([SX2][#6])]",
        "a neutral ester, halide or cyanide of phosphorus, as nerve agents and insecticides are",
        f"{_CWC}, A.1 to A.3; organophosphates: WHO, classification of pesticides by hazard, 2019",
    ),
    (
        "[NX3]([CH2][CH2][Cl,Br,I])[CH2][CH2][Cl,Br,I]",
        "a nitrogen mustard, as chemical weapons and some drugs against cancer are",
        f"{_CWC}, A.6",
    ),
    (
        "[SX2][CH2][CH2][Cl,Br,I]",
        "a sulfur mustard, as chemical weapons are",
        f"{_CWC}, A.4",
    ),
    (
        "[#6][NX3][NX2]=[OX1]",
        "an N-nitroso compound, as strong carcinogens are",
        "ICH guideline M7(R2), cohort of concern, 2023",
    ),
    (
        "[CH3][NX3;H1]C(=O)O[c,$(N=C)]",
        "a methyl carbamate, as insecticides are",
        "carbamates: WHO, classification of pesticides by hazard, 2019",
    ),
]
NO_JUDGEMENT = "and the drugs of the training data do not tell whether it is a poison"
GOLDEN = [
    ("aspirin", "CC(=O)Oc1ccccc1C(=O)O"),
    (
        "its calcium salt, the same but for how charges are written",
        "[Ca+2].CC(=O)Oc1ccccc1C(=O)[O-].CC(=O)Oc1ccccc1C(=O)[O-]",
    ),
    ("caffeine", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"),
    ("ibuprofen, one hand", "CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O"),
    ("bisphenol A", "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1"),
    ("benzo[a]pyrene", "c1ccc2c(c1)cc1ccc3cccc4ccc2c1c34"),
    ("haloperidol hydrochloride", "O=C(CCCN1CCC(O)(CC1)c1ccc(Cl)cc1)c1ccc(F)cc1.Cl"),
    ("ethanol", "CCO"),
    ("sarin, a nerve agent", "CC(C)OP(C)(=O)F"),
    ("hexane, a hydrocarbon", "CCCCCC"),
    (
        "a chain of twelve glycines, heavier than what the model knows",
        "NCC(=O)" + "NCC(=O)" * 10 + "NCC(=O)O",
    ),
    ("cisplatin, a metal complex", "[NH3][Pt]([NH3])(Cl)Cl"),
    ("two drugs at once", "CC(=O)Oc1ccccc1C(=O)O.Cn1cnc2c1c(=O)n(C)c(=O)n2C"),
    ("tetracontane, a chain longer than those that the model knows", "C" * 40),
    ("table salt", "[Na+].[Cl-]"),
]
_METALS = ("Fe", "Co", "Ni", "Cu", "Zn", "Ru", "Rh", "Pd", "Pt", "Au", "Hg", "Mn")


def foreign() -> dict[str, list[str]]:
    """Molecules unlike the collections', by family: drawn peptides, glucose chains, metal complexes, perfluorinated chains."""
    chance = np.random.default_rng(20261129)
    drawn = ["".join(chance.choice(list("ACDEFGHIKLMNPQRSTVWY"), chance.integers(8, 16))) for _ in range(40)]
    peptides = [Chem.MolToSmiles(Chem.MolFromSequence(each)) for each in drawn]
    sugars = []
    for length in range(4, 12):
        chain = "O"
        for _ in range(length):
            chain = f"OC1OC(CO)C({chain})C(O)C1O"
        sugars.append(chain)
    metals = [
        f"[{metal}]({ligand})({ligand})" for metal in _METALS for ligand in ("Cl", "NCCO", "OC(=O)c1ccccc1")
    ]
    fluorinated = ["C" + "(F)(F)C" * length + "(F)(F)S(=O)(=O)O" for length in range(4, 20)]
    return {
        "peptides": peptides,
        "sugars": sugars,
        "metals": metals,
        "fluorinated": ["F" + each for each in fluorinated],
    }


def alerts_toml() -> str:
    """The tables of the manifest's alerts."""
    lines = []
    for smarts, what, source in ALERTS:
        told = {"smarts": smarts, "reason": f"{what}, {NO_JUDGEMENT}", "source": source}
        lines += ["[[parameters.alerts]]", *(f"{key} = {json.dumps(each)}" for key, each in told.items()), ""]
    return "\n".join(lines).rstrip()


def tasks_toml(report: Mapping[str, object]) -> str:
    """The tables of the manifest's tasks, with figures of the report."""
    figures = rounded(report)
    lines = []
    for task in TASKS:
        limits, found, how = figures[task.collection], figures[task.id], SETS[task.collection]
        told = {"kind": "regression" if task.unit else "classification", "id": task.id, "title": task.title}
        told |= {"domain": task.collection, "least_similarity": limits["least_similarity"]}
        told |= {"heaviest": float(limits["heaviest"])}
        told |= {"fewest_atoms": limits["fewest_atoms"]} if limits["fewest_atoms"] > 1 else {}
        told |= {"fewest_heteroatoms": how.fewest_heteroatoms} if how.fewest_heteroatoms else {}
        told |= {"most_rotatable_bonds": limits["most_rotatable_bonds"]}
        told |= {"alerts": True} if how.alerts else {}
        told |= {"unit": task.unit} if task.unit else {"positive": task.positive, "negative": task.negative}
        name = "interval" if task.unit else "threshold"
        lines += ["[[parameters.tasks]]", *(f"{key} = {json.dumps(each)}" for key, each in told.items()), ""]
        table = _interval(found) if task.unit else _threshold(found)
        table["source"] = "validation part, by scaffold"
        lines += [
            f"[parameters.tasks.{name}]",
            *(f"{key} = {json.dumps(each)}" for key, each in table.items()),
            "",
        ]
        if task.id in UNSURE:
            lower, upper = UNSURE[task.id]
            reason = UNCLEAR
            lines += [
                "[parameters.tasks.abstain]",
                f"lower = {lower}",
                f"upper = {upper}",
                f'reason = "{reason}"',
                "",
            ]
    return "\n".join(lines).rstrip()


def _interval(found: Mapping[str, float]) -> dict[str, object]:
    method = "split conformal prediction with folds of whole scaffolds"
    return {
        "coverage": 0.9,
        "measured": found["measured"],
        "half_width": found["half_width"],
        "method": method,
    }


def _threshold(found: Mapping[str, float]) -> dict[str, object]:
    return {"value": found["threshold"]} | {
        key: found[key] for key in ("sensitivity", "specificity", "ppv", "prevalence")
    }


def table_of(report: Mapping[str, object]) -> str:
    """The card's table of figures."""
    figures = rounded(report)
    lines = ["| task | figure | 95 % interval | ridge | calibration | answers |", "|---|---|---|---|---|---|"]
    for task in TASKS:
        found = figures[task.id]
        name = "rmse" if task.unit else "auc"
        low, high = found[f"{name}_95"]
        if task.unit:
            more = f" | | the interval, ± {found['half_width']}, holds {found['measured']} of the values |"
        else:
            more = f" | Brier {found['brier']}, ECE {found['ece']} | from {found['threshold']}: sensitivity "
            more += f"{found['sensitivity']}, specificity {found['specificity']}, PPV {found['ppv']} |"
        figure = f"{name.upper()} {found[name]} | {low} to {high} | {found[f'{name}_ridge']}"
        lines.append(f"| `{task.id}` | {figure}{more}")
    return "\n".join(lines)
