"""Train nuclei-segmentation.

Source: BBBC038v1 of the Broad Bioimage Benchmark Collection (Caicedo et al., Nat Methods 16:1247, 2019; CC0) with corrected
label maps: see models/training/nuclei. The folder of the data holds `nuclei` and, for images of another kind, `bccd`
(photographs of blood smears, MIT) and `pneumoniamnist` (chest X-rays, CC BY 4.0). About a quarter of an hour on two cores;
seeds fixed. Other foreign pictures are those of scikit-image; see foreign_images.py.

Images cut from one field of view stay together, and a fifth of the images of each kind and size is for validation. The U-Net
learns from crops (see models/training/segmentation) in two rounds: in the second, which goes on from the first, many crops are
shrunk until their nuclei are tiny. Seed and least areas in the manifest were chosen on images that it learned from, the novelty
limit by cross-validation on them. The figures are of the exported graph, through the pipeline.
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from foreign_images import Foreign, foreign_images
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.pipelines.contract import Case
from models.pipelines.image_segmentation import ImageSegmentation
from models.pipelines.segmentation_scoring import levels
from models.pipelines.segmentation_types import SegmentationParameters
from models.pipelines.side_files import no_files
from models.sandbox import cpu_session
from models.training.export import export, parity
from models.training.figures import brier, calibration_error, share_95
from models.training.images import png_input
from models.training.mask_figures import mask_figures, otsu
from models.training.novelty import ForeignOdds, foreign_limit
from models.training.nuclei import Nuclei, drawn_nuclei, fields_of_view, held_out, read_nuclei
from models.training.segmentation import Example, Segmentation, UNet, features_of, fit
from models.training.writing import write_golden, write_report

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
BATCH = 16
# Of the first and the second round. For the shipped weights the rate had fallen by 5 % at the end of the second steady share.
STEPS, RATE, STEADY = (2600, 1900), (3e-3, 1.5e-3), (0.15, 0.53)
POOR = (("fluorescence", 150, 318), ("fluorescence", 256, 320))
TINY = (3.0, 6.0)  # pixels: diameters of nuclei that are shrunk in the second round
VALIDATION = 0.22
FALSE_ALARMS = 0.01  # of the novelty limit, on images for training
OUTPUTS = ("probabilities", "centre", "novelty")
FOREIGN_SET = (
    "photographs of blood smears, chest X-rays, drawn noise, stripes and writing, and pictures of people, things and textures, "
    "of which the detector learned from others; printed pages, and CT, MR and other test files of pydicom, of which it learned "
    "from none"
)
PROTOCOL = (
    "validation images of BBBC038, of other fields of view than those for training; looked at while novelty was "
    "built, and at 1000 and 1900 steps"
)
# The manifest's [parameters] up to its novelty.
_TEMPLATE = (HERE / "manifest.template.toml").read_text()
GIVEN: dict[str, Any] = tomllib.loads(
    _TEMPLATE.partition("[parameters]\n")[2].partition("[parameters.novelty]")[0]
)
UNLIMITED = {
    "limit": 1e9, "false_alarm_rate": 0.0, "catch_rate": 0.0, "foreign_set": "none", "source": "none",
}  # fmt: skip
PARAMETERS = SegmentationParameters.model_validate(GIVEN | {"novelty": UNLIMITED})


# Data


def as_seen(image: Pixels) -> Pixels:
    """An image uint8 [H,W,3] as the pipeline feeds it, times 255."""
    table = np.rint(levels(PARAMETERS, image) * 255).astype(np.uint8)
    return np.stack([table[channel][image[:, :, channel]] for channel in range(3)], 2)


def example(of: Nuclei, *, second: bool) -> Example:
    """Rare kinds are drawn more often. Tiny nuclei are enlarged more than shrunk, large ones the other way.

    In the second round crops are shrunk until their nuclei are tiny, too, which few images have; and fluorescence of the two
    sizes that it was worst at on images that it learned from, embryos and dim cultures, is drawn twice as often.
    """
    weight = {"brightfield": 6.0, "stained": 2.5}.get(of.kind, 0.6 if len(of.labels) == 180 else 1.0)
    tiny, large = of.diameter < 7, of.diameter > 26
    zooms = (-0.1, 0.8) if tiny else (-0.8, 0.3) if large else (-0.45, 0.45)
    weight, far = max(weight, 3.0 if tiny else 0.0), None
    if second:
        weight *= 2.0 if of.source in POOR else 1.0
        far = (math.log(TINY[0] / of.diameter), math.log(TINY[1] / of.diameter)) if not tiny else None
    return Example.of(as_seen(of.image), of.labels, weight, zooms, far)


def as_feed(image: Pixels) -> Tensor:
    """An image as the graph is fed it, float32 [1,3,H,W], continued to multiples of 16."""
    height, width = image.shape[:2]
    wide = np.pad(as_seen(image), ((0, -height % 16), (0, -width % 16), (0, 0)), mode="symmetric")
    return torch.from_numpy(wide).permute(2, 0, 1)[None].float() / 255


# Figures


class Scored(NamedTuple):
    """What the pipeline answered to an image: its label map and its novelty."""

    labels: NDArray[np.uint16]
    novelty: float


def scorer(path: Path) -> Callable[[Pixels], Scored]:
    """What scores an image uint8 [H,W,3] by the pipeline with the exported graph."""
    session = cpu_session(path, threads=2)
    scoring = ImageSegmentation(PARAMETERS, no_files).open(HERE)

    def run(feeds: Any, graph: str = "") -> Any:  # noqa: ARG001 - there is one
        return dict(zip(OUTPUTS, session.run(OUTPUTS, dict(feeds)), strict=True))

    def score(image: Pixels) -> Scored:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        [answer] = scoring.score(run, [Case(file.getvalue(), {"files": ["labels"]})])
        labels = np.asarray(Image.open(BytesIO(answer.artifacts[0].content)))
        return Scored(labels, float(str(answer.result["novelty"])))

    return score


def baseline(image: Pixels) -> NDArray[np.int32]:
    """What a threshold finds; see otsu."""
    return otsu(as_seen(image).mean(2).astype(np.uint8), PARAMETERS.min_area)


def pixels_of(model: Segmentation, images: Sequence[Nuclei]) -> tuple[Floats, NDArray[np.int64]]:
    """Probability and truth of 2,000 pixels of each image."""
    chance, given, truth = np.random.default_rng(SEED), [], []
    for image in images:
        height, width = image.labels.shape
        with torch.no_grad():
            found = model(as_feed(image.image))[0][0, 0, :height, :width].numpy()
        places = chance.integers(0, found.size, 2000)
        given.append(found.ravel()[places])
        truth.append(image.labels.ravel()[places] > 0)
    return np.concatenate(given).astype(np.float64), np.concatenate(truth).astype(np.int64)


# Golden cases


def golden_cases(model: Segmentation) -> list[tuple[str, object]]:
    dark, stained = steady(model, "fluorescence", 96, 80), steady(model, "stained", 112, 96)
    wide = steady(model, "fluorescence", 272, 64)
    stripes = np.where(np.indices((64, 64))[1] % 8 < 4, 0, 255).astype(np.uint8)
    return [
        ("fluorescence, nuclei that touch among them", png_input(dark)),
        ("the same in grey", png_input(dark.convert("L"))),
        ("the same as a palette of 16 levels", png_input(dark.quantize(16))),
        ("stained tissue", png_input(stained)),
        ("bright field", png_input(steady(model, "brightfield", 128, 96))),
        ("no side is a multiple of 16", png_input(steady(model, "fluorescence", 75, 61))),
        ("wider than a tile", png_input(wide)),
        ("black", png_input(Image.new("L", (64, 48)))),
        ("stripes, from which it abstains", png_input(Image.fromarray(stripes))),
    ]  # fmt: skip


def steady(model: Segmentation, kind: str, width: int, height: int) -> Image.Image:
    """A drawn picture none of whose pixels is as near to a threshold as the arithmetic of two processors may differ."""
    for seed in range(1000):
        picture = drawn_nuclei(kind, width, height, seed)
        with torch.no_grad():
            inside, centre, _ = model(as_feed(np.asarray(picture)))
        gaps = [(inside - PARAMETERS.threshold).abs().min(), (centre - PARAMETERS.instances.seed).abs().min()]
        if min(gaps) > 2e-5:
            return picture
    raise ValueError(f"no steady picture of {kind}")


def train(data: Path) -> None:
    images = read_nuclei(data / "nuclei")
    fields = fields_of_view(images)
    apart = held_out(images, fields, VALIDATION, SEED)
    learned = [image for image, out in zip(images, apart, strict=True) if not out]
    network = None
    for number, (steps, rate, steady) in enumerate(zip(STEPS, RATE, STEADY, strict=True)):
        network = fit(
            [example(image, second=number > 0) for image in learned],
            steps=steps, batch=BATCH, rate=rate, steady=steady, seed=SEED + number, start=network,
        )  # fmt: skip
    assert network is not None
    finish(data, network, images, fields, apart)


def finish(
    data: Path, network: UNet, images: Sequence[Nuclei], fields: NDArray[np.int64], apart: NDArray[np.bool_]
) -> None:
    """Everything but the network's weights: detector, graph, figures, card and golden cases."""
    chance = np.random.default_rng(SEED)
    learned, held = (
        [image for image, out in zip(images, apart, strict=True) if bool(out) is each]
        for each in (False, True)
    )
    foreign = foreign_images(data, chance)
    odds, limit, unlearned = detector(network, learned, fields[~apart], foreign, chance)
    model = Segmentation(network, odds).eval()
    path, checked = HERE / "model.onnx", torch.cat([as_feed(image.image[:160, :128]) for image in held[:8]])
    names = {0: "rows", 2: "height", 3: "width"}
    export(
        model, (checked[:2],), path, inputs=["image"], outputs=OUTPUTS, dynamic=[names],
        multiples={"height": 16, "width": 16},
    )  # fmt: skip
    with torch.no_grad():
        wanted = dict(zip(OUTPUTS, (each.numpy() for each in model(checked)), strict=True))
    score = scorer(path)
    found = [score(image.image) for image in held]
    novelty = np.array([each.novelty for each in found])
    caught = {
        name: np.array([score(picture).novelty >= limit for picture in pictures.judged])
        for name, pictures in foreign.items()
    }
    given, inside = pixels_of(model, held)
    truth = [each.labels for each in held]
    clear = np.flatnonzero(novelty < limit)

    def figures(maps: Sequence[Any], rows: Sequence[int]) -> dict[str, object]:
        kinds, places = [held[row].kind for row in rows], fields[apart][list(rows)]
        return mask_figures(
            [maps[row] for row in rows], [truth[row] for row in rows], kinds, places, seed=SEED
        )

    report = {
        "images": len(held), "fields_of_view": len(set(fields[apart].tolist())),
        "nuclei": sum(len(np.unique(each)) - 1 for each in truth), "images_train": len(learned),
        **figures([each.labels for each in found], range(len(held))),
        "otsu": figures([baseline(image.image) for image in held], range(len(held))),
        "answered": figures([each.labels for each in found], clear.tolist()),
        "abstained": 1 - len(clear) / len(held),
        "pixel_ece": calibration_error(given, inside), "pixel_brier": brier(given, inside),
        "novelty_limit": limit, "false_alarm_rate": float((novelty >= limit).mean()),
        "catch_rate": float(np.concatenate([*caught.values()]).mean()),
        **{f"catch_rate_{name}": float(each.mean()) for name, each in caught.items()},
        **{f"catch_rate_{name}_95": share_95(each) for name, each in caught.items()},
        **{f"catch_rate_{name}_unlearned": each for name, each in unlearned.items()},
        "parity": parity(path, {"image": checked.numpy()}, wanted),
        "protocol": PROTOCOL, "seed": SEED, "torch": torch.__version__,
    }  # fmt: skip
    write_report(HERE, report, foreign_set=FOREIGN_SET, min_area=PARAMETERS.min_area)
    write_golden(HERE, golden_cases(model))


