"""A small bundle that draws: grey stripes of the noise, brighter for the second class."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest_table, toml

WIDTH, HEIGHT = 6, 4


def write_image_generator(folder: Path, labels: list[str], *, chance: bool = False) -> Path:
    """A sealed bundle of these classes; with one alone, its graph takes no label. `chance`: it draws noise itself."""
    folder.mkdir(parents=True)
    table = manifest_table("image-generation", labels=labels, noise=[WIDTH])
    (folder / "manifest.toml").write_text(toml(table | {"name": "drawing", "kind": "generation"}))
    (folder / "CARD.md").write_text("# drawing\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(_graph(classes=len(labels) > 1, chance=chance))
    cases = [{"input": {"label": labels[seed % len(labels)], "seed": seed}} for seed in range(6)]
    (folder / "golden.json").write_text(json.dumps({"cases": [each | {"expected": {}} for each in cases]}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def _graph(*, classes: bool, chance: bool) -> bytes:
    nodes = [
        helper.make_node("Mul", ["noise", "tenth"], ["columns"]),
        helper.make_node("Unsqueeze", ["columns", "axes"], ["row"]),
        helper.make_node("Expand", ["row", "shape"], ["stripes"]),
    ]
    feeds = [helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["rows", WIDTH])]
    if classes:
        feeds.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]))
        nodes += [
            helper.make_node("Cast", ["label"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["number", "tenth"], ["brighter"]),
            helper.make_node("Reshape", ["brighter", "column"], ["level"]),
            helper.make_node("Add", ["stripes", "level"], ["image"]),
        ]
    else:
        nodes.append(helper.make_node("RandomNormalLike" if chance else "Abs", ["stripes"], ["image"]))
    constants: dict[str, NDArray[Any]] = {
        "tenth": np.array(0.1, np.float32),
        "axes": np.array([1, 2], np.int64),
        "shape": np.array([1, 1, HEIGHT, WIDTH], np.int64),
        "column": np.array([-1, 1, 1, 1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "stripes",
        feeds,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 1, HEIGHT, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
