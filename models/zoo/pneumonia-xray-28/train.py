"""Train, calibrate and export the pneumonia model for 28x28 chest X-rays.

Source: PneumoniaMNIST of MedMNIST v2 (Yang et al., Sci Data 10:41, 2023; https://medmnist.com), made from
the paediatric chest X-rays of Kermany et al. (Cell 172:1122, 2018); CC BY 4.0. `--data` names a folder that
holds `train_val.npz` with `train_images`, `train_labels`, `val_images` and `val_labels`. The official test
split is not read.

    python -m models.training pneumonia-xray-28 --data DIR    (or python train.py --data DIR)

writes `model.onnx` and `metrics.json`. The shipped model is the mean, in logits, of five small residual
networks, each trained with another fifth of the train split held out; the held-out fifths give the
calibration. Four more networks, each tested on a *kind* of image it never saw, give the threshold. The val
split fits nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.export import save
from models.training.figures import brier, calibration_error
from models.training.images import Residual

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SIDE = 28
OPSET = 18
NAME = "pneumonia-xray-28"


@dataclass(frozen=True)
class Ranges:
    """The outer edges of the augmentation; `even` gives every image the full ranges, else each draws a share."""

    even: bool
    zoom: float
    stretch: float
    rotate_deg: float
    shift: float
    gamma: float
    shading: float
    contrast: float
    brightness: float
    blur: float
    noise: float
    erase: float


TRAINING = Ranges(
    even=False, zoom=0.32, stretch=0.12, rotate_deg=15, shift=0.12, gamma=0.5, shading=0.3, contrast=0.6,
    brightness=0.2, blur=1.0, noise=0.04, erase=0.15,
)  # fmt: skip

STRESS = Ranges(
    even=True, zoom=0.2, stretch=0.1, rotate_deg=12, shift=0.1, gamma=0.4, shading=0.25, contrast=0.35,
    brightness=0.15, blur=0.8, noise=0.03, erase=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights besides the data; written into metrics.json."""

    seed: int = 20
    members: int = 5
    shift_folds: int = 4
    epochs: int = 25
    batch: int = 64
    widths: tuple[int, int, int] = (16, 32, 64)
    learning_rate: float = 6e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    smoothing: float = 0.05
    average_decay: float = 0.99
    augmentation: Ranges = TRAINING


