"""Train blood-cell-type.

Source: BCCD Dataset (Shenggan, cosmicad, akshaylamba; github.com/Shenggan/BCCD_Dataset, MIT): photographs of stained blood
smears, 640 x 480, with boxes of red cells, white cells and platelets. The folder of the data holds `bccd` (`images/*.jpg`,
`boxes/*.xml`, `train.txt`, `val.txt`), and for inputs of another kind `nuclei` (BBBC038, CC0: `images`, `labels`,
`index.csv`) and `pneumoniamnist` (`train_val.npz`, CC BY 4.0). About three minutes on one core; seeds fixed.

Each box is cut out and stretched to 48 x 48 as the pipeline does it. Photographs stay whole: each of those for training is in
one of five folds, and the shipped model is the mean, in logits, of five small residual networks, each trained without one
fold. Temperature, grey zone and novelty limit are fitted to held-out folds; the figures are of the validation photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.pipelines.image_fitting import Fitting
from models.training.calibration import least_probability, softmax, temperature
from models.training.export import export, parity
from models.training.figures import brier, by_class, calibration_error, interval
from models.training.images import ColourStatistics, Pixels, Residual, as_feed, colour_histograms, png_input
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.smears import CLASSES, Box, Smear, drawn_cell, shrunk, smears
from models.training.writing import write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
SIDE = 48
SMALLEST = 12  # pixels of a side of a crop; two boxes of the source have none
FOLDS = 5
EPOCHS = 14
BATCH = 64
VARIANTS = 8  # of each crop, with other margins
MARGINS = (-0.08, 0.22)  # of each side, as a share of the box
FALSE_ALARMS = 0.01  # of the novelty's limit, on photographs kept apart
FIT = Fitting(SIDE, SIDE, fit="stretch")

PROTOCOL = "validation photographs of BCCD, not used for weights, temperature, grey zone or novelty limit"
FOREIGN_SET = "half nuclei cut out of BBBC038 (fluorescence, bright field, stained tissue), half chest X-rays"


@dataclass(frozen=True)
class Cells:
    """Crops uint8 [n,48,48,3], classes [n], number of the photograph [n], whether its edge cuts the cell [n].

    `variants` uint8 [n,k,48,48,3] are the same crops with other margins and resolutions.
    """

    crops: Pixels
    truth: Ints
    photographs: Ints
    cut: NDArray[np.bool_]
    variants: Pixels


# Data


def read_cells(folder: Path, part: str, variants: int = 0) -> tuple[Cells, Pixels]:
    """The cells of the photographs of `part`, and crops [m,48,48,3] of places without cells, at most one a photograph."""
    chance = np.random.default_rng(SEED)
    rows, empty = [], []
    for number, smear in enumerate(smears(folder, part)):
        if (place := smear.empty_box(chance)) is not None:
            empty.append(np.asarray(FIT(smear.crop(place))))
        for kind, box in smear.cells:
            if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
                crops = [FIT(smear.crop(box)), *(varied(smear, box, chance) for _ in range(variants))]
                rows.append((np.stack([np.asarray(crop) for crop in crops]), kind, number, smear.is_cut(box)))
    crops, truth, photographs, cuts = (np.array(each) for each in zip(*rows, strict=True))
    return Cells(crops[:, 0], truth, photographs, cuts, crops[:, 1:]), np.stack(empty)


def varied(smear: Smear, box: Box, chance: np.random.Generator) -> Image.Image:
    """A crop as somebody else might cut it: other margins, and one in four at a lower resolution."""
    crop = smear.crop(box, chance.uniform(*MARGINS, 4))
    if chance.random() < 0.25:
        crop = shrunk(crop, chance.uniform(16, 48) / min(crop.size))
    return FIT(crop)


def foreign_crops(data: Path, chance: np.random.Generator, count: int = 500) -> Pixels:
    """See FOREIGN_SET: uint8 [2 * count,48,48,3]."""
    nuclei: list[Pixels] = []
    names = sorted(path.stem for path in (data / "nuclei" / "labels").glob("*.png"))
    for name in chance.permutation(names):
        [image] = (data / "nuclei" / "images").glob(f"{name}.*")
        picture = Image.open(image).convert("RGB")
        labels = np.asarray(Image.open(data / "nuclei" / "labels" / f"{name}.png"))
        for label in chance.permutation(np.unique(labels[labels > 0]))[:3]:
            down, across = np.nonzero(labels == label)
            box = (int(across.min()) - 2, int(down.min()) - 2, int(across.max()) + 3, int(down.max()) + 3)
            if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
                nuclei.append(np.asarray(FIT(picture.crop(box))))
        if len(nuclei) >= count:
            break
    with np.load(data / "pneumoniamnist" / "train_val.npz") as arrays:
        chests = chance.permutation(arrays["val_images"])[:count]
    return np.stack(
        nuclei[:count] + [np.asarray(FIT(Image.fromarray(chest).convert("RGB"))) for chest in chests]
    )


# Networks


class Network(nn.Module):
    """Crops [n,3,48,48] in 0..1 to logits [n,3]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            Residual(16, 16, halve=False), Residual(16, 32, halve=True), Residual(32, 64, halve=True),
        )  # fmt: skip
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(64, len(CLASSES))

    def forward(self, crops: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.body(4 * crops - 2).mean((2, 3))))
        return logits


