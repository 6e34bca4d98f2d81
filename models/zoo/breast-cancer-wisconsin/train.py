"""Train breast-cancer-wisconsin and write everything of its bundle that comes from the data.

Source: Wolberg, Mangasarian, Street, Street (1993), Breast Cancer Wisconsin (Diagnostic), UCI Machine
Learning Repository, doi:10.24432/C5DW2B, CC BY 4.0; here the copy in scikit-learn. 569 rows, 30 features.

    python -m models.training breast-cancer-wisconsin
    .venv/bin/python -m models seal --golden models/zoo/breast-cancer-wisconsin

train.py writes model.onnx, metrics.json, manifest.toml (without digests) and the inputs of golden.json; seal
fills in expected results and digests. About ten seconds on one core; seeds fixed.
"""

import json
import math
from pathlib import Path
from string import Template

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from models.training.calibration import platt, threshold_for
from models.training.export import OPSET, save
from models.training.figures import brier, calibration_error, operating_point
from models.training.writing import write_golden

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20261122
FOLDS = 5
NETWORKS = 5
HIDDEN = 12
EPOCHS = 100
# A missed cancer costs more than a second look at a benign lump: the threshold is the highest one that still
# finds this share of the malignant rows, none of which the scoring network had seen.
WANTED_SENSITIVITY = 0.98

# Words of the source (wdbc.names). It gives no units: lengths and areas are in the scale of its own images.
MEASURES = {
    "radius": "radius, the mean distance from the centre to the outline. The source gives no unit.",
    "texture": "texture, the standard deviation of grey values.",
    "perimeter": "length of the outline. The source gives no unit.",
    "area": "area. The source gives no unit.",
    "smoothness": "smoothness, the local variation of radius lengths.",
    "compactness": "compactness, perimeter squared over area, minus 1.",
    "concavity": "concavity, how deep the dents of the outline are.",
    "concave_points": "concave points, how many dents the outline has (scaled by the source).",
    "symmetry": "symmetry.",
    "fractal_dimension": "fractal dimension of the outline by the coastline approximation, minus 1.",
}

FEATURE = Template("""\
[[parameters.features]]
name = "$name"
title = "$title"
unit = "1"
minimum = 0.0
maximum = $maximum
example = $example
description = "$description"
""")

MANIFEST = Template("""\
# Written by train.py; [files] by `python -m models seal`. Change those, not this file.
name = "breast-cancer-wisconsin"
version = "1.0.0"
kind = "diagnosis"
pipeline = "tabular-classification"
title = "Breast mass: malignant or benign, from a fine needle aspirate"
summary = "Probability that a breast mass is malignant, from 30 measurements of cell nuclei in one image."
license = "CC-BY-4.0"

[runtime]
max_batch = 1024
run_timeout_s = 10.0
promised_s = 30.0
tolerance = 1e-5

[metrics]
$metrics

[files]

[parameters]
positive = "malignant"

[parameters.threshold]
value = $threshold
sensitivity = $sensitivity
specificity = $specificity
ppv = $ppv
prevalence = $prevalence
source = "$protocol"

[[parameters.labels]]
id = "benign"
display = "Benign neoplasm of breast"
system = "http://hl7.org/fhir/sid/icd-10"
code = "D24"

[[parameters.labels]]
id = "malignant"
display = "Malignant neoplasm of breast, unspecified"
system = "http://hl7.org/fhir/sid/icd-10"
code = "C50.9"

# Ranges: from 0 to twice the largest value of the 569 rows, rounded up. They catch a slipped point and
# say nothing about biology.
$features""")