@dataclass(frozen=True)
class Split:
    """Images float32 [n, 1, 28, 28] in 0..1 and labels float32 [n], 1 = pneumonia."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, keep: NDArray[np.bool_]) -> Split:
        chosen = torch.from_numpy(keep)
        return Split(self.images[chosen], self.labels[chosen])

    @property
    def truth(self) -> Ints:
        return self.labels.numpy().astype(np.int64)


# Data


def read_splits(folder: Path) -> tuple[Split, Split]:
    """Train and val; train loses its repeats and every image that also stands in val, compared by bytes."""
    with np.load(folder / "train_val.npz") as arrays:
        train, val = ((arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "val"))
    seen = {image.tobytes() for image in val[0]}
    fresh = []
    for image in train[0]:
        fresh.append(image.tobytes() not in seen)
        seen.add(image.tobytes())
    keep = np.array(fresh)
    return as_split(train[0][keep], train[1][keep]), as_split(*val)


def as_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    return Split(grey, torch.from_numpy(labels[:, 0]).float())


def random_folds(split: Split, recipe: Recipe) -> Ints:
    """Fold number of each image: stratified by label, otherwise by chance."""
    folds = np.zeros(len(split), dtype=np.int64)
    cut = StratifiedKFold(recipe.members, shuffle=True, random_state=recipe.seed)
    for number, (_, held_out) in enumerate(cut.split(folds, split.truth)):
        folds[held_out] = number
    return folds


def shift_folds(split: Split, recipe: Recipe) -> Ints:
    """Fold number of each image: by exposure and framing, so that a fold's images look unlike all others.

    k-means inside each class on ten principal components of the 7x7 thumbnail. The official test split comes
    from other patients than train and val; random folds flatter the model, these folds do not.
    """
    thumbnails = F.avg_pool2d(split.images, 4).flatten(1).numpy()
    parts = PCA(10, random_state=recipe.seed).fit_transform(thumbnails)
    folds = np.zeros(len(split), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(split.truth == label)
        folds[rows] = KMeans(recipe.shift_folds, n_init=5, random_state=recipe.seed).fit_predict(parts[rows])
    return folds


# Augmentation: each function takes and returns images float32 [n, 1, 28, 28] in 0..1


def augment(images: Tensor, ranges: Ranges) -> Tensor:
    """Change framing, exposure and sharpness. Each image draws how hard it is hit: some stay nearly as they are."""
    severity = torch.ones(len(images)) if ranges.even else torch.rand(len(images))
    images = move(images, ranges, severity)
    severity = severity.view(-1, 1, 1, 1)
    images = expose(images, ranges, severity)
    return erase(degrade(images, ranges, severity), ranges)


def swing(severity: Tensor, reach: float) -> Tensor:
    """Uniform draws in -reach..reach, scaled by severity; shaped like it."""
    return (torch.rand_like(severity) * 2 - 1) * reach * severity


def chance(count: int, probability: float) -> Tensor:
    return torch.rand(count, 1, 1, 1) < probability


def move(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Mirror, rotate, zoom, stretch and shift."""
    angle = swing(severity, math.radians(ranges.rotate_deg))
    step = torch.exp(swing(severity, ranges.zoom) - severity * ranges.zoom / 4)  # rather closer than farther
    stretch = torch.exp(swing(severity, ranges.stretch))
    flip = torch.where(torch.rand_like(severity) < 0.5, -1.0, 1.0)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * step * stretch * flip
    theta[:, 0, 1] = -torch.sin(angle) * step
    theta[:, 1, 0] = torch.sin(angle) * step * flip
    theta[:, 1, 1] = torch.cos(angle) * step / stretch
    theta[:, 0, 2] = swing(severity, 2 * ranges.shift)
    theta[:, 1, 2] = swing(severity, 2 * ranges.shift)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def expose(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Gamma, uneven shading over the field, contrast and brightness."""
    images = images.clamp(0, 1) ** torch.exp(swing(severity, ranges.gamma))
    coarse = swing(severity.expand(-1, 1, 3, 3), ranges.shading) * chance(len(images), 0.5)
    shading = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    images = images * (1 + shading) + 0.3 * shading
    mean = images.mean((2, 3), keepdim=True)
    images = mean + (images - mean) * torch.exp(swing(severity, ranges.contrast))
    return (images + swing(severity, ranges.brightness)).clamp(0, 1)


def degrade(images: Tensor, ranges: Ranges, severity: Tensor) -> Tensor:
    """Blur or sharpen every other image, add noise to every other one."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).view(1, 1, 3, 3)
    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel)
    images = images + (blurred - images) * swing(severity, ranges.blur) * chance(len(images), 0.5)
    level = swing(severity, ranges.noise).abs() * chance(len(images), 0.5)
    return (images + torch.randn_like(images) * level).clamp(0, 1)


def erase(images: Tensor, ranges: Ranges) -> Tensor:
    """Paint one rectangle of an even grey over some images."""
    n = len(images)
    size = (0.15 + 0.3 * torch.rand(n, 2)) * SIDE
    start = torch.rand(n, 2) * (SIDE - size)
    line = torch.arange(SIDE)
    rows, columns = ((line >= start[:, i : i + 1]) & (line < (start + size)[:, i : i + 1]) for i in (0, 1))
    box = rows[:, None, :, None] & columns[:, None, None, :] & chance(n, ranges.erase)
    return torch.where(box, torch.rand(n, 1, 1, 1), images)


# Network


class Network(nn.Module):
    """Images [n, 1, 28, 28] in 0..1 to an evidence map [n, 1, 7, 7]; its mean is the logit of pneumonia."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        small, middle, large = recipe.widths
        self.body = nn.Sequential(
            nn.Conv2d(2, small, 3, padding=1, bias=False),
            nn.BatchNorm2d(small),
            nn.ReLU(),
            Residual(small, small, halve=False),
            Residual(small, middle, halve=True),
            Residual(middle, middle, halve=False),
            Residual(middle, large, halve=True),
            Residual(large, large, halve=False),
        )
        self.drop = nn.Dropout2d(recipe.dropout)
        self.head = nn.Conv2d(large, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        evidence: Tensor = self.head(self.drop(self.body(standardise(images))))
        return evidence


def standardise(images: Tensor) -> Tensor:
    """Two channels without the exposure: z-score over the image, and z-score over each 9x9 surrounding."""
    centred = images - images.mean((2, 3), keepdim=True)
    whole = centred / ((centred * centred).mean((2, 3), keepdim=True).sqrt() + 0.02)
    local = whole - surrounding(whole)
    local = local / (surrounding(local * local).sqrt() + 0.2)
    return torch.cat([whole.clamp(-4, 4), local.clamp(-4, 4)], 1)


def surrounding(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 9, stride=1, padding=4, count_include_pad=False)


class Ensemble(nn.Module):
    """What is exported: the members' mean evidence over the image and its mirror image, calibrated."""

    def __init__(self, members: list[Network], calibration: Calibration) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.calibration = calibration

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mirrored = image.flip(3)
        maps = [member(image) + member(mirrored).flip(3) for member in self.members]
        evidence = torch.stack(maps).mean(0) / 2
        cam = evidence * self.calibration.slope + self.calibration.offset
        return torch.sigmoid(cam.mean((2, 3))), cam


