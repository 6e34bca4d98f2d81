"""How many JPEG files are scored although a few bytes of their scans were lost, or one bit changed.

`python -m tests.unit.models.jpeg_losses 2000` prints the figures of docs/api.md.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFilter

from models.pipelines.image_file import ImageRefused, decode_image, read_image
from tests.unit.models.example_images import Pixels, saved

SEED = 11
FEW_LEVELS, FEW_PIXELS = 5, 0.02  # a file is visibly wrong when more pixels than these are off by more
Loss = Callable[[bytes, int, random.Random], bytes]


def cut(file: bytes, place: int, dice: random.Random) -> bytes:
    """`file` without 1 to 16 bytes."""
    return file[:place] + file[place + dice.randint(1, 16) :]


def flip(file: bytes, place: int, dice: random.Random) -> bytes:
    """`file` with one bit changed."""
    return file[:place] + bytes([file[place] ^ 1 << dice.randrange(8)]) + file[place + 1 :]


LOSSES: dict[str, Loss] = {"cut": cut, "flip": flip}


def scene(width: int, height: int, seed: int) -> Image.Image:
    """A grey picture of soft shapes with grain, as radiographs are."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (height // 12, width // 12), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    smooth = np.asarray(soft.filter(ImageFilter.GaussianBlur(4)), dtype=np.float64)
    return Image.fromarray(
        (40 + 0.7 * smooth + chance.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
    )


def sound_files() -> dict[str, bytes]:
    """JPEG files of several sizes, qualities and kinds."""
    grey, other = scene(512, 384, 1), scene(512, 384, 2)
    colour = Image.merge("RGB", [grey, other, grey])
    return {
        "grey 160x120 q75": saved(scene(160, 120, 3), "JPEG", quality=75),
        "grey 512x384 q50": saved(grey, "JPEG", quality=50),
        "grey 512x384 q75": saved(grey, "JPEG", quality=75),
        "grey 512x384 q95": saved(grey, "JPEG", quality=95, optimize=True),
        "grey 512x384 q75 progressive": saved(grey, "JPEG", quality=75, progressive=True),
        "colour 512x384 q75": saved(colour, "JPEG", quality=75),
        "colour 512x384 q90 4:4:4": saved(colour, "JPEG", quality=90, subsampling=0),
    }


def outcomes(loss: Loss, trials: int, seed: int = SEED) -> Iterator[tuple[str, str]]:
    """For each trial the kind of file, and what came of it: refused, same, slightly or visibly wrong."""
    dice, files = random.Random(seed), sound_files()
    sound = {name: _pixels(file) for name, file in files.items()}
    for _ in range(trials):
        name = dice.choice(list(files))
        file = files[name]
        scan = file.index(b"\xff\xda") + 14
        damaged = loss(file, dice.randrange(scan, len(file) - 20), dice)
        try:
            found = _pixels(damaged)
        except ImageRefused:
            yield name, "refused"
            continue
        off = np.abs(found - sound[name])
        wrong = "visibly wrong" if (off > FEW_LEVELS).mean() > FEW_PIXELS else "slightly wrong"
        yield name, wrong if off.any() else "same"


def _pixels(file: bytes) -> Pixels:
    return np.asarray(decode_image(read_image(file), "L"), dtype=np.int16)


def main() -> None:
    trials = int(sys.argv[1])
    for kind, loss in LOSSES.items():
        found = list(outcomes(loss, trials))
        for name in (*sound_files(), "all"):
            counts = Counter(came for file, came in found if name in (file, "all"))
            shares = ", ".join(
                f"{came} {count / counts.total():.1%}" for came, count in sorted(counts.items())
            )
            print(f"{kind:5} {name:29} {counts.total():5}: {shares}")


if __name__ == "__main__":
    main()
