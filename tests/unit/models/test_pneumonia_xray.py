"""The bundled model pneumonia-xray-28: which pictures it answers, and from which it abstains."""

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.bundle import bundled, fitted, read_bundle
from models.pipelines import Case, load_pipeline
from models.sandbox import CpuRun

[FOLDER] = [folder for folder in bundled() if folder.name == "pneumonia-xray-28"]
SIDE = 56
DOWN, ACROSS = np.mgrid[0:SIDE, 0:SIDE]
CHANCE = np.random.default_rng(20261129)


def drawn(note: str) -> Image.Image:
    """The picture of a golden case."""
    cases = json.loads((FOLDER / "golden.json").read_text())["cases"]
    [data] = [case["input"]["data"] for case in cases if case["note"] == note]
    return Image.open(BytesIO(base64.b64decode(data))).convert("L")


def answers(*pictures: Image.Image) -> list[dict[str, Any]]:
    """In one batch."""
    bundle = read_bundle(FOLDER)
    pipeline = load_pipeline(bundle.manifest)
    cases = []
    for picture in pictures:
        file = BytesIO()
        picture.save(file, "PNG")
        cases.append(Case(pipeline.encode(file.getvalue())))
    run = fitted(FOLDER, bundle.manifest, pipeline, CpuRun())
    return [dict(scored.result) for scored in pipeline.open(FOLDER).score(run, cases)]


def grey(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


FOREIGN = {
    **{f"an even grey of {value}": grey(np.full((SIDE, SIDE), value)) for value in range(0, 256, 51)},
    "a grey with little noise": grey(128 + CHANCE.normal(0, 2, (SIDE, SIDE))),
    "noise": grey(CHANCE.integers(0, 256, (SIDE, SIDE))),
    "clouds": grey(CHANCE.integers(0, 256, (5, 5))).resize((SIDE, SIDE), Image.Resampling.BICUBIC),
    "from dark to bright": grey(ACROSS * 4),
    "from bright to dark": grey(230 - DOWN * 3),
    "stripes": grey(ACROSS // 4 % 2 * 200),
    "a disc": grey(255 * (np.hypot(DOWN - 28, ACROSS - 28) < 20)),
    "half of it black": grey(np.where(ACROSS < SIDE // 2, 0, 180)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_chest_x_ray_gets_no_answer(name: str) -> None:
    [result] = answers(FOREIGN[name])
    assert (result["label"], result["abstained"]) == (None, True)
    assert "unlike the whole, upright frontal chest X-rays" in result["abstain_reason"]


@pytest.mark.parametrize(
    "turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270], ids=["left", "right"]
)
def test_a_chest_on_its_side_gets_no_answer(turn: Image.Transpose) -> None:
    upright = drawn("clear, the graph's own size")
    assert [result["label"] for result in answers(upright, upright.transpose(turn))] == ["normal", None]


def test_a_negative_and_a_chest_upside_down_get_no_answer() -> None:
    upright = drawn("hazy, the graph's own size")
    turned = upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    found = answers(upright, ImageOps.invert(upright), turned)
    assert [result["label"] for result in found] == ["pneumonia", None, None]


@pytest.mark.parametrize("note", ["clear, the graph's own size", "hazy, the graph's own size"])
def test_a_chest_is_answered_alike_a_little_brighter_or_flatter(note: str) -> None:
    upright = drawn(note)
    values = np.asarray(upright, np.float64)
    found = answers(upright, grey(values + 12), grey(values - 12), grey(128 + (values - 128) * 0.85))
    assert len({result["label"] for result in found}) == 1
    assert found[0]["label"] is not None


@pytest.mark.parametrize("share", [0.6, 0.5, 0.4])
def test_a_part_of_a_chest_gets_no_answer(share: float) -> None:
    whole = drawn("grey stored as colours")
    edge = whole.width * (1 - share) / 2
    part = whole.crop((round(edge), round(edge), round(whole.width - edge), round(whole.width - edge)))
    found = answers(whole, part)
    assert [result["abstained"] for result in found] == [False, True]
    assert "unlike the whole, upright" in found[1]["abstain_reason"]


def test_a_coarse_picture_of_a_whole_chest_is_not_taken_for_a_part() -> None:
    whole = drawn("grey stored as colours")
    coarse = whole.resize((14, 14), Image.Resampling.BICUBIC).resize(whole.size, Image.Resampling.BICUBIC)
    assert [result["abstained"] for result in answers(whole, coarse)] == [False, False]