# Training


def fit(split: Split, recipe: Recipe, seed: int) -> Network:
    """One network, its weights averaged exponentially over the steps."""
    torch.manual_seed(seed)
    network = Network(recipe)
    averaged = {name: value.clone() for name, value in network.state_dict().items()}
    steps = recipe.epochs * (len(split) // recipe.batch)
    optimiser = make_optimiser(network, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2
    )
    class_weights = len(split) / 2 / torch.bincount(split.labels.long())
    for step, rows in enumerate(batches(split, recipe)):
        loss = batch_loss(network, split.images[rows], split.labels[rows], class_weights, recipe)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        schedule.step()
        average(averaged, network, min(recipe.average_decay, (1 + step) / (10 + step)))
    network.load_state_dict(averaged)
    network.eval()
    return network


def make_optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays the kernels and leaves norms and biases alone."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def batches(split: Split, recipe: Recipe) -> Iterator[Tensor]:
    """Row numbers of each step's batch, reshuffled every epoch; the ragged last batch is left out."""
    whole = len(split) // recipe.batch * recipe.batch
    for _ in range(recipe.epochs):
        yield from torch.split(torch.randperm(len(split))[:whole], recipe.batch)


def batch_loss(network: Network, images: Tensor, labels: Tensor, weights: Tensor, recipe: Recipe) -> Tensor:
    """Smoothed cross-entropy in which both classes weigh the same, whatever their shares."""
    targets = labels * (1 - recipe.smoothing) + recipe.smoothing / 2
    images = augment(images, recipe.augmentation)
    with torch.autocast("cpu", torch.bfloat16):
        evidence = network(images.contiguous(memory_format=torch.channels_last))
    logits = evidence.float().mean((1, 2, 3))
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * weights[labels.long()]).mean()


@torch.no_grad()
def average(averaged: dict[str, Tensor], network: Network, decay: float) -> None:
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            averaged[name].lerp_(value, 1 - decay)


@torch.no_grad()
def score(network: Network, split: Split) -> Floats:
    """Logits [n], each the mean over the image and its mirror image."""
    parts = [(network(x) + network(x.flip(3))).mean((1, 2, 3)) / 2 for x in torch.split(split.images, 256)]
    return torch.cat(parts).double().numpy()


def cross_fit(split: Split, folds: Ints, recipe: Recipe, seed: int) -> list[Network]:
    """One network for each fold, trained without it."""
    networks = []
    for fold in range(int(folds.max()) + 1):
        networks.append(fit(split.where(folds != fold), recipe, seed + fold))
        print(f"trained without fold {fold} of {int(folds.max()) + 1}", flush=True)
    return networks


def score_held_out(networks: list[Network], split: Split, folds: Ints) -> Floats:
    """Logits [n], each by the network that was trained without the image's fold."""
    logits = np.zeros(len(split))
    for fold, network in enumerate(networks):
        logits[folds == fold] = score(network, split.where(folds == fold))
    return logits


def degraded(split: Split, seed: int) -> Split:
    """The same cases as badly taken pictures: off centre, tilted, poorly exposed, blurred, noisy."""
    torch.manual_seed(seed)
    return Split(augment(split.images, STRESS), split.labels)


# Calibration, threshold, figures


@dataclass(frozen=True)
class Calibration:
    """Platt scaling: probability = sigmoid(slope * logit + offset)."""

    slope: float
    offset: float

    def __call__(self, logits: Floats) -> Floats:
        return 1 / (1 + np.exp(-(self.slope * logits + self.offset)))


def calibrate(logits: Floats, truth: Ints) -> Calibration:
    fitted = LogisticRegression(C=np.inf).fit(logits[:, None], truth)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def choose_threshold(conditions: list[Floats], truth: Ints) -> float:
    """The threshold with the best balanced accuracy, averaged over conditions; the classes' shares do not matter.

    Networks trained on these images lose specificity on other patients' pictures (published accuracy on the test
    split: .854 against .97 on val), so the threshold must also serve images unlike those of training.
    """
    candidates = [round(0.30 + 0.01 * step, 2) for step in range(69)]
    means = [np.mean([balanced(c, truth, candidate) for c in conditions]) for candidate in candidates]
    return candidates[int(np.argmax(means))]


def balanced(probabilities: Floats, truth: Ints, threshold: float) -> float:
    found = rates(probabilities, truth, threshold)
    return (found["sensitivity"] + found["specificity"]) / 2


