"""Train blood-cell-detection.

Source: BCCD Dataset (Shenggan, cosmicad, akshaylamba; github.com/Shenggan/BCCD_Dataset, MIT): photographs of stained blood
smears, 640 x 480, with boxes of red cells, white cells and platelets. The folder of the data holds `bccd` (`images/*.jpg`,
`boxes/*.xml`, `train.txt`, `val.txt`), and for images of another kind `nuclei` (BBBC038, CC0: `images`) and `pneumoniamnist`
(`train_val.npz`, CC BY 4.0). About five minutes on two cores; seeds fixed.

A small network without anchors (see models.training.detectors) is trained on five sixths of the photographs for training. To
the others its scores are calibrated, and its thresholds chosen. The figures are of the validation photographs.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import QuantileRegressor
from smear_views import HEIGHT, WIDTH, Photographs, Pixels, read_photographs, view
from torch import Tensor, nn

from models.detection_figures import Boxes, Matches, average_precisions, count_errors, counts, matched
from models.pipelines.image_fitting import Fitting
from models.sandbox import cpu_session
from models.training.calibration import platt
from models.training.detectors import STRIDE, Decoded, Detector, loss_of, targets_of, with_suppression
from models.training.export import export, parity, save
from models.training.figures import brier, calibration_error, interval, share
from models.training.images import ColourStatistics, as_feed, png_input
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.quick_products import quick_products
from models.training.smears import CLASSES, drawn_cell
from models.training.writing import write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
TOLERANCE = 1e-3  # of pixels: float32 moves by steps of 3e-5 from 256 pixels on, and sums round otherwise on another processor
SHAPE = HEIGHT, WIDTH
EPOCHS = 48
BATCH = 8
RATE = 3e-3
STEADY = 0.99  # of the mean of the weights over the steps, which is what is used
OVERLAP = 0.5  # from which the lower scored of two boxes of a class is suppressed
LEAST = 0.02  # least score before calibration
MOST = 150  # boxes of an image
COUNTED = 0.05  # from which score on boxes are judged for calibration
FALSE_ALARMS = 0.02  # of the novelty's limit, on photographs kept apart
FOREIGN_SET = "half microscope images of nuclei (BBBC038: fluorescence, bright field, stained tissue), half chest X-rays"
PROTOCOL = "validation photographs of BCCD, not used for weights, calibration, thresholds or novelty limit"
NAMES = list(CLASSES.values())


class Model(nn.Module):
    """What is exported: boxes and scores before suppression, and how far the image's colours are from those of smears."""

    scale: Tensor

    def __init__(self, decoded: Decoded, fed: Pixels) -> None:
        super().__init__()
        self.decoded = decoded
        self.statistics = ColourStatistics()
        known, scale = statistics_of(fed)
        self.register_buffer("scale", torch.from_numpy(scale).float())
        self.novelty = Mahalanobis(known / scale)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores = self.decoded(image)
        return boxes, scores, self.novelty(self.statistics(image) / self.scale)


@torch.no_grad()
def statistics_of(fed: Pixels) -> tuple[Floats, Floats]:
    """Statistics [n,F] of images, and the spread of each [F]."""
    known = np.concatenate(
        [ColourStatistics()(as_feed(fed[row : row + 1])).double().numpy() for row in range(len(fed))]
    )
    return known, known.std(0)


