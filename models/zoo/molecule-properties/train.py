"""Train molecule-properties.

Source: the collections of MoleculeNet (Wu et al., Chem Sci 9:513, 2018; deepchem.io, MIT): ESOL (Delaney 2004), Lipophilicity
(ChEMBL, AstraZeneca), BBBP (Martins et al. 2012), ClinTox (Gayvert et al. 2016), Tox21 (NIH, EPA, FDA). The folder of the data
holds `esol.csv`, `lipophilicity.csv`, `bbbp.csv`, `clintox.csv` and `tox21.csv`, with the columns split (train or val, by
scaffold), smiles, and the values.

Kernel ridge regression for each collection: the kernel is the Tanimoto coefficient of the logarithms of fingerprint counts
plus a Gaussian of descriptors (Ralaivola et al., Neural Netw 18:1093, 2005). Calibration, thresholds and interval widths come
from five folds of whole scaffolds in `train`; every figure is of `val`, which took no part in fitting. A few minutes on one
core, most of it RDKit.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import rdkit
from molecule_collections import (
    ALERTS,
    DESCRIPTORS,
    GOLDEN,
    SETS,
    TASKS,
    UNSURE,
    Collection,
    alerts_toml,
    foreign,
    table_of,
    tasks_toml,
)
from molecule_kernel import Kernel, graph_of
from numpy.typing import NDArray
from rdkit.Chem.Scaffolds import MurckoScaffold
from sklearn.linear_model import Ridge

from models.pipelines import InputRejected, molecules
from models.pipelines.molecule_alerts import Alerts, StructuralAlert, heteroatoms, rotatable_bonds
from models.training.calibration import platt
from models.training.export import parity, save
from models.training.figures import auc_with_interval, brier, calibration_error, interval, operating_point
from models.training.writing import write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
TOLERANCE = 1e-3  # sums over 2,048 bits round otherwise on another processor: values moved by 1e-5
BITS = 2048
LIMITS = molecules.Limits(200, 40)
FOLDS = 5
HEAVIEST = 0.995  # share of the training molecules that are within the limits of mass and of rotatable bonds
COVERAGE = 0.9
SAMPLE = 200  # molecules of a fold whose similarity to the others is measured


@dataclass(frozen=True)
class Rows:
    """Features float32 [n,F], targets [n,T] with NaN where not measured, which are of val, scaffolds, fingerprints, masses,
    heavy atoms, atoms other than carbon, hydrogen and halogens, which have a structural alert,
    rotatable bonds, the skeletons of their InChIKeys."""

    features: np.ndarray
    targets: np.ndarray
    val: np.ndarray
    scaffolds: list[str]
    prints: np.ndarray
    weights: np.ndarray
    atoms: np.ndarray
    heteroatoms: np.ndarray
    alerted: np.ndarray
    rotatable: np.ndarray
    skeletons: np.ndarray


def described(
    smiles: list[str],
) -> list[tuple[np.ndarray, str, np.ndarray, float, int, int, bool, int, str] | None]:
    """Features, scaffold and the rest of Rows of each molecule; None for one that is not scored."""
    features = molecules.Features(2, BITS, DESCRIPTORS, keys=True, charges=True)
    tables = [StructuralAlert(smarts=smarts, reason=what, source=source) for smarts, what, source in ALERTS]
    alerts, found = Alerts(tables), []
    for each in smiles:
        try:
            parent = molecules.parent_of(molecules.read(each, LIMITS))
        except InputRejected:
            found.append(None)
            continue
        if parent.unfit is not None:
            found.append(None)
            continue
        frame = MurckoScaffold.MurckoScaffoldSmiles(mol=parent.mol)
        found.append(
            (
                features.of(parent),
                frame or parent.smiles,
                molecules.fingerprint(parent.mol, 1024),
                parent.weight,
                parent.mol.GetNumHeavyAtoms(),
                heteroatoms(parent.mol),
                alerts.reason(parent.mol) is not None,
                rotatable_bonds(parent.mol),
                str(parent.inchikey).partition("-")[0],
            )
        )
    return found


def read_rows(folder: Path, name: str) -> Rows:
    with (folder / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = [
        (row, made)
        for row, made in zip(rows, described([row["smiles"] for row in rows]), strict=True)
        if made
    ]
    columns = [task.column for task in TASKS if task.collection == name]
    targets = [[float(row[column]) if row[column] else np.nan for column in columns] for row, _ in kept]
    features, scaffolds, prints, *rest = zip(*(made for _, made in kept), strict=True)
    val = np.array([row["split"] == "val" for row, _ in kept])
    return Rows(
        np.stack(features), np.array(targets), val, list(scaffolds), np.stack(prints), *map(np.array, rest),
    )  # fmt: skip


def out_of_fold(rows: Rows, how: Collection) -> tuple[np.ndarray, np.ndarray]:
    """Raw answers [train,T] by kernels that did not see the molecule's scaffold, and similarities to what they saw."""
    seen = np.flatnonzero(~rows.val)
    scaffolds = np.unique([rows.scaffolds[row] for row in seen], return_inverse=True)[1]
    folds = np.random.default_rng(SEED).integers(0, FOLDS, scaffolds.max() + 1)[scaffolds]
    found, similar = np.zeros((len(seen), rows.targets.shape[1])), np.full(len(seen), np.nan)
    for fold in range(FOLDS):
        held, kept = seen[folds == fold], seen[folds != fold]
        kernel = Kernel.fitted(rows.features[kept], rows.targets[kept], how, SEED)
        found[folds == fold] = kernel(rows.features[held])
        some = np.flatnonzero(folds == fold)[:SAMPLE]
        similar[some] = [
            molecules.similarity(rows.prints[seen[row]], rows.prints[kept]).max() for row in some
        ]
    return found, similar