def augmented(crops: Tensor) -> Tensor:
    """Turned and mirrored, with another contrast, brightness and tint of each crop."""
    if torch.rand(()) < 0.5:
        crops = crops.transpose(2, 3)
    crops = crops.flip([axis for axis in (2, 3) if torch.rand(()) < 0.5])
    mean, n = crops.mean((2, 3), keepdim=True), len(crops)
    crops = mean + (crops - mean) * torch.exp(swing(n, 1) * 0.3)
    return (crops * torch.exp(swing(n, 3) * 0.12) + swing(n, 1) * 0.08).clamp(0, 1)


def swing(count: int, channels: int) -> Tensor:
    return torch.rand(count, channels, 1, 1) * 2 - 1


def fit(cells: Cells, keep: NDArray[np.bool_], seed: int) -> Network:
    """A network of the cells to keep. A rare class weighs more, by the root of its rarity."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    rows = np.flatnonzero(keep)
    weights = torch.tensor(len(rows) / np.bincount(cells.truth[rows])).float().sqrt()
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=EPOCHS * (len(rows) // BATCH))
    for _ in range(EPOCHS):
        for batch in chance.permutation(rows)[: len(rows) // BATCH * BATCH].reshape(-1, BATCH):
            crops = as_feed(cells.variants[batch, chance.integers(0, VARIANTS, BATCH)])
            truth = torch.from_numpy(cells.truth[batch])
            loss = F.cross_entropy(network(augmented(crops)), truth, weight=weights, label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
    return network.eval()


class Novelty(nn.Module):
    """How far the statistics of a crop are from those of the nearest kind of cell: [n,3,48,48] -> [n,1]."""

    scale: Tensor

    def __init__(self, crops: Pixels, truth: Ints) -> None:
        super().__init__()
        self.statistics = ColourStatistics()
        with torch.no_grad():
            known = self.statistics(as_feed(crops))
        self.register_buffer("scale", known.std(0))
        scaled = (known / self.scale).double().numpy()
        self.kinds = nn.ModuleList(Mahalanobis(scaled[truth == kind]) for kind in range(len(CLASSES)))

    def forward(self, crops: Tensor) -> Tensor:
        scaled = self.statistics(crops) / self.scale
        return torch.cat([kind(scaled) for kind in self.kinds], 1).amin(1, keepdim=True)


class Ensemble(nn.Module):
    """What is exported: the members' mean logits at a temperature, and the novelty."""

    def __init__(self, members: Sequence[Network], temperature: float, novelty: Novelty) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature
        self.novelty = novelty

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.stack([member(image) for member in self.members]).mean(0)
        return torch.softmax(logits / self.temperature, 1), self.novelty(image)


