"""Pictures that a model made up: the classifier's answer says so by the marks of their files, and no plan builds on it."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.bundle import ZOO, fitted, read_bundle
from models.pipelines import Case, load_pipeline
from models.pipelines.image_file import read_image
from models.pipelines.plan_diagnoses import DRAWN, Answered
from models.pipelines.synthetic_marks import XMP, synthetic_png
from models.sandbox import CpuRun

GREY = np.random.default_rng(3).integers(0, 256, (40, 40)).astype(np.uint8)
ICD_10 = "http://hl7.org/fhir/sid/icd-10"


def png(*texts: tuple[str, str], packed: bool = False) -> bytes:
    info, file = PngInfo(), io.BytesIO()
    for keyword, text in texts:
        info.add_text(keyword, text, zip=packed)
    Image.fromarray(GREY).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def jpeg(xmp: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", xmp=xmp)
    return file.getvalue()


def broken_text() -> bytes:
    """A PNG file with a compressed text that cannot be decompressed."""
    plain, body = png(), b"zTXtSynthetic\0\0not packed"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return plain[:33] + chunk + plain[33:]


@pytest.mark.parametrize(
    "file",
    [
        synthetic_png(7, "pneumonia", GREY, {}).content,
        png(("Synthetic", "true")),
        png(("synthetic", "True")),
        png(("Synthetic", "true"), packed=True),
        png(("XML:com.adobe.xmp", XMP)),
        png(("XML:com.adobe.xmp", XMP.replace("trained", "compositeWithTrained"))),
        jpeg(XMP.encode()),
    ],
)
def test_a_picture_whose_file_says_that_it_is_made_up_is_noticed(file: bytes) -> None:
    assert read_image(file).synthetic


@pytest.mark.parametrize(
    "file",
    [
        png(),
        png(("Synthetic", "false")),
        png(("Comment", "Synthetic\ntrue")),
        png(("XML:com.adobe.xmp", XMP.replace("trainedAlgorithmicMedia", "digitalCapture"))),
        jpeg(XMP.replace("trainedAlgorithmicMedia", "digitalCapture").encode()),
        broken_text(),
    ],
)
def test_any_other_picture_is_not(file: bytes) -> None:
    assert not read_image(file).synthetic


def test_the_answer_to_a_made_up_picture_says_so_and_is_otherwise_the_same() -> None:
    folder = ZOO / "pneumonia-xray-28"
    bundle = read_bundle(folder)
    pipeline = load_pipeline(bundle.manifest)
    run = fitted(folder, bundle.manifest, pipeline, CpuRun())
    files = [png(), synthetic_png(1, "normal", GREY, {}).content]
    real, drawn = (
        dict(answer.result)
        for answer in pipeline.open(Path(folder)).score(run, [Case(pipeline.encode(file)) for file in files])
    )
    assert "synthetic" not in real
    assert drawn == real | {"synthetic": True}


def test_a_plan_takes_no_condition_from_a_made_up_picture() -> None:
    result: dict[str, Any] = {
        "label": "pneumonia",
        "code": {"system": ICD_10, "code": "J18.9"},
        "probabilities": {},
    }
    real = Answered.model_validate_json(json.dumps(result))
    drawn = Answered.model_validate_json(json.dumps(result | {"synthetic": True}))
    assert (real.condition((ICD_10,)), real.reason((ICD_10,), known=True)) == ("J18.9", None)
    assert (drawn.condition((ICD_10,)), drawn.reason((ICD_10,), known=True)) == (None, DRAWN)