def threshold_of(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The threshold, in hundredths, with the largest sum of sensitivity and specificity (Youden 1950)."""

    def sum_at(value: float) -> float:
        point = operating_point(probabilities, truth, value)
        return point["sensitivity"] + point["specificity"]

    return max(np.arange(1, 100) / 100, key=sum_at)


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data."""
    collections = {name: read_rows(data, name) for name in SETS}
    alien = {family: described(smiles) for family, smiles in foreign().items()}
    report: dict[str, dict[str, object]] = {}
    kernels, known = [], {}
    for name, how in SETS.items():
        rows = collections[name]
        seen, val = ~rows.val, rows.val
        kernel = Kernel.fitted(rows.features[seen], rows.targets[seen], how, SEED)
        unseen, similar = out_of_fold(rows, how)
        known[name] = rows.prints[seen]
        limits = {
            "least_similarity": round(float(np.nanquantile(similar, how.withheld)), 2),
            "heaviest": round(float(np.quantile(rows.weights[seen], HEAVIEST))),
            "fewest_atoms": how.fewest_atoms,
            "most_rotatable_bonds": int(np.ceil(np.quantile(rows.rotatable[seen], HEAVIEST))),
        }
        report[name] = {"molecules": int(seen.sum()), "molecules_val": int(val.sum()), **limits}
        report[name] |= domain_figures(rows, how, limits, alien)
        for task, found in task_figures(name, rows, how, kernel, unseen).items():
            report[task] = report.get(task, {}) | found
        if name == "clintox":
            report["chemicals"] = chemical_figures(collections, how, kernel, limits)
        kernels.append(kernel)
        print(name, "done", flush=True)
    save(graph_of(kernels, collections["esol"].features.shape[1]), HERE / "model.onnx")
    np.savez_compressed(HERE / "known.npz", **known)
    some = np.concatenate([rows.features[rows.val][:40] for rows in collections.values()])
    wanted = np.concatenate([kernel.answers(some) for kernel in kernels], 1)
    report["parity"] = parity(HERE / "model.onnx", {"features": some}, {"values": wanted})
    tox = [report[task.id]["auc"] for task in TASKS if task.collection == "tox21"]
    report |= {
        "tox21_mean_auc": float(np.mean(tox)),
        "rdkit": rdkit.__version__,
        "onnx": onnx.__version__,
        "seed": SEED,
    }
    report |= {
        key: float(np.mean([report[name][key] for name in SETS]))
        for key in ("false_alarm_rate", "catch_rate")
    }
    listed = ", ".join(f'"{each}"' for each in DESCRIPTORS)
    write_report(
        HERE,
        report,
        tasks=tasks_toml(report),
        alerts=alerts_toml(),
        table=table_of(report),
        descriptors=listed,
    )
    write_golden(HERE, [(note, {"smiles": smiles}) for note, smiles in GOLDEN], tolerance=TOLERANCE)


def task_figures(
    name: str, rows: Rows, how: Collection, kernel: Kernel, unseen: np.ndarray
) -> dict[str, object]:
    """The figures of the tasks of a collection; sets the kernel's calibration."""
    seen, val = ~rows.val, rows.val
    raw, found = kernel(rows.features[val]), {}
    for place, task in enumerate(task for task in TASKS if task.collection == name):
        measured, there = rows.targets[seen, place], rows.targets[val, place]
        old, new = ~np.isnan(measured), ~np.isnan(there)
        plain = baseline(rows, place)[new]
        if how.regression:
            found[task.id] = regression_figures(
                unseen[old, place], measured[old], raw[new, place], there[new], plain
            )
            continue
        truth = measured[old].astype(int)
        slope, offset = platt(unseen[old, place], truth)
        kernel.calibrate(place, slope, offset)
        limit = float(threshold_of(1 / (1 + np.exp(-slope * unseen[old, place] - offset)), truth))
        found[task.id] = class_figures(
            kernel.answers(rows.features[val])[new, place], there[new].astype(int), limit, plain
        )
    return found


def outside(
    rows: Rows, how: Collection, limits: dict[str, float], prints: np.ndarray, weight: float, *counts: int
) -> bool:
    """Whether a molecule is outside of the applicability domain of a collection's tasks."""
    atoms, others, alerted, rotatable = counts
    return bool(
        molecules.similarity(prints, rows.prints[~rows.val]).max() < limits["least_similarity"]
        or weight > limits["heaviest"]
        or atoms < limits["fewest_atoms"]
        or others < how.fewest_heteroatoms
        or (how.alerts and alerted)
        or rotatable > limits["most_rotatable_bonds"]
    )


def columns_of(rows: Rows, row: int) -> tuple[object, ...]:
    """What decides whether one of the rows is outside."""
    columns = (rows.prints, rows.weights, rows.atoms, rows.heteroatoms, rows.alerted, rows.rotatable)
    return tuple(column[row] for column in columns)


def domain_figures(
    rows: Rows, how: Collection, limits: dict[str, float], alien: dict[str, list]
) -> dict[str, object]:
    caught = {
        family: np.mean([each is None or outside(rows, how, limits, *each[2:8]) for each in found])
        for family, found in alien.items()
    }
    alarms = np.mean([outside(rows, how, limits, *columns_of(rows, row)) for row in np.flatnonzero(rows.val)])
    small = np.mean(rows.atoms[~rows.val] < limits["fewest_atoms"])
    return {
        "false_alarm_rate": alarms,
        "catch_rate": np.mean(list(caught.values())),
        "caught": caught,
        "small": small,
    }


def chemical_figures(
    collections: dict[str, Rows], how: Collection, kernel: Kernel, limits: dict[str, float]
) -> dict[str, object]:
    """How chemicals of ESOL that are neither in ClinTox nor in BBBP are answered by the tasks of ClinTox.

    Shares called approved and not toxic; and those that would be if small molecules were answered from 6 heavy atoms on.
    """
    drugs, rows, found = collections["clintox"], collections["esol"], {}
    known = {*drugs.skeletons, *collections["bbbp"].skeletons}
    chosen = [row for row, skeleton in enumerate(rows.skeletons) if skeleton not in known]
    approved, toxic = kernel.answers(rows.features[chosen]).T
    said = {
        "approved": approved >= UNSURE["fda_approved"][1],
        "not_toxic": toxic < UNSURE["clinical_toxicity"][0],
    }
    for name, bounds in (("", limits), ("_from_6_atoms", limits | {"fewest_atoms": 6})):
        inside = np.array([not outside(drugs, how, bounds, *columns_of(rows, row)) for row in chosen])
        found |= {f"{key}{name}": np.mean(answered & inside) for key, answered in said.items()}
    return {"molecules": len(chosen), **found}


def baseline(rows: Rows, place: int) -> np.ndarray:
    """Ridge regression on the same fingerprints, for val."""
    common = np.log1p(rows.features[:, :BITS])
    old = ~rows.val & ~np.isnan(rows.targets[:, place])
    common = common[:, (common[old] > 0).sum(0) >= 8]
    return Ridge(alpha=30).fit(common[old], rows.targets[old, place]).predict(common[rows.val])


def regression_figures(
    unseen: Floats, measured: Floats, found: Floats, there: Floats, plain: Floats
) -> dict[str, object]:
    gaps = np.sort(np.abs(unseen - measured))
    half = round(float(gaps[min(int(np.ceil((len(gaps) + 1) * COVERAGE)), len(gaps)) - 1]), 2)

    def error(rows: np.ndarray) -> float:
        return float(np.sqrt(np.mean((found[rows] - there[rows]) ** 2)))

    return {
        "rmse": error(np.arange(len(there))),
        "rmse_95": interval(error, len(there), seed=SEED),
        "rmse_ridge": float(np.sqrt(np.mean((plain - there) ** 2))),
        "half_width": half,
        "measured": float(np.mean(np.abs(found - there) <= half)),
    }


def class_figures(found: Floats, truth: Ints, limit: float, plain: Floats) -> dict[str, object]:
    area, low, high = auc_with_interval(found, truth, len(truth), seed=SEED)
    return {
        "auc": area, "auc_95": [low, high], "auc_ridge": auc_with_interval(plain, truth, len(truth), seed=SEED)[0],
        "brier": brier(found, truth), "ece": calibration_error(found, truth), "threshold": limit,
        **{key: each for key, each in operating_point(found, truth, limit).items() if key != "npv"},
    }  # fmt: skip