class TumorNetwork(nn.Module):
    """Measurements [N,30] -> probability of malignant [N,1]; standardisation and calibration are inside.

    One hidden layer. The mean logit of several such networks is one wider network of the same shape, which is
    how the ensemble becomes one small graph.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, 1)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def logits(self, features: Tensor) -> Tensor:
        """Uncalibrated log odds [N,1] of `features` [N,30]."""
        standard = (features - self.mean) / self.scale
        return self.output(torch.relu(self.hidden(standard)))

    def forward(self, features: Tensor) -> Tensor:
        """Calibrated probability [N,1] of `features` [N,30]."""
        return torch.sigmoid(self.slope * self.logits(features) + self.offset)


def read_rows() -> tuple[Matrix, NDArray[np.int64], list[str]]:
    """Measurements [569,30], malignant as 1 (scikit-learn: 0), and field names such as mean_radius."""
    source = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in source.feature_names]
    return source.data, 1 - source.target.astype(np.int64), names


def train_one(rows: Matrix, malignant: NDArray[np.int64], seed: int) -> TumorNetwork:
    """One network on all of `rows`: full-batch AdamW, weight decay for want of data."""
    torch.manual_seed(seed)
    network = TumorNetwork(rows.shape[1], HIDDEN)
    network.mean = torch.tensor(rows.mean(axis=0), dtype=torch.float32)
    network.scale = torch.tensor(rows.std(axis=0), dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=1.0)
    features = torch.tensor(rows, dtype=torch.float32)
    target = torch.tensor(malignant, dtype=torch.float32).unsqueeze(1)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network.logits(features), target).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def merge(networks: list[TumorNetwork]) -> TumorNetwork:
    """One network whose logit is the mean logit of `networks` (all with the same standardisation)."""
    merged = TumorNetwork(networks[0].hidden.in_features, HIDDEN * len(networks))
    merged.mean, merged.scale = networks[0].mean, networks[0].scale
    merged.hidden.weight.copy_(torch.cat([network.hidden.weight for network in networks]))
    merged.hidden.bias.copy_(torch.cat([network.hidden.bias for network in networks]))
    merged.output.weight.copy_(torch.cat([network.output.weight for network in networks], 1) / len(networks))
    merged.output.bias.copy_(torch.stack([network.output.bias for network in networks]).mean(0))
    return merged.eval()


def train_ensemble(rows: Matrix, malignant: NDArray[np.int64], seed: int) -> TumorNetwork:
    """NETWORKS networks that differ in their seed, merged to one."""
    return merge([train_one(rows, malignant, seed + index) for index in range(NETWORKS)])


@torch.no_grad()
def logits_of(network: TumorNetwork, rows: Matrix) -> Vector:
    """Uncalibrated log odds [N] of `rows` [N,30]."""
    return network.logits(torch.tensor(rows, dtype=torch.float32)).squeeze(1).numpy().astype(np.float64)


def cross_validate(rows: Matrix, malignant: NDArray[np.int64]) -> tuple[Vector, list[float], list[float]]:
    """Out-of-fold log odds [N], the AUC of each fold, and that of a logistic regression as the floor."""
    unseen = np.zeros(len(rows))
    areas, floor = [], []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(rows, malignant)
    for number, (seen, held_out) in enumerate(folds):
        network = train_ensemble(rows[seen], malignant[seen], SEED + 100 * number)
        unseen[held_out] = logits_of(network, rows[held_out])
        areas.append(float(roc_auc_score(malignant[held_out], unseen[held_out])))
        line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
            rows[seen], malignant[seen]
        )
        floor.append(float(roc_auc_score(malignant[held_out], line.decision_function(rows[held_out]))))
    return unseen, areas, floor


def measure(
    probability: Vector, malignant: NDArray[np.int64], areas: list[float], floor: list[float], at: float
) -> dict[str, float | str]:
    """The figures of metrics.json, all on out-of-fold predictions."""
    figures = {
        "auc_mean": float(np.mean(areas)),
        "auc_sd": float(np.std(areas, ddof=1)),
        "auc_logistic_regression": float(np.mean(floor)),
        "accuracy": float(((probability >= at) == (malignant == 1)).mean()),
        **operating_point(probability, malignant, at),
        "brier": brier(probability, malignant),
        "calibration_error": calibration_error(probability, malignant),
    }
    return {
        **{name: round(figure, 4) for name, figure in figures.items()},
        "protocol": f"{FOLDS}-fold cross-validation, 569 rows, out-of-fold predictions, seed {SEED}",
    }


def write_graph(network: TumorNetwork, path: Path) -> None:
    """`network` as ONNX with any number of rows, as the exporter wrote it."""
    example = torch.zeros(2, network.hidden.in_features)
    program = torch.onnx.export(
        network,
        (example,),
        input_names=["features"],
        output_names=["probability"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    save(program.model_proto, path)


def choose_golden(probability: Vector, at: float) -> list[int]:
    """Ten rows by the shipped model: six from surest benign to surest malignant, four at the threshold."""
    order = np.argsort(probability)
    spread = [order[int(share * (len(order) - 1))] for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    nearest = np.argsort(np.abs(probability - at))[:4]
    return list(dict.fromkeys(int(row) for row in (*spread, *nearest)))


def plausible_maximum(largest: float) -> float:
    """Twice the largest value seen, rounded up to two digits: a limit for slips, not of biology."""
    step = 10.0 ** (math.floor(math.log10(2 * largest)) - 1)
    return round(math.ceil(2 * largest / step) * step, 6)


def describe(name: str) -> str:
    """What a field measures, after the source's own description."""
    measure = name.removeprefix("mean_").removeprefix("worst_").removesuffix("_error")
    if name.startswith("mean_"):
        return f"Mean over the cell nuclei of the image: {MEASURES[measure]}"
    if name.startswith("worst_"):
        return f"Mean of the three largest values among the cell nuclei of the image: {MEASURES[measure]}"
    return f"Standard error over the cell nuclei of the image: {MEASURES[measure]}"


