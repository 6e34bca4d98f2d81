"""Grey pictures that are no frontal chest X-rays, by kind: what a detector of novelty should find.

From the folder of the data: blood smears and their cells (`bccd`, see smears), microscope images of nuclei (`nuclei`, see
nuclei). From Python packages: photographs and medical pictures of scikit-image, CT, MR and other test files of pydicom.
Made up here: even greys, gradients, noise, pages of text.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from models.training.smears import smears

Pixels = NDArray[np.uint8]
Fit = Callable[[Image.Image], Image.Image]

CROPS = 8  # of each picture of scikit-image
COUNT = 300  # of each kind that is made up
WORDS = "the patient was seen with fever cough and chest pain for three days"


def foreign_pictures(data: Path, fit: Fit, seed: int) -> dict[str, Pixels]:
    """By kind, uint8 [n, H, W]; `fit` brings a grey picture ("L") to H x W. The same seed gives the same pictures."""
    chance = np.random.default_rng(seed)
    side = fit(Image.new("L", (64, 64))).width
    kinds = {
        "blood_cells": _cells(data / "bccd", side),
        "blood_smears": (each.photograph for each in smears(data / "bccd", "val")),
        "nuclei": (Image.open(path) for path in sorted((data / "nuclei" / "images").iterdir())),
        "photographs": _photographs(side, chance),
        "scans": scans(side),
        "text": (printed_page(chance) for _ in range(COUNT)),
        "noise": (_noise(chance) for _ in range(COUNT)),
        "gradients": (_gradient(chance) for _ in range(COUNT)),
        "even_greys": (Image.new("L", (side, side), grey) for grey in range(0, 256, 4)),
    }
    return {name: _fitted(pictures, fit) for name, pictures in kinds.items()}


def turned(pixels: Pixels) -> dict[str, Pixels]:
    """Square pictures uint8 [n, S, S] as they must not be shown: upside down, on either side, as a negative."""
    sides = np.concatenate([np.rot90(pixels, 1, (1, 2)), np.rot90(pixels, 3, (1, 2))])
    return {"upside_down": pixels[:, ::-1].copy(), "on_its_side": sides, "negative": 255 - pixels}


def _fitted(pictures: Iterator[Image.Image], fit: Fit) -> Pixels:
    return np.stack([np.asarray(fit(picture.convert("L"))) for picture in pictures])


def _cells(folder: Path, smallest: int) -> Iterator[Image.Image]:
    for smear in smears(folder, "val"):
        for _, box in smear.cells:
            if min(box[2] - box[0], box[3] - box[1]) >= smallest:
                yield smear.crop(box)


def _photographs(smallest: int, chance: np.random.Generator) -> Iterator[Image.Image]:
    """Squares cut by chance out of the pictures that scikit-image brings."""
    for path in sorted((Path(skimage.__file__).parent / "data").rglob("*")):
        try:
            picture = Image.open(path).convert("L")
        except (OSError, UnidentifiedImageError):
            continue  # no picture
        if min(picture.size) < smallest:
            continue
        for _ in range(CROPS):
            side = int(chance.integers(smallest, min(picture.size) + 1))
            left, top = (int(chance.integers(0, length - side + 1)) for length in picture.size)
            yield picture.crop((left, top, left + side, top + side))


def scans(smallest: int) -> Iterator[Image.Image]:
    """The first frame of each readable test file of pydicom, windowed from its 1st to its 99th percentile."""
    for path in sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm")):
        try:
            with warnings.catch_warnings(action="ignore"):
                file = pydicom.dcmread(path)
                samples = file.pixel_array.astype(np.float64)
        except Exception:  # noqa: BLE001, S112  # test files are broken in every way
            continue
        if samples.ndim > 2 and file.get("SamplesPerPixel", 1) > 1:
            samples = samples.mean(-1)
        while samples.ndim > 2:
            samples = samples[0]
        if samples.ndim == 2 and min(samples.shape) >= smallest:
            low, high = np.percentile(samples, [1, 99])
            shares = np.clip((samples - low) / (high - low + 1e-9), 0, 1)
            yield Image.fromarray((shares * 255).astype(np.uint8))


def printed_page(chance: np.random.Generator) -> Image.Image:
    """A printed page."""
    side, height = int(chance.integers(100, 800)), int(chance.integers(10, 40))
    page = Image.new("L", (side, side), int(chance.integers(200, 256)))
    drawing, font, ink = ImageDraw.Draw(page), ImageFont.load_default(height), int(chance.integers(0, 80))
    for top in range(int(chance.integers(0, 30)), side, int(height * 1.3)):
        line = " ".join(chance.choice(WORDS.split(), int(chance.integers(3, 20))))
        drawing.text((int(chance.integers(5, 30)), top), line, fill=ink, font=font)
    return page


def _noise(chance: np.random.Generator) -> Image.Image:
    """Independent pixels, or clouds of one of four sizes."""
    parts = int(chance.choice([3, 5, 7, 14, 56]))
    values = chance.normal(0, 1, (parts, parts))
    grey = (values - values.min()) / np.ptp(values) * 255
    return Image.fromarray(grey.astype(np.uint8)).resize((56, 56), Image.Resampling.BICUBIC)


def _gradient(chance: np.random.Generator) -> Image.Image:
    """From one grey to another, in any direction."""
    angle, (low, high) = chance.uniform(0, 2 * np.pi), chance.uniform(0, 255, 2)
    down, across = np.mgrid[0:56, 0:56]
    along = np.cos(angle) * down + np.sin(angle) * across
    share = (along - along.min()) / np.ptp(along)
    return Image.fromarray((low + (high - low) * share).astype(np.uint8))