# Figures


@torch.no_grad()
def logits_of(network: nn.Module, crops: Pixels) -> Floats:
    """Logits [n,3]."""
    parts = [network(as_feed(crops[start : start + 256])) for start in range(0, len(crops), 256)]
    return torch.cat(parts).double().numpy()


@torch.no_grad()
def answers(model: Ensemble, crops: Pixels) -> tuple[Floats, Floats]:
    """Probabilities [n,3] and novelty [n] of the model that is shipped."""
    parts = [model(as_feed(crops[start : start + 256])) for start in range(0, len(crops), 256)]
    found, novelty = (torch.cat(each).double().numpy() for each in zip(*parts, strict=True))
    return found, novelty[:, 0]


def macro_f1(truth: Ints, answered: Ints) -> float:
    """Mean of the F1 scores of the classes that occur."""
    table = np.bincount(len(CLASSES) * truth + answered, minlength=len(CLASSES) ** 2)
    table = table.reshape(len(CLASSES), len(CLASSES))
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(2 * table.diagonal() / (table.sum(0) + table.sum(1))))


def baseline_f1(cells: Cells, val: Cells) -> float:
    """Macro F1 on the validation photographs of a logistic regression of colour histograms."""
    weighed = LogisticRegression(C=100, max_iter=1000, class_weight="balanced")
    weighed.fit(colour_histograms(cells.crops), cells.truth)
    return macro_f1(val.truth, weighed.predict(colour_histograms(val.crops)))


def recropped(data: Path) -> dict[str, Pixels]:
    """The validation cells with a margin of 15 % on each side, and at half and a quarter of their resolution."""
    found: dict[str, list[Pixels]] = {"margin": [], "half": [], "quarter": []}
    for smear in smears(data / "bccd", "val"):
        for _, box in smear.cells:
            if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
                found["margin"].append(np.asarray(FIT(smear.crop(box, (0.15,) * 4))))
                for name, share in (("half", 0.5), ("quarter", 0.25)):
                    found[name].append(np.asarray(FIT(shrunk(smear.crop(box), share))))
    return {name: np.stack(crops) for name, crops in found.items()}


def figures(model: Ensemble, val: Cells, least: float, limit: float) -> dict[str, object]:
    """Of the model that is shipped, on the validation photographs."""
    probabilities, novelty = answers(model, val.crops)
    truth, answered = val.truth, probabilities.argmax(1)
    clear = (probabilities.max(1) >= least) & (novelty < limit)
    return {
        "cells": len(truth),
        "photographs": len(set(val.photographs)),
        "macro_f1": macro_f1(truth, answered),
        "macro_f1_95": interval(lambda drawn: macro_f1(truth[drawn], answered[drawn]), val.photographs.tolist(), seed=SEED),
        "accuracy": (answered == truth).mean(),
        **by_class(answered, truth, list(CLASSES.values())),
        "macro_f1_cut": macro_f1(truth[val.cut], answered[val.cut]),
        "macro_f1_whole": macro_f1(truth[~val.cut], answered[~val.cut]),
        "brier": brier(probabilities, truth),
        "ece": calibration_error(probabilities, truth),
        "abstained": (~clear).mean(),
        "novel_validation": (novelty >= limit).mean(),
        "macro_f1_answered": macro_f1(truth[clear], answered[clear]),
        "protocol": PROTOCOL,
    }  # fmt: skip