def fit(photographs: Photographs, seed: int) -> Detector:
    """A detector of these photographs: the mean of its weights over the steps of training."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    detector, mean = Detector(len(CLASSES)), Detector(len(CLASSES))
    mean.load_state_dict(detector.state_dict())
    steps = len(photographs.pictures) // BATCH
    optimiser = torch.optim.AdamW(detector.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=EPOCHS * steps, pct_start=0.15
    )
    done = 0
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in chance.permutation(len(photographs.pictures))[: steps * BATCH].reshape(-1, BATCH):
            views = [view(photographs.pictures[row], photographs.boxes[row], chance) for row in rows]
            wanted = targets_of(
                [each for _, each in views], (HEIGHT // STRIDE, WIDTH // STRIDE), len(CLASSES)
            )
            with quick_products():
                centres, edges = detector(torch.stack([image for image, _ in views]))
            loss = loss_of(centres.float(), edges.float(), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total, done = total + loss.item(), done + 1
            follow(mean, detector, min(STEADY, (1 + done) / (10 + done)))
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / steps:.3f}", flush=True)
    return mean.eval()


@torch.no_grad()
def follow(mean: nn.Module, now: nn.Module, steady: float) -> None:
    """Move the mean of the weights, and of the statistics of normalization, towards those of now."""
    for old, new in zip(mean.state_dict().values(), now.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - steady)
        else:
            old.copy_(new)


def write_graph(detector: Detector, slopes: Floats, offsets: Floats, fed: Pixels, path: Path) -> float:
    """Export the model with its suppression; returns the largest difference of boxes and scores before it."""
    model = Model(Decoded(detector, SHAPE, slopes, offsets), fed).eval()
    export(model, (as_feed(fed[:2]),), path, inputs=["image"], outputs=["boxes", "scores", "novelty"])
    with torch.no_grad():
        wanted = model(as_feed(fed[:8]))
    names = ("boxes", "scores", "novelty")
    gap = parity(
        path,
        {"image": as_feed(fed[:8]).numpy()},
        {name: each.numpy() for name, each in zip(names, wanted, strict=True)},
        0.05,
    )
    least = float(1 / (1 + np.exp(-(slopes * np.log(LEAST / (1 - LEAST)) + offsets)).max()))
    save(with_suppression(onnx.load(path), overlap=OVERLAP, least=least, most=MOST), path)
    return gap


def found_by(path: Path, photographs: Photographs) -> list[Boxes]:
    """The boxes of photographs, in their pixels, by the graph that is shipped."""
    session, found = cpu_session(path, threads=2), []
    for row, picture in enumerate(as_feed(photographs.fed())):
        edges, scores, labels = (
            each[0] for each in session.run(["boxes", "scores", "labels"], {"image": picture[None].numpy()})
        )
        kept = scores > 0
        scale = photographs.scales()[row]
        found.append(Boxes(edges[kept] * scale, labels[kept], scores[kept].astype(float)))
    return found


def compared(found: Sequence[Boxes], photographs: Photographs) -> list[Matches]:
    """Each image's boxes beside those that were drawn."""
    return [matched(one, drawn) for one, drawn in zip(found, photographs.boxes, strict=True)]


# Calibration


