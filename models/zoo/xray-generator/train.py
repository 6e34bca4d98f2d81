"""Train xray-generator.

Source: PneumoniaMNIST of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023; https://medmnist.com), made from the paediatric chest
X-rays of Kermany et al. (Cell 172:1122, 2018); CC BY 4.0. The folder of the data holds `pneumoniamnist` (`train_val.npz`). The
official test split is not read. About two minutes on one core; seed fixed. `--measure` measures the graph that is there again,
as when pneumonia-xray-28, which the figures ask, has a new version.

Train fits the mixtures; val fits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from xray_figures import (
    EACH,
    Pictures,
    agreement,
    as_files,
    balanced,
    classifier_version,
    distances,
    drawn,
    noise_of,
    real,
    report,
    usefulness,
)
from xray_mixture import DIRECTIONS, NOISE, PARTS, Drawing, fit

from models.pipelines.seeded_noise import LARGEST_SEED
from models.training.chest_xrays import Split, read_splits
from models.training.export import export, parity
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
GRAPH = HERE / "model.onnx"
SEED = 15
PROTOCOL = (
    "pictures of the seeds 0 to 999 of each class; validation split of PneumoniaMNIST, which fitted nothing"
)
COMPARED = 20  # pictures of each class by which the exported graph is compared with the trained model


def train(data: Path) -> None:
    """Fit the mixtures, export, and measure."""
    split, val = read_splits(data / "pneumoniamnist")
    model = Drawing(fit(split, parts=PARTS, seed=SEED)).eval()
    export(model, _feeds(2), GRAPH, inputs=["noise", "label"], outputs=["image"])
    noise, label = _feeds(COMPARED)
    with torch.no_grad():
        image = model(noise, label).numpy()
    gap = parity(GRAPH, {"noise": noise.numpy(), "label": label.numpy()}, {"image": image})
    _ship(split, val, {"parity": gap, "torch": torch.__version__})


def measure(data: Path) -> None:
    """Measure the graph that is there."""
    split, val = read_splits(data / "pneumoniamnist")
    known = json.loads((HERE / "metrics.json").read_text())
    _ship(split, val, {name: known[name] for name in ("parity", "torch")})


def golden_cases() -> list[tuple[str, object]]:
    """Seeds of both classes, at both ends of their range."""
    return [
        ("pneumonia", {"label": "pneumonia", "seed": 7}),
        ("normal, of the same seed", {"label": "normal", "seed": 7}),
        ("three pictures", {"label": "normal", "seed": 100, "count": 3}),
        ("the last of them alone", {"label": "normal", "seed": 102}),
        ("the smallest seed", {"label": "normal", "seed": 0}),
        ("the smallest seed, pneumonia", {"label": "pneumonia", "seed": 0}),
        ("the largest seed", {"label": "pneumonia", "seed": LARGEST_SEED}),
        ("the two largest seeds", {"label": "pneumonia", "seed": LARGEST_SEED - 1, "count": 2}),
        ("eight pictures", {"label": "pneumonia", "seed": 2026, "count": 8}),
    ]


def _feeds(each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise of some seeds for both classes."""
    noise = torch.from_numpy(noise_of(range(each), NOISE))
    return torch.cat([noise, noise]), torch.arange(2).repeat_interleave(each)


def _of_one_gaussian(split: Split) -> Pictures:
    """Pictures of the same seeds by a single Gaussian for each class: the baseline."""
    model = Drawing(fit(split, parts=1, seed=SEED))
    with torch.no_grad():
        return as_files(model(*_feeds(EACH)).numpy(), np.repeat([0, 1], EACH))


def _ship(split: Split, val: Split, more: Mapping[str, object]) -> None:
    """Measure the graph and write the bundle's files."""
    known, asked, pictures = real(split), real(val), drawn(GRAPH, NOISE)
    auc, *ends = usefulness(balanced(known), asked)
    write_report(
        HERE,
        {
            "n": len(pictures),
            **report(pictures, known, asked),
            **distances(pictures, asked, known),
            "baseline": report(_of_one_gaussian(split), known, asked),
            "real": {"n": len(asked), **agreement(asked), "auc": auc, "auc_95": ends},
            "train_n": len(split),
            "noise": NOISE,
            "parts": PARTS,
            "directions": DIRECTIONS,
            "classifier": classifier_version(),
            "seed": SEED,
            **more,
        },
        protocol=PROTOCOL,
    )
    write_golden(HERE, golden_cases(), tolerance=1e-3)
