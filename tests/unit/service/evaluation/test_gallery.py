"""The worst mistakes on images are shown on the page, made of the user's own files."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.cli.cases import read_file
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.report import page
from service.cli.evaluation.scoring import Scored

MODEL = {"name": "m", "version": "1.0.0"}
CELLS = [{"id": "red", "display": "Red cell", "code": None, "positive": False},
         {"id": "white", "display": "White cell", "code": None, "positive": False}]  # fmt: skip


def pictures(shown: str) -> list[NDArray[np.uint8]]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", shown)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_wrong_labels_are_shown_and_files_that_cannot_be_are_said_to_be(tmp_path: Path) -> None:
    big = Image.new("RGB", (600, 300), (10, 20, 30))
    big.save(tmp_path / "big.png")
    (tmp_path / "bad.png").write_bytes(b"content")
    answer = {"type": "classification", "label": "white", "probability_red": 0.2, "probability_white": 0.8}
    cases = [
        Scored(name, truth, {}, answer, source=read_file(str(tmp_path / name)))
        for name, truth in (("big.png", "red"), ("bad.png", "red"))
    ]
    cases.append(Scored("right.png", "white", {}, answer, source=read_file(str(tmp_path / "big.png"))))
    shown = page(MODEL, "folder", evaluated(cases, CELLS, {}))
    [picture] = pictures(shown)
    assert (picture.shape, picture[0, 0].tolist()) == ((120, 240, 3), [10, 20, 30])
    assert "big.png: truth red, answer white (0.800)" in shown
    assert shown.count("The file cannot be shown.") == 1
    assert "right.png" not in shown