def calibrated(matches: Sequence[Matches]) -> tuple[Floats, Floats, Floats]:
    """Slope, offset and threshold of each class: that of the least mean error of counts, in hundredths."""
    labels, scores, right = (np.concatenate([each[place] for each in matches]) for place in range(3))
    logits = np.log(scores / (1 - scores))
    fitted = [platt(logits[labels == kind], right[labels == kind]) for kind in range(len(CLASSES))]
    slopes, offsets = (np.array(each) for each in zip(*fitted, strict=True))
    thresholds = []
    for kind in range(len(CLASSES)):
        own = [
            1
            / (1 + np.exp(-slopes[kind] * np.log(each.scores / (1 - each.scores)) - offsets[kind]))[
                each.labels == kind
            ]
            for each in matches
        ]
        drawn = np.array([(each.drawn == kind).sum() for each in matches])
        steps = np.arange(20, 81) / 100
        errors = [np.abs(np.array([(each >= step).sum() for each in own]) - drawn).mean() for step in steps]
        best = np.flatnonzero(np.array(errors) <= min(errors) + 1e-9)
        thresholds.append(float(steps[best[len(best) // 2]]))
    return slopes, offsets, np.array(thresholds)


# Figures


def numbers(found: Sequence[Boxes], thresholds: Floats) -> Ints:
    """How many of each class [I,C] are answered."""
    kept = [each.labels[each.scores >= thresholds[each.labels]] for each in found]
    return counts(kept, len(CLASSES))


def mean_precision(matches: Sequence[Matches]) -> float:
    return float(np.nanmean(average_precisions(matches, len(CLASSES))))


def figures(path: Path, val: Photographs, train_counts: Ints, thresholds: Floats) -> dict[str, object]:
    """Of the shipped graph on the validation photographs."""
    found = found_by(path, val)
    matches = compared(found, val)
    number = len(matches)
    drawn = counts([each.labels for each in val.boxes], len(CLASSES))
    errors = np.abs(numbers(found, thresholds) - drawn)
    baseline = np.abs(train_counts.mean(0) - drawn)
    labels, scores, right = (np.concatenate([each[place] for each in matches]) for place in range(3))
    judged, answered = scores >= COUNTED, scores >= thresholds[labels]
    precision = dict(zip(NAMES, average_precisions(matches, len(CLASSES)).tolist(), strict=True))
    crowded = drawn.sum(1) > np.median(drawn.sum(1))

    def precisions(rows: Ints) -> list[float]:
        return average_precisions([matches[row] for row in rows], len(CLASSES)).tolist()

    return {
        "photographs": number,
        **red_counts(found, drawn[:, 0]),
        "cells": int(drawn.sum()),
        "map50": mean_precision(matches),
        "map50_95": interval(lambda rows: mean_precision([matches[row] for row in rows]), number, seed=SEED),
        "ap50": precision,
        **{
            f"ap50_{name}_95": interval(lambda rows, kind=kind: precisions(rows)[kind], number, seed=SEED)
            for kind, name in enumerate(NAMES)
        },
        "count_error": dict(zip(NAMES, errors.mean(0).tolist(), strict=True)),
        "count_error_always_mean": dict(zip(NAMES, baseline.mean(0).tolist(), strict=True)),
        "count_ratio": float((errors.mean(0) / baseline.mean(0)).mean()),
        "count_ratio_95": interval(
            lambda rows: float((errors[rows].mean(0) / baseline[rows].mean(0)).mean()), number, seed=SEED
        ),
        "count_ratio_all": float(errors.mean() / baseline.mean()),
        "count_ratio_all_95": interval(
            lambda rows: float(errors[rows].mean() / baseline[rows].mean()), number, seed=SEED
        ),
        "sensitivity": {
            name: float((right & answered)[labels == kind].sum() / drawn[:, kind].sum())
            for kind, name in enumerate(NAMES)
        },
        "ppv": {name: share(right[answered & (labels == kind)]) for kind, name in enumerate(NAMES)},
        "ece": calibration_error(scores[judged], right[judged].astype(np.int64)),
        "brier": brier(scores[judged], right[judged].astype(np.int64)),
        "map50_crowded": mean_precision([each for each, many in zip(matches, crowded, strict=True) if many]),
        "map50_sparse": mean_precision([each for each, many in zip(matches, crowded, strict=True) if not many]),
        "map50_half": mean_precision(compared(found_by(path, val.smaller(0.5)), val.smaller(0.5))),
        "protocol": PROTOCOL,
    }  # fmt: skip


def red_counts(found: Sequence[Boxes], drawn: Ints) -> dict[str, object]:
    """Whether another reading of the scores would count red cells [I] better: errors of two, and photographs without a box.

    The sum of the scores is the expected number; the line that is fitted to the very photographs that it is judged on, by
    least absolute error, is what no reading of that sum can beat.
    """
    sums = np.array([each.scores[each.labels == 0].sum() for each in found])
    line = QuantileRegressor(quantile=0.5, alpha=0).fit(sums[:, None], drawn)
    return {
        "count_error_rbc_expected": float(np.abs(sums - drawn).mean()),
        "count_error_rbc_fitted": float(np.abs(line.predict(sums[:, None]) - drawn).mean()),
        "photographs_without_rbc": int((drawn == 0).sum()),
    }


# Novelty


def foreign_images(data: Path, chance: np.random.Generator, count: int = 250) -> Pixels:
    """See FOREIGN_SET: uint8 [2 * count,360,480,3], brought to size as the pipeline does it."""
    paths = sorted((data / "nuclei" / "images").iterdir())
    nuclei = [Image.open(paths[row]).convert("RGB") for row in chance.permutation(len(paths))[:count]]
    with np.load(data / "pneumoniamnist" / "train_val.npz") as arrays:
        chests = [
            Image.fromarray(each).convert("RGB") for each in chance.permutation(arrays["val_images"])[:count]
        ]
    fitting = Fitting(WIDTH, HEIGHT, fit="stretch", filter="bilinear")
    return np.stack([np.asarray(fitting(picture)) for picture in nuclei + chests])


def novelty_report(train_fed: Pixels, val_fed: Pixels, foreign: Pixels) -> dict[str, float]:
    """Limit, false alarms and catches; the limit by five-fold cross-validation over the photographs for training."""
    known, scale = statistics_of(train_fed)
    folds = np.random.default_rng(SEED).permutation(len(known)) % 5
    apart = np.zeros(len(known))
    for fold in range(5):
        apart[folds == fold] = distances(known[folds != fold] / scale, known[folds == fold] / scale)
    far = distances(known / scale, statistics_of(foreign)[0] / scale)
    found = novelty_figures(apart, far, FALSE_ALARMS)
    limit, half = found["novelty_limit"], len(far) // 2
    return {
        **found,
        "catch_rate_nuclei": float((far[:half] >= limit).mean()),
        "catch_rate_chests": float((far[half:] >= limit).mean()),
        "novel_validation": float(
            (distances(known / scale, statistics_of(val_fed)[0] / scale) >= limit).mean()
        ),
    }


@torch.no_grad()
def distances(known: Floats, rows: Floats) -> Floats:
    return Mahalanobis(known)(torch.from_numpy(rows).float())[:, 0].double().numpy()


# Golden cases


def drawn_smear(size: tuple[int, int], cells: Sequence[tuple[str, int, int, int]], seed: int) -> Image.Image:
    """A smear made up here: kind, centre and radius of each cell. It has 48 colours, so that its file is small."""
    picture = Image.new("RGB", size, (197, 190, 190))
    for number, (kind, x, y, radius) in enumerate(cells):
        cell = drawn_cell(kind, radius, seed + number)
        down, across = np.indices((cell.height, cell.width)) + 0.5
        round_mask = (np.hypot(down / radius - 1, across / radius - 1) < 0.95).astype(np.uint8) * 255
        picture.paste(cell, (x - radius, y - radius), Image.fromarray(round_mask))
    return picture.quantize(48).convert("RGB")


def jpeg_input(picture: Image.Image) -> dict[str, str]:
    """The input of a golden case: a JPEG file in base64."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=88)
    return {"data": base64.b64encode(file.getvalue()).decode()}


def golden_cases(photographs: Photographs) -> list[tuple[str, object]]:
    """Three photographs for training (MIT), smaller, as they are and changed; and what is no photograph of a smear."""
    several = [
        row for row, boxes in enumerate(photographs.boxes) if len(set(boxes.labels.tolist())) == len(CLASSES)
    ]
    one, two, three = (photographs.pictures[row].resize((480, 360)) for row in several[:3])
    cells = [("rbc", 90, 80, 26), ("rbc", 60, 190, 25), ("wbc", 215, 130, 45), ("platelets", 130, 40, 9)]
    return [
        ("a photograph", jpeg_input(one)),
        ("another", jpeg_input(two)),
        ("a third", jpeg_input(three)),
        ("the first upside down", jpeg_input(one.transpose(Image.Transpose.ROTATE_180))),
        ("the first on its side, which is stretched", jpeg_input(one.transpose(Image.Transpose.ROTATE_90))),
        ("the left two thirds of the second", jpeg_input(two.crop((0, 0, 320, 360)))),
        ("the third without its lower part", jpeg_input(three.crop((0, 0, 480, 264)))),
        ("a drawing, from which it abstains", png_input(drawn_smear((320, 240), cells, 1))),
        ("grey, from which it abstains", jpeg_input(one.convert("L"))),
        ("one colour, from which it abstains", png_input(Image.new("RGB", (160, 120), (197, 190, 190)))),
    ]  # fmt: skip


def count_error(path: Path, photographs: Photographs, thresholds: Floats) -> dict[str, float]:
    """Mean absolute error of the counts of each class."""
    drawn = counts([each.labels for each in photographs.boxes], len(CLASSES))
    errors = count_errors(numbers(found_by(path, photographs), thresholds), drawn)
    return dict(zip(NAMES, errors.tolist(), strict=True))


def parts(photographs: Photographs) -> tuple[Photographs, Photographs]:
    """Five sixths to train on, and the others, kept apart for calibration."""
    order = np.random.default_rng(SEED).permutation(len(photographs.pictures))
    return photographs.only(order[len(order) // 6 :]), photographs.only(order[: len(order) // 6])


def train(data: Path) -> None:
    photographs = read_photographs(data / "bccd", "train")
    finish(data, photographs, fit(parts(photographs)[0], SEED))


def finish(data: Path, photographs: Photographs, detector: Detector) -> None:
    """Calibrate, export, measure and write a trained detector."""
    val = read_photographs(data / "bccd", "val")
    fed, (rest, apart), path = photographs.fed(), parts(photographs), HERE / "model.onnx"
    write_graph(detector, np.ones(3), np.zeros(3), fed, path)
    held_out = compared(found_by(path, apart), apart)
    slopes, offsets, thresholds = calibrated(held_out)
    gap = write_graph(detector, slopes, offsets, fed, path)
    report = {
        **figures(path, val, counts([each.labels for each in photographs.boxes], len(CLASSES)), thresholds),
        "map50_apart": mean_precision(held_out),
        "count_error_trained_on": count_error(path, rest, thresholds),
        "photographs_train": len(rest.pictures),
        "photographs_apart": len(apart.pictures),
        "threshold": dict(zip(NAMES, thresholds.tolist(), strict=True)),
        **novelty_report(fed, val.fed(), foreign_images(data, np.random.default_rng(SEED))),
        "parity": gap,
        "seed": SEED,
        "torch": torch.__version__,
    }  # fmt: skip
    write_report(HERE, report, foreign_set=FOREIGN_SET)
    write_golden(HERE, golden_cases(photographs), tolerance=TOLERANCE)