def rates(probabilities: Floats, truth: Ints, threshold: float) -> dict[str, float]:
    called, sick = probabilities >= threshold, truth == 1
    return {
        "accuracy": float((called == sick).mean()),
        "sensitivity": float(called[sick].mean()),
        "specificity": float((~called[~sick]).mean()),
        "ppv": float(sick[called].mean()),
        "npv": float((~sick[~called]).mean()),
    }


def auc_interval(probabilities: Floats, truth: Ints, seed: int, draws: int = 2000) -> list[float]:
    """95% percentile bootstrap interval of the AUC."""
    chooser = np.random.default_rng(seed)
    samples = (chooser.integers(0, len(truth), len(truth)) for _ in range(draws))
    values = [roc_auc_score(truth[rows], probabilities[rows]) for rows in samples]
    return [float(edge) for edge in np.quantile(values, [0.025, 0.975])]


def figures(probabilities: Floats, truth: Ints, threshold: float, seed: int) -> dict[str, object]:
    return {
        "n": len(truth),
        "prevalence": float(truth.mean()),
        "auc": float(roc_auc_score(truth, probabilities)),
        "auc_95": auc_interval(probabilities, truth, seed),
        **rates(probabilities, truth, threshold),
        "ece": calibration_error(probabilities, truth),
        "brier": brier(probabilities, truth),
    }


# Export


def export(ensemble: Ensemble, path: Path) -> None:
    """Write the ONNX file."""
    program = torch.onnx.export(
        ensemble.eval(),
        (torch.rand(4, 1, SIDE, SIDE),),
        input_names=["image"],
        output_names=["probability", "cam"],
        dynamic_shapes={"image": {0: torch.export.Dim("N")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    model.graph.name, model.doc_string = NAME, ""
    save(model, path)


def score_exported(path: Path, split: Split) -> Floats:
    """Probabilities [n] of the written file; raises AssertionError when a row depends on its neighbours."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = split.images.numpy()
    chunks = [images[i : i + 32] for i in range(0, len(images), 32)]
    batched = np.concatenate([session.run(["probability"], {"image": chunk})[0] for chunk in chunks])
    alone = np.concatenate(
        [session.run(["probability"], {"image": images[i : i + 1]})[0] for i in range(len(images))]
    )
    assert np.abs(batched - alone).max() < 1e-5
    return batched[:, 0].astype(np.float64)


def versions() -> dict[str, str]:
    found = {module.__name__: str(module.__version__) for module in (np, sklearn, onnx, onnxruntime, torch)}
    return {"python": platform.python_version(), **found}


# Command


def cross_validate(train: Split, recipe: Recipe) -> tuple[list[Network], dict[str, Floats]]:
    """The members, and logits [n] of train under three conditions, each by a network that never saw the image."""
    usual, unusual = random_folds(train, recipe), shift_folds(train, recipe)
    members = cross_fit(train, usual, recipe, recipe.seed)
    strangers = cross_fit(train, unusual, recipe, recipe.seed + 100)
    return members, {
        "cross_validation": score_held_out(members, train, usual),
        "unseen_kinds": score_held_out(strangers, train, unusual),
        "unseen_kinds_degraded": score_held_out(strangers, degraded(train, recipe.seed), unusual),
    }


def build(train: Split, val: Split, recipe: Recipe, out: Path) -> dict[str, object]:
    """Train, calibrate, choose the threshold, export, and measure the exported file on val."""
    members, logits = cross_validate(train, recipe)
    calibration = calibrate(logits["cross_validation"], train.truth)
    conditions = {name: calibration(found) for name, found in logits.items()}
    threshold = choose_threshold(list(conditions.values()), train.truth)
    export(Ensemble(members, calibration), out / "model.onnx")
    probabilities = score_exported(out / "model.onnx", val)
    return {
        "threshold": threshold,
        "validation": figures(probabilities, val.truth, threshold, recipe.seed),
        "validation_at_half": rates(probabilities, val.truth, 0.5),
        **{name: figures(found, train.truth, threshold, recipe.seed) for name, found in conditions.items()},
        "calibration": asdict(calibration),
    }


def rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def train(data: Path) -> None:
    """Write model.onnx and metrics.json. On one thread, whatever the machine has: the weights depend on it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    recipe = Recipe()
    train_split, val = read_splits(data)
    report = build(train_split, val, recipe, HERE)
    report |= {"train_n": len(train_split), "recipe": asdict(recipe), "versions": versions()}
    (HERE / "metrics.json").write_text(json.dumps(rounded(report), indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train and export the pneumonia model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train_val.npz")
    train(parser.parse_args().data)
