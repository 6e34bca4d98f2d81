"""The golden cases of pneumonia-xray-28."""

from PIL import Image

from models.training.chest_xrays import SIDE, drawn_chest
from models.training.images import file_input, png_input


def golden_cases() -> list[tuple[str, object]]:
    """Drawn here, because no training image may be in the repository; what the model says of them is no diagnosis."""
    clear, hazy = (drawn_chest(SIDE, SIDE, haze, 1) for haze in (0.0, 1.0))
    wide, tall, large = (
        drawn_chest(96, 80, 0.9, 2),
        drawn_chest(88, 108, 0.6, 3),
        drawn_chest(120, 120, 0.4, 4),
    )
    lying, upright = tall.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    upright[0x0112] = 6  # what a camera writes that was held on its side
    return [
        ("clear, the graph's own size", png_input(clear)),
        ("hazy, the graph's own size", png_input(hazy)),
        ("wide, so the sides are cut", png_input(wide)),
        ("the same as JPEG", file_input(wide, "JPEG", quality=90)),
        ("tall, so top and bottom are cut, as JPEG", file_input(tall, "JPEG", quality=90)),
        ("the same lying on its side, as JPEG", file_input(lying, "JPEG", quality=90, exif=upright.tobytes())),
        ("grey stored as colours", png_input(large.convert("RGB"))),
        ("a palette of 32 greys", png_input(large.quantize(32))),
        ("upside down, from which it abstains", png_input(large.transpose(Image.Transpose.ROTATE_180))),
        ("the middle of it, from which it abstains", png_input(large.crop((24, 24, 96, 96)))),
        ("all black, from which it abstains", png_input(Image.new("L", (40, 40)))),
        ("an even grey, from which it abstains", png_input(Image.new("L", (40, 40), 128))),
    ]  # fmt: skip


def tolerances(cases: list[tuple[str, object]]) -> dict[str, float]:
    """Decoders of JPEG differ by a grey level; those of PNG do not."""
    return {note: 2e-2 if "JPEG" in note else 1e-3 for note, _ in cases}
