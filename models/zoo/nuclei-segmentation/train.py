"""Train nuclei-segmentation.

Source: BBBC038v1 of the Broad Bioimage Benchmark Collection (Caicedo et al., Nat Methods 16:1247, 2019; CC0) with corrected
label maps: see models/training/nuclei. The folder of the data holds `nuclei` and, for images of another kind, `bccd`
(photographs of blood smears, MIT) and `pneumoniamnist` (chest X-rays, CC BY 4.0). About a quarter of an hour on two cores;
seeds fixed.

Images cut from one field of view stay together, and a fifth of the images of each kind and size is for validation. The U-Net
learns from crops (see models/training/segmentation). Seed and least area in the manifest were chosen on images that it learned
from, the novelty limit on validation images. The figures are of the exported graph, through the pipeline.
"""

import tomllib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from models.pipelines.contract import Case
from models.pipelines.image_segmentation import ImageSegmentation
from models.pipelines.segmentation_scoring import levels
from models.pipelines.segmentation_types import SegmentationParameters
from models.pipelines.side_files import no_files
from models.training.export import export, parity
from models.training.figures import brier, calibration_error
from models.training.images import png_input
from models.training.mask_figures import mask_figures, otsu
from models.training.novelty import novelty_figures
from models.training.nuclei import Nuclei, drawn_nuclei, fields_of_view, held_out, read_nuclei
from models.training.segmentation import Example, Segmentation, UNet, fit
from models.training.writing import write_golden, write_report

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
STEPS, BATCH, RATE = 3900, 16, 3e-3
VALIDATION = 0.22
FALSE_ALARMS = 0.02
OUTPUTS = ("probabilities", "centre", "novelty")
KINDS = ("fluorescence", "stained", "brightfield")
FOREIGN_SET = (
    "a third each photographs of blood smears, chest X-rays, and pictures of noise, stripes and writing"
)
PROTOCOL = "validation images of BBBC038, of other fields of view than those for training; they chose the novelty limit alone"
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


def example(of: Nuclei) -> Example:
    """Rare kinds are drawn more often. Tiny nuclei are enlarged more than shrunk, large ones the other way."""
    weight = {"brightfield": 6.0, "stained": 2.5}.get(of.kind, 0.6 if len(of.labels) == 180 else 1.0)
    tiny, large = of.diameter < 7, of.diameter > 26
    zooms = (-0.1, 0.8) if tiny else (-0.8, 0.3) if large else (-0.45, 0.45)
    return Example.of(as_seen(of.image), of.labels, max(weight, 3.0 if tiny else 0.0), zooms)


def as_feed(image: Pixels) -> Tensor:
    """An image as the graph is fed it, float32 [1,3,H,W], continued to multiples of 16."""
    height, width = image.shape[:2]
    wide = np.pad(as_seen(image), ((0, -height % 16), (0, -width % 16), (0, 0)), mode="symmetric")
    return torch.from_numpy(wide).permute(2, 0, 1)[None].float() / 255


def foreign_images(data: Path, chance: np.random.Generator) -> list[Pixels]:
    """Images of other things, uint8 [256,256,3]: 40 of each third."""
    smears = sorted((data / "bccd" / "images").glob("*.jpg"))[:40]
    found = [Image.open(path).convert("RGB").crop((0, 0, 480, 480)) for path in smears]
    with np.load(data / "pneumoniamnist" / "train_val.npz") as chests:
        found += [Image.fromarray(each).convert("RGB") for each in chests["train_images"][:40]]
    found += [_drawn_foreign(number, chance) for number in range(40)]
    return [np.asarray(each.resize((256, 256), Image.Resampling.BICUBIC)) for each in found]


def _drawn_foreign(number: int, chance: np.random.Generator) -> Image.Image:
    down, across = np.indices((256, 256))
    if number % 3 == 0:
        return Image.fromarray(chance.integers(0, 256, (256, 256, 3), np.uint8))
    if number % 3 == 1:
        waves = 127 + 120 * np.sign(np.sin(across / chance.uniform(2, 9) + down / chance.uniform(4, 40)))
        return Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    page = Image.new("RGB", (256, 256), "white")
    for line in range(14):
        words = "".join(chr(97 + each) if each < 26 else " " for each in chance.integers(0, 31, 40))
        ImageDraw.Draw(page).text((8, 8 + 17 * line), words, fill="black")
    return page


# Figures


class Scored(NamedTuple):
    """What the pipeline answered to an image: its label map and its novelty."""

    labels: NDArray[np.uint16]
    novelty: float


def scorer(path: Path) -> Callable[[Pixels], Scored]:
    """What scores an image uint8 [H,W,3] by the pipeline with the exported graph."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
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
    network = fit([example(image) for image in learned], steps=STEPS, batch=BATCH, rate=RATE, seed=SEED)
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
    known = [image for image in learned for _ in range(2)]
    feeds = [
        as_feed(image.image) if number % 2 else part_of(image, chance) for number, image in enumerate(known)
    ]
    model = Segmentation(network, feeds, np.array([KINDS.index(image.kind) for image in known])).eval()
    path, checked = HERE / "model.onnx", torch.cat([as_feed(image.image[:160, :128]) for image in held[:8]])
    names = {0: "rows", 2: "height", 3: "width"}
    export(
        model, (checked[:2],), path, inputs=["image"], outputs=OUTPUTS, dynamic=[names],
        multiples={"height": 16, "width": 16},
    )  # fmt: skip
    with torch.no_grad():
        wanted = dict(zip(OUTPUTS, (each.numpy() for each in model(checked)), strict=True))
    score = scorer(path)
    found, foreign = (
        [score(image.image) for image in held],
        [score(each) for each in foreign_images(data, chance)],
    )
    novelty, strange = (np.array([each.novelty for each in some]) for some in (found, foreign))
    detector = novelty_figures(novelty, strange, FALSE_ALARMS)
    limit = detector["novelty_limit"]
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
        **detector,
        "catch_rate_smears": (strange[:40] >= limit).mean(),
        "catch_rate_chests": (strange[40:80] >= limit).mean(),
        "catch_rate_drawn": (strange[80:] >= limit).mean(),
        "parity": parity(path, {"image": checked.numpy()}, wanted),
        "protocol": PROTOCOL, "seed": SEED, "torch": torch.__version__,
    }  # fmt: skip
    write_report(HERE, report, foreign_set=FOREIGN_SET, min_area=PARAMETERS.min_area)
    write_golden(HERE, golden_cases(model))


def part_of(image: Nuclei, chance: np.random.Generator) -> Tensor:
    """A part of an image, as a tile of a larger one would be."""
    height, width = (max(64, int(side * chance.uniform(0.4, 0.9))) for side in image.labels.shape)
    top, left = (
        int(chance.integers(0, whole - side + 1))
        for whole, side in zip(image.labels.shape, (height, width), strict=True)
    )
    return as_feed(image.image[top : top + height, left : left + width])
