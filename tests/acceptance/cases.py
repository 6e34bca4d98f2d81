"""What acceptance tests send: golden cases of the bundled models, and images made on the spot."""

import base64
import copy
import io
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

ZOO = Path(__file__).parents[2] / "models" / "zoo"
BREAST_CANCER = "breast-cancer-wisconsin"
PNEUMONIA = "pneumonia-xray-28"


def golden(index: int = 0) -> dict[str, Any]:
    """`input` and `expected` of a golden case of the tabular model; past the last one they begin again."""
    return copy.deepcopy(_golden()[index % len(_golden())])


def golden_cases(model: str) -> list[dict[str, Any]]:
    """All golden cases of a bundled model."""
    found: list[dict[str, Any]] = json.loads((ZOO / model / "golden.json").read_text())["cases"]
    return found


def submission(index: int = 0, **fields: Any) -> dict[str, Any]:
    """The body of a good submit of the tabular model; `fields` are added or replaced."""
    return {"model": BREAST_CANCER, "input": golden(index)["input"], **fields}


def with_input(**fields: Any) -> dict[str, Any]:
    """A submit whose input has other `fields`."""
    return submission(input=golden()["input"] | fields)


def without(name: str) -> dict[str, Any]:
    """A submit whose input lacks one field."""
    return submission(input={key: value for key, value in golden()["input"].items() if key != name})


def image_submission(content: bytes, **fields: Any) -> dict[str, Any]:
    """The body of a submit of the image model, the file in base64."""
    return {"model": PNEUMONIA, "input": {"data": base64.b64encode(content).decode()}, **fields}


def image(side: int = 64, kind: str = "PNG", seed: int = 1) -> bytes:
    """A grey image file of noise, or an animation of two frames for `kind` GIF."""
    chance = random.Random(seed)
    frames = [Image.frombytes("L", (side, side), chance.randbytes(side * side)) for _ in range(2)]
    file = io.BytesIO()
    frames[0].save(file, kind, **({"save_all": True, "append_images": frames[1:]} if kind == "GIF" else {}))
    return file.getvalue()


@cache
def _golden() -> Any:
    return golden_cases(BREAST_CANCER)
