"""Boxes of an image: the forms that graphs answer, back in pixels of files of any size, and files that are refused."""

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image

from models.fitting import Fitting as GraphFitting
from models.golden import answer
from models.manifest import MODEL, GraphTable, ManifestInvalid
from models.pipelines import Array, Case, InputRejected, PredictionInvalid
from models.signature import signature_of
from tests.unit.models.example_detections import (
    GRAPH,
    WIDE,
    Scripted,
    as_torchvision,
    edges,
    one,
    pipeline,
    scored,
)
from tests.unit.models.example_images import gradient, jpeg, noise, png, saved

# Forms and sizes


@pytest.mark.parametrize(
    ("written", "box"),
    [
        ("xyxy", (10, 5, 30, 15)),
        ("yxyx", (5, 10, 15, 30)),
        ("cxcywh", (20, 10, 20, 10)),
        ("xywh", (10, 5, 20, 10)),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("form", ["boxes", "rows", "lists"])
def test_boxes_are_read_as_exporters_write_them(
    written: str, box: Sequence[float], relative: bool, form: str
) -> None:
    down, across = GRAPH
    scale = ([down, across] if written == "yxyx" else [across, down]) * 2 if relative else [1] * 4
    run = Scripted((*np.array(box) / scale, 0.9, 1), form=form)
    result = one(run, output=form, box_format=written, relative=relative)
    assert edges(result) == [pytest.approx([20, 10, 60, 30])]
    assert result["counts"] == {"rbc": 0, "wbc": 1}


def test_labels_may_count_from_one() -> None:
    run = Scripted((0, 0, 9, 9, 0.9, 1), (0, 0, 9, 9, 0.9, 2))
    assert one(run, first_label=1)["counts"] == {"rbc": 1, "wbc": 1}
    with pytest.raises(PredictionInvalid, match="beyond `labels`"):
        one(Scripted((0, 0, 9, 9, 0.9, 0)), first_label=1)


def raw(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
    """As YOLO v8 answers: centre, sides, and the score of each class; four boxes, of which the second is the first moved."""
    del graph
    boxes = [[20, 10, 20, 10], [21, 10, 20, 10], [21, 10, 20, 10], [60, 20, 10, 10]]
    shares = [[0.8, 0.1], [0.9, 0.2], [0.1, 0.7], [0.2, 0.25]]
    found = np.concatenate([np.array(boxes), np.array(shares)], axis=1).T.astype(np.float32)
    return {"predictions": np.stack([found] * len(feeds["image"]))}


def test_raw_boxes_are_suppressed_within_their_class() -> None:
    result = one(raw, output="raw", box_format="cxcywh")
    assert edges(result) == [[22, 10, 62, 30], [22, 10, 62, 30]]
    assert [each["label"] for each in result["detections"]] == ["rbc", "wbc"]
    assert one(raw, output="raw", box_format="cxcywh", suppression=0.95)["counts"] == {"rbc": 2, "wbc": 1}


def test_a_padded_image_keeps_its_proportions_and_boxes_find_back() -> None:
    square = png(np.dstack([gradient(80, 80)] * 3))
    run = Scripted((20, 0, 60, 40, 0.9, 0), (30, 10, 40, 20, 0.8, 0))
    result = one(run, square, fit="pad", padding=114)
    assert edges(result) == [[0, 0, 80, 80], [20, 20, 40, 40]]
    [fed] = run.fed
    assert np.allclose(fed[0, :, :, :20] * 255, 114, atol=0.01)
    assert not np.allclose(fed[0, :, :, 20:60] * 255, 114, atol=0.01)


def test_images_of_mixed_sizes_in_one_batch_are_answered_as_alone() -> None:
    files = [WIDE, png(np.dstack([noise(33, 71)] * 3)), jpeg(gradient(300, 200)), png(gradient(16, 500))]
    for form in ("boxes", "lists"):
        run = Scripted((10, 5, 20, 15, 0.9, 0), (30, 10, 60, 40, 0.95, 1), form=form)
        together = scored(run, *files, output=form, fit="pad")
        assert together == [found for file in files for found in scored(run, file, output=form, fit="pad")]
        assert len({json.dumps(each.result) for each in together}) == len(files)


def test_boxes_are_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.fromarray(gradient(160, 80)).convert("RGB"), "JPEG", exif=exif)
    result = one(Scripted((0, 0, 40, 10, 0.9, 0)), turned)
    assert (result["width"], result["height"]) == (80, 160)
    assert edges(result) == [[0, 0, 40, 40]]


# Files


def frames() -> bytes:
    pictures = [Image.fromarray(noise(64, 64)) for _ in range(2)]
    file = io.BytesIO()
    pictures[0].save(file, "PNG", save_all=True, append_images=pictures[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (png(gradient(1, 1)), "image_too_small"),
        (png(gradient(15, 400)), "image_too_small"),
        (saved(Image.new("CMYK", (64, 64)), "JPEG"), "unsupported_color"),
        (frames(), "animated_image"),
        (png(gradient(64, 64))[:90], "truncated_image"),
        (b"GIF89a", "not_an_image"),
    ],
    ids=["one pixel", "narrow", "CMYK", "animated", "cut off", "GIF"],
)
def test_files_that_are_refused(file: bytes, code: str) -> None:
    with pytest.raises(InputRejected) as rejected:
        pipeline().encode(file)
    assert [str(fault.code) for fault in rejected.value.faults] == [code]


def test_an_image_of_400_million_pixels_is_refused_by_its_header() -> None:
    huge = bytearray(png(gradient(64, 64)))
    header = (20_000).to_bytes(4, "big") * 2 + huge[24:29]
    huge[16:33] = header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    with pytest.raises(InputRejected) as rejected:
        pipeline().encode(bytes(huge))
    assert [str(fault.code) for fault in rejected.value.faults] == ["image_too_large"]


def test_palettes_are_read_as_colours() -> None:
    picture = Image.fromarray(np.dstack([gradient(160, 80), noise(160, 80), noise(160, 80)])).quantize(16)
    run = Scripted((0, 0, 9, 9, 0.9, 0))
    one(run, saved(picture, "PNG"))
    one(run, saved(picture.convert("RGB"), "PNG"))
    assert np.array_equal(run.fed[0], run.fed[1])


# Graphs


def test_a_graph_as_torchvision_exports_it_is_served_unchanged(tmp_path: Path) -> None:
    told = pipeline(output="lists", first_label=1)
    session = ort.InferenceSession(as_torchvision(tmp_path), providers=["CPUExecutionProvider"])
    fitting = GraphFitting(GraphTable.model_validate({}), told.graphs[MODEL], signature_of(session))

    def run(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        del graph
        names = [each.name for each in session.get_outputs()]
        return fitting.run(lambda fed: dict(zip(names, session.run(None, dict(fed)), strict=True)), feeds)

    dark, line = np.zeros((80, 160, 3), np.uint8), np.zeros((80, 160, 3), np.uint8)
    line[20:24] = 200
    cases = [Case(told.encode(png(pixels))) for pixels in (dark, line)]
    results = answer(cases, told.open(tmp_path), run)
    assert [edges(each) for each in results] == [[], [[0, 20, 160, 22], [0, 22, 160, 24]]]


def test_other_pipelines_still_need_an_axis_of_rows() -> None:
    told = pipeline(output="boxes")
    session_like = GraphTable.model_validate({})
    signature = signature_of(
        ort.InferenceSession(_without_rows().SerializeToString(), providers=["CPUExecutionProvider"])
    )
    with pytest.raises(ManifestInvalid, match="fixed number of rows"):
        GraphFitting(session_like, told.graphs[MODEL], signature)


def _without_rows() -> onnx.ModelProto:
    down, across = GRAPH
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, down, across])
    out = helper.make_tensor_value_info("same", TensorProto.FLOAT, [3, down, across])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["same"])], "same", [value], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
