"""A detector whose graph is scripted: it answers the same boxes for every image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.manifest import MODEL
from models.pipelines import Answer, Array, Case, load_pipeline
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_images import gradient, png
from tests.unit.models.schemas import assert_fits

GRAPH = (40, 80)  # height and width that the graph takes
LABELS = [
    {"id": "rbc", "display": "Red cell", "threshold": 0.5},
    {
        "id": "wbc",
        "display": "White cell",
        "threshold": 0.3,
        "system": "http://example.org/cells",
        "code": "W",
    },
]
NOVELTY = {
    "limit": 5.0, "false_alarm_rate": 0.01, "catch_rate": 0.9, "foreign_set": "made up", "source": "made up for tests",
    "reason": "unlike any smear",
}  # fmt: skip
WIDE = png(np.dstack([gradient(160, 80)] * 3))  # twice the graph's size


def pipeline(**parameters: Any) -> Any:
    own = {"labels": LABELS, "size": list(GRAPH), "channels": 3, **parameters}
    return load_pipeline(manifest("object-detection", **own))


class Scripted:
    """A graph that answers the same for every image: `boxes` as [left, top, right, bottom, score, label]."""

    def __init__(self, *boxes: Sequence[float], form: str = "boxes", novelty: float = 0.0) -> None:
        self.rows = np.array(boxes, np.float32).reshape(-1, 6)
        self.form = form
        self.novelty = novelty
        self.fed: list[Array] = []

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        assert graph == MODEL
        self.fed.append(feeds["image"])
        count = len(feeds["image"])
        novelty = {"novelty": np.full((count, 1), self.novelty, np.float32)}
        if self.form == "rows":
            return {"detections": np.stack([self.rows] * count)} | novelty
        given: dict[str, Array] = {
            "boxes": self.rows[:, :4],
            "scores": self.rows[:, 4],
            "labels": self.rows[:, 5].astype(np.int64),
        }
        if self.form == "lists":
            return given | novelty
        return {name: np.stack([each] * count) for name, each in given.items()} | novelty


def scored(
    run: Any, *files: bytes, options: Mapping[str, object] | None = None, **parameters: Any
) -> list[Answer]:
    told = pipeline(**parameters)
    chosen = told.check_options(dict(options or {}))
    cases = [Case(told.encode(file), chosen) for file in files]
    found: list[Answer] = told.open(Path()).score(run, cases)
    for each in found:
        assert_fits(each.result, told.result_schema())
    return found


def one(run: Any, file: bytes = WIDE, **more: Any) -> dict[str, Any]:
    [found] = scored(run, file, **more)
    return found.result


def edges(result: Mapping[str, Any]) -> list[list[float]]:
    return [
        [each["box"][name] for name in ("left", "top", "right", "bottom")] for each in result["detections"]
    ]


def as_torchvision(folder: Path) -> Path:
    """One image [3,H,W] without an axis of images; a box for each line that is bright, so of any number; labels from 1."""
    down, across = GRAPH
    constants: dict[str, Array] = {
        "half": np.array(0.5, np.float32), "axes": np.array([0, 2], np.int64), "first": np.array([0], np.int64),
        "wide": np.array([[0, 0, across, 1]], np.float32), "step": np.array([[0, 1, 0, 1]], np.float32),
        "column": np.array([-1, 1], np.int64), "line": np.array([-1], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0),
        helper.make_node("Greater", ["means", "half"], ["bright"]),
        helper.make_node("NonZero", ["bright"], ["found"]),
        helper.make_node("Reshape", ["found", "line"], ["lines"]),
        helper.make_node("Gather", ["means", "lines"], ["scores"]),
        helper.make_node("Cast", ["found"], ["places"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["places", "column"], ["offsets"]),
        helper.make_node("Mul", ["offsets", "step"], ["moved"]),
        helper.make_node("Add", ["moved", "wide"], ["boxes"]),
        helper.make_node("Sign", ["scores"], ["ones"]),
        helper.make_node("Cast", ["ones"], ["labels"], to=TensorProto.INT64),
    ]
    graph = helper.make_graph(
        nodes, "lines", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, down, across])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["k", 4]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["k"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["k"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