def held_out(cells: Cells, folds: Ints, members: Sequence[Network]) -> tuple[Floats, Floats]:
    """Logits [n,3] and novelty [n] of each training cell, by the network and the detector that did not see its photograph."""
    logits, novelty = np.zeros((len(folds), len(CLASSES))), np.zeros(len(folds))
    for fold, member in enumerate(members):
        apart = folds == fold
        logits[apart] = logits_of(member, cells.crops[apart])
        detector = Novelty(cells.variants[~apart, 0], cells.truth[~apart])
        with torch.no_grad():
            novelty[apart] = detector(as_feed(cells.crops[apart]))[:, 0].numpy()
    return logits, novelty


# Golden cases


def golden_cases() -> list[tuple[str, object]]:
    red, white, platelet = drawn_cell("rbc", 50, 1), drawn_cell("wbc", 80, 1), drawn_cell("platelets", 20, 1)
    return [
        ("a red cell", png_input(red)),
        ("the same at a third of its resolution", png_input(shrunk(red, 1 / 3))),
        ("the same, cut by an edge", png_input(red.crop((0, 0, red.width, round(red.height * 0.7))))),
        ("a white cell", png_input(white)),
        ("the same on its side, twice as wide", png_input(white.resize((white.width * 2, white.height)))),
        ("a platelet", png_input(platelet)),
        ("the same three times as large", png_input(platelet.resize((platelet.width * 3, platelet.height * 3)))),
        ("a palette of 16 colours", png_input(white.quantize(16))),
        ("an empty place, from which it abstains", png_input(Image.new("RGB", (60, 60), (191, 185, 184)))),
        ("grey, from which it abstains", png_input(red.convert("L"))),
    ]  # fmt: skip


def train(data: Path) -> None:
    torch.set_num_threads(1)  # whatever the machine has: sums of other parts round otherwise
    cells, _ = read_cells(data / "bccd", "train", VARIANTS)
    val, empty = read_cells(data / "bccd", "val")
    folds = np.zeros(len(cells.truth), np.int64)
    cut = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for number, (_, apart) in enumerate(cut.split(folds, cells.truth, cells.photographs)):
        folds[apart] = number
    members = []
    for fold in range(FOLDS):
        members.append(fit(cells, folds != fold, SEED + fold))
        print(f"trained without fold {fold + 1} of {FOLDS}", flush=True)
    logits, novelty = held_out(cells, folds, members)
    warmth = temperature(logits, cells.truth)
    least = least_probability(softmax(logits / warmth), cells.truth)
    model = Ensemble(members, warmth, Novelty(cells.variants[:, 0], cells.truth)).eval()
    foreign = answers(model, foreign_crops(data, np.random.default_rng(SEED)))[1]
    detector = novelty_figures(novelty, foreign, FALSE_ALARMS)
    limit = detector["novelty_limit"]
    path, checked = HERE / "model.onnx", as_feed(val.crops[:300])
    export(model, (checked[:4],), path, inputs=["image"], outputs=["probabilities", "novelty"])
    with torch.no_grad():
        wanted = dict(
            zip(("probabilities", "novelty"), (each.numpy() for each in model(checked)), strict=True)
        )
    report = {
        **figures(model, val, least, limit),
        "macro_f1_histogram": baseline_f1(cells, val),
        "macro_f1_cross_validation": macro_f1(cells.truth, logits.argmax(1)),
        **{
            f"macro_f1_{name}": macro_f1(val.truth, answers(model, crops)[0].argmax(1))
            for name, crops in recropped(data).items()
        },
        "cells_train": len(cells.truth),
        "least_probability": least,
        **detector,
        "catch_rate_nuclei": (foreign[: len(foreign) // 2] >= limit).mean(),
        "catch_rate_chests": (foreign[len(foreign) // 2 :] >= limit).mean(),
        "catch_rate_empty": (answers(model, empty)[1] >= limit).mean(),
        "temperature": warmth,
        "parity": parity(path, {"image": checked.numpy()}, wanted),
        "seed": SEED,
        "torch": torch.__version__,
    }  # fmt: skip
    write_report(HERE, report, foreign_set=FOREIGN_SET)
    write_golden(HERE, golden_cases())
