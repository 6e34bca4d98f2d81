"""Write manifest.toml and golden.json of pneumonia-xray-28, and seal them: run this after every train.py.

    .venv/bin/python models/zoo/pneumonia-xray-28/describe.py

Figures and threshold come from metrics.json. The golden images are drawn here, because no training image may be
in the repository: blurred shapes with the brightness of a chest X-ray, in the sizes and formats people send. What
the model says of them is no diagnosis; it only has to be the same everywhere.
"""

import base64
import json
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle import renew_golden, seal_bundle
from models.checking import publishable

Pixels = NDArray[np.uint8]

HERE = Path(__file__).resolve().parent
# Decoders of JPEG differ by a grey level; those of PNG do not.
TOLERANCE = {"PNG": 1e-3, "JPEG": 2e-2}

PROTOCOL = "validation split of PneumoniaMNIST, not used for weights, calibration or threshold"

MANIFEST = Template("""\
# Written by describe.py; [files] by `python -m models seal`. Change those, not this file.
name = "pneumonia-xray-28"
version = "1.0.0"
kind = "diagnosis"
pipeline = "image-classification"
title = "Pneumonia on a child's chest X-ray, seen at 28 x 28 pixels"
summary = "Probability of pneumonia from one frontal chest X-ray of a child, shrunk to 28 x 28 grey pixels."
license = "CC-BY-4.0"

[runtime]
max_batch = 256
run_timeout_s = 30.0
promised_s = 60.0
tolerance = 1e-5

[metrics]
$metrics

[files]

[parameters]
size = 28
channels = 1
max_pixels = 25_000_000
positive = "pneumonia"

[parameters.threshold]
value = $threshold
sensitivity = $sensitivity
specificity = $specificity
ppv = $ppv
prevalence = $prevalence
source = "$protocol"

[[parameters.labels]]
id = "normal"
display = "Normal"
system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
code = "N"

[[parameters.labels]]
id = "pneumonia"
display = "Pneumonia, unspecified"
system = "http://hl7.org/fhir/sid/icd-10"
code = "J18.9"
""")


def draw_chest(width: int, height: int, haze: float, seed: int) -> Pixels:
    """Grey values [height,width]: two dark lungs in a bright trunk, the brighter the more `haze` (0 to 1)."""
    down, across = np.mgrid[0:height, 0:width]
    x, y = across / (width - 1) * 2 - 1, down / (height - 1) * 2 - 1
    trunk = 0.07 + np.exp(-(((x / 0.94) ** 2 + (y / 1.3) ** 2) ** 4))
    spine = 0.2 * np.exp(-((x / 0.06) ** 2))
    lungs = np.exp(-((((np.abs(x) - 0.34) / 0.37) ** 2 + ((y - 0.26) / 1.3) ** 2) ** 2))
    collarbones = 0.06 * np.exp(-(((y + 0.6 - 0.2 * np.abs(x)) / 0.08) ** 2))
    grain = np.random.default_rng(seed).normal(0, 0.01, (height, width))
    grey = trunk + spine + collarbones - (0.97 - 0.6 * haze) * lungs + grain
    values: Pixels = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return values


def write_file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned() -> dict[str, Any]:
    """What a camera writes that was held on its side: rotate by 90 degrees to see it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif.tobytes()}


def draw_cases() -> list[tuple[str, str, bytes]]:
    """(note, format, file) of each golden case."""
    clear, hazy = (Image.fromarray(draw_chest(28, 28, haze, 1)) for haze in (0.0, 1.0))
    wide = Image.fromarray(draw_chest(96, 64, 0.9, 2))
    tall = Image.fromarray(draw_chest(80, 112, 0.6, 3))
    lying = tall.transpose(Image.Transpose.ROTATE_90)
    large = Image.fromarray(draw_chest(120, 120, 0.4, 4))
    return [
        ("clear, the graph's own size", "PNG", write_file(clear, "PNG")),
        ("hazy, the graph's own size", "PNG", write_file(hazy, "PNG")),
        ("wide, so the sides are cut", "PNG", write_file(wide, "PNG")),
        ("the same as JPEG", "JPEG", write_file(wide, "JPEG", quality=90)),
        ("tall, so top and bottom are cut", "JPEG", write_file(tall, "JPEG", quality=90)),
        ("the same lying on its side", "JPEG", write_file(lying, "JPEG", quality=90, **turned())),
        ("grey stored as colours", "PNG", write_file(large.convert("RGB"), "PNG")),
        ("a palette of 32 greys", "PNG", write_file(large.quantize(32), "PNG")),
        ("all black", "PNG", write_file(Image.new("L", (40, 40)), "PNG")),
    ]


def write_golden() -> None:
    """The inputs of golden.json; sealing adds what the model answers."""
    cases = [
        {
            "note": note,
            "input": {"data": base64.b64encode(file).decode()},
            "expected": {},
            "tolerance": TOLERANCE[kind],
        }
        for note, kind, file in draw_cases()
    ]
    (HERE / "golden.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def write_manifest() -> None:
    """manifest.toml without digests, from metrics.json."""
    report = json.loads((HERE / "metrics.json").read_text())
    at = report["validation"]
    measured = {name: figure for name, figure in at.items() if name not in ("n", "auc_95")}
    lowest, highest = at["auc_95"]
    elsewhere = {
        f"auc_{condition}": table["auc"]
        for condition, table in report.items()
        if condition != "validation" and isinstance(table, dict) and "auc" in table
    }
    metrics = {**measured, "auc_95_low": lowest, "auc_95_high": highest, **elsewhere, "protocol": PROTOCOL}
    chosen = {name: at[name] for name in ("sensitivity", "specificity", "ppv", "prevalence")}
    text = MANIFEST.substitute(
        chosen,
        protocol=PROTOCOL,
        metrics="\n".join(f"{name} = {json.dumps(figure)}" for name, figure in metrics.items()),
        threshold=report["threshold"],
    )
    (HERE / "manifest.toml").write_text(text)


def main() -> None:
    """Write both files, ask the model for its answers, seal, and check as publishing would."""
    write_manifest()
    write_golden()
    renew_golden(HERE)
    seal_bundle(HERE)
    print(publishable(HERE).digest)


if __name__ == "__main__":
    main()
