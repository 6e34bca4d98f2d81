"""Train breast-cancer-wisconsin and write everything of its bundle that comes from the data.

Source: Wolberg, Mangasarian, Street, Street (1993), Breast Cancer Wisconsin (Diagnostic), UCI Machine
Learning Repository, doi:10.24432/C5DW2B, CC BY 4.0; here the copy in scikit-learn. 569 rows, 30 features.

    python -m models.training breast-cancer-wisconsin
    .venv/bin/python -m models seal --golden models/zoo/breast-cancer-wisconsin

train.py writes model.onnx, metrics.json, CARD.md, manifest.toml (without digests) and the inputs of golden.json; seal
fills in expected results and digests. About ten seconds on one core; seeds fixed.
"""

from pathlib import Path

import numpy as np
import torch
from breast_measures import feature_tables
from breast_novelty import FOREIGN_SET, Novelty, foreign_rows, measure_novelty
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from models.training.calibration import platt, threshold_for
from models.training.export import export, parity
from models.training.figures import brier, calibration_error, operating_point
from models.training.writing import write_golden, write_report

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
PROTOCOL = f"{FOLDS}-fold cross-validation, 569 rows, out-of-fold predictions, seed {SEED}"


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


class Shipped(nn.Module):
    """What is exported: the probability [N,1] and the novelty [N,1] of measurements [N,30]."""

    def __init__(self, network: TumorNetwork, novelty: Novelty) -> None:
        super().__init__()
        self.network, self.novelty = network, novelty

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(features), self.novelty(features)


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
) -> dict[str, float]:
    """The figures of the classes, all on out-of-fold predictions."""
    return {
        "auc_mean": float(np.mean(areas)),
        "auc_sd": float(np.std(areas, ddof=1)),
        "auc_logistic_regression": float(np.mean(floor)),
        "accuracy": float(((probability >= at) == (malignant == 1)).mean()),
        **operating_point(probability, malignant, at),
        "brier": brier(probability, malignant),
        "calibration_error": calibration_error(probability, malignant),
    }


def choose_golden(probability: Vector, at: float) -> list[int]:
    """Ten rows by the shipped model: six from surest benign to surest malignant, four at the threshold."""
    order = np.argsort(probability)
    spread = [order[int(share * (len(order) - 1))] for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    nearest = np.argsort(np.abs(probability - at))[:4]
    return list(dict.fromkeys(int(row) for row in (*spread, *nearest)))


def golden_cases(rows: Matrix, names: list[str], chosen: list[int]) -> list[tuple[str, object]]:
    """The chosen rows, and three from which the model abstains."""
    slip = rows[chosen[0]].copy()
    slip[names.index("mean_area")] *= 10
    told = [
        *((f"row {row} of the data", rows[row]) for row in chosen),
        (f"row {chosen[0]} with the point of its mean area slipped", slip),
        ("nothing but zeros", np.zeros(len(names))),
        ("drawn at random from the accepted ranges", foreign_rows(rows, names)["random"][0].round(4)),
    ]
    return [(note, dict(zip(names, row.tolist(), strict=True))) for note, row in told]


def train(data: Path | None) -> None:  # noqa: ARG001 - the data come with scikit-learn
    """Cross-validate, calibrate, choose the threshold, train on every row, write the bundle's files."""
    torch.set_num_threads(1)
    rows, malignant, names = read_rows()
    unseen, areas, floor = cross_validate(rows, malignant)
    slope, offset = platt(unseen, malignant)
    probability = 1 / (1 + np.exp(-(slope * unseen + offset)))
    at = threshold_for(probability, malignant, WANTED_SENSITIVITY)

    network = train_ensemble(rows, malignant, SEED)
    network.slope.fill_(slope)
    network.offset.fill_(offset)
    shipped = Shipped(network, Novelty(rows)).eval()
    path, fed = HERE / "model.onnx", torch.tensor(rows, dtype=torch.float32)
    export(shipped, (fed[:2],), path, inputs=["features"], outputs=["probability", "novelty"])
    with torch.no_grad():
        found = [each.numpy() for each in shipped(fed)]
    figures = {
        **measure(probability, malignant, areas, floor, at),
        "threshold": at,
        **measure_novelty(rows, malignant, names, shipped.novelty),
        "parity": parity(
            path, {"features": fed.numpy()}, dict(zip(["probability", "novelty"], found, strict=True))
        ),
        "protocol": PROTOCOL,
    }
    write_report(HERE, figures, features=feature_tables(names, rows), foreign_set=FOREIGN_SET)
    write_golden(HERE, golden_cases(rows, names, choose_golden(found[0][:, 0].astype(np.float64), at)))