def detector(
    network: UNet,
    learned: Sequence[Nuclei],
    fields: NDArray[np.int64],
    foreign: Mapping[str, Foreign],
    chance: np.random.Generator,
) -> tuple[ForeignOdds, float, dict[str, float]]:
    """The detector of foreign images, its limit, and what share of each set one finds that has not learned from that set."""
    feeds = [feed for image in learned for feed in (as_feed(part_of(image, chance)), as_feed(image.image))]
    known, groups = features_of(network, feeds), np.repeat(fields, 2)
    learnable = {name: each for name, each in foreign.items() if each.learned}
    rows = {name: features_of(network, [*map(as_feed, each.learned)]) for name, each in learnable.items()}

    def learned_from(names: Sequence[str]) -> tuple[ForeignOdds, float]:
        some = [rows[name] for name in names]
        return ForeignOdds(known, some), foreign_limit(known, groups, some, FALSE_ALARMS)

    unlearned = {}
    for name, each in learnable.items():
        odds, limit = learned_from([other for other in learnable if other != name])
        seen = torch.from_numpy(features_of(network, [*map(as_feed, each.judged)])).float()
        with torch.no_grad():
            unlearned[name] = float((odds(seen) >= limit).float().mean())
    return *learned_from([*learnable]), unlearned


def part_of(image: Nuclei, chance: np.random.Generator) -> Pixels:
    """A part of an image, as a tile of a larger one would be."""
    height, width = (max(64, int(side * chance.uniform(0.4, 0.9))) for side in image.labels.shape)
    top, left = (
        int(chance.integers(0, whole - side + 1))
        for whole, side in zip(image.labels.shape, (height, width), strict=True)
    )
    return image.image[top : top + height, left : left + width]
