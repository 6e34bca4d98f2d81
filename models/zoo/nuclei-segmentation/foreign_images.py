"""Pictures of other things than microscope images of nuclei: to learn from what is foreign, and to judge what has learned it.

The folder of the data holds `bccd` (photographs of blood smears, MIT) and `pneumoniamnist` (chest X-rays, CC BY 4.0); more
pictures lie in the packages pydicom and scikit-image: `pip install --no-deps scikit-image==0.26.0`. Nothing of them is shipped.
"""

from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.training.foreign_pictures import printed_page, scans

Pixels = NDArray[np.uint8]

COUNT = 60
BICUBIC, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
# Of scikit-image: people, animals, things, textures, a text, an eye, stars, a graph of colours.
PICTURES = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "chessboard_GRAY.png", "clock_motion.png", "coffee.png",
    "coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "logo.png", "moon.png",
    "motorcycle_left.png", "page.png", "phantom.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip


class Foreign(NamedTuple):
    """Pictures uint8 [H,W,3] of one set: those to learn from, if any, and others to judge by."""

    learned: list[Pixels]
    judged: list[Pixels]


def foreign_images(data: Path, chance: np.random.Generator) -> dict[str, Foreign]:
    """The sets `smears`, `chests`, `pictures`, `drawn` (noise, stripes and small writing), `pages` and `scans`, of many sizes.

    Printed pages in letters of 10 to 40 pixels, and the test files of pydicom, are only to judge by.
    """
    names = [(data / "bccd" / f"{part}.txt").read_text().split()[:COUNT] for part in ("train", "val")]
    smears = [
        [Image.open(data / "bccd" / "images" / f"{name}.jpg").convert("RGB") for name in part]
        for part in names
    ]
    with np.load(data / "pneumoniamnist" / "train_val.npz") as arrays:
        chests = [
            [Image.fromarray(each).convert("RGB") for each in arrays[f"{part}_images"][:COUNT]]
            for part in ("train", "val")
        ]
    folder = Path(str(distribution("scikit-image").locate_file("skimage/data")))
    opened = [Image.open(folder / name).convert("RGB") for name in PICTURES]
    pictures = [[each for each in opened[first::2] for _ in range(4)] for first in range(2)]
    drawn = [[_drawn(number, chance) for number in range(COUNT)] for _ in range(2)]
    printer = np.random.default_rng(
        COUNT
    )  # its own, so that what is learned does not depend on what is judged
    sets = {
        "smears": smears, "chests": chests, "pictures": pictures, "drawn": drawn,
        "pages": [[], [printed_page(printer).convert("RGB") for _ in range(COUNT)]],
        "scans": [[], [each.convert("RGB") for each in scans(64)]],
    }  # fmt: skip
    return {
        name: Foreign(*([_view(picture, number) for number, picture in enumerate(part)] for part in parts))
        for name, parts in sets.items()
    }


def _view(picture: Image.Image, number: int) -> Pixels:
    """A picture in one of four sizes by turns: its middle square, all of it, a part as it is, or small."""
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    square = picture.crop((left, top, left + side, top + side))
    if number % 4 == 0:
        seen = square.resize((256, 256), BICUBIC)
    elif number % 4 == 1:
        larger = 320 / max(picture.size)
        seen = picture.resize((round(picture.width * larger), round(picture.height * larger)), BICUBIC)
    elif number % 4 == 2:
        seen = picture.crop((0, 0, 256, 256)) if side > 256 else square.resize((224, 224), NEAREST)
    else:
        seen = square.resize((64 + number % 96,) * 2, BICUBIC)
    return np.asarray(seen)


def _drawn(number: int, chance: np.random.Generator) -> Image.Image:
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