def feature_table(name: str, column: Vector) -> str:
    """One [[parameters.features]] table; the example is the median."""
    return FEATURE.substitute(
        name=name,
        title=name.replace("_", " ").capitalize(),
        maximum=plausible_maximum(float(column.max())),
        example=f"{np.median(column):.6g}",
        description=describe(name),
    )


def write_manifest(rows: Matrix, names: list[str], figures: dict[str, float | str], at: float) -> None:
    """manifest.toml without digests: threshold, metrics and the features with their ranges."""
    text = MANIFEST.substitute(
        metrics="\n".join(f"{name} = {json.dumps(figure)}" for name, figure in figures.items()),
        threshold=at,
        sensitivity=figures["sensitivity"],
        specificity=figures["specificity"],
        ppv=figures["ppv"],
        prevalence=figures["prevalence"],
        protocol=figures["protocol"],
        features="\n".join(feature_table(name, column) for name, column in zip(names, rows.T, strict=True)),
    )
    (HERE / "manifest.toml").write_text(text)


def train(data: Path | None) -> None:  # noqa: ARG001 - the data come with scikit-learn
    """Cross-validate, calibrate, choose the threshold, train on every row, write the bundle's files."""
    torch.set_num_threads(1)
    rows, malignant, names = read_rows()
    unseen, areas, floor = cross_validate(rows, malignant)
    slope, offset = platt(unseen, malignant)
    probability = 1 / (1 + np.exp(-(slope * unseen + offset)))
    at = threshold_for(probability, malignant, WANTED_SENSITIVITY)
    figures = measure(probability, malignant, areas, floor, at)

    network = train_ensemble(rows, malignant, SEED)
    network.slope.fill_(slope)
    network.offset.fill_(offset)
    write_graph(network, HERE / "model.onnx")
    shipped = 1 / (1 + np.exp(-(slope * logits_of(network, rows) + offset)))
    chosen = [(row, dict(zip(names, rows[row].tolist(), strict=True))) for row in choose_golden(shipped, at)]
    write_golden(HERE, [(f"row {row} of the data", case) for row, case in chosen])
    write_manifest(rows, names, figures, at)
    (HERE / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
