"""Small bundles for kinds of input that no bundled model takes, made up on the spot and sealed."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest_table, toml
from tests.unit.models.example_decoders import write_generator
from tests.unit.models.example_encoder import write_encoder
from tests.unit.models.example_images import saved
from tests.unit.models.example_recommender import write_recommender
from tests.unit.models.test_dicom_file import dicom

FILMS, VECTORS, SUMS, ITEMS, WORDS = "films", "vectors", "sums", "items", "words"
TEXTS = ["fever", "no fever pain", "no rest.", "fever " * 20, "caf\u00e9", "no " * 33]
SIDE = 8
Feeds = Sequence[tuple[str, int, list[Any]]]  # name, element type and shape


def films() -> list[bytes]:
    """PNG files of 8 and 16 bits and DICOM files, of several sizes and proportions."""
    across = np.arange(40 * 24).reshape(24, 40)
    grey, deep = (across % 251).astype(np.uint8), (across * 37 % 4096).astype(np.uint16)
    return [
        saved(Image.fromarray(grey), "PNG"),
        saved(Image.fromarray(deep), "PNG"),
        saved(Image.fromarray(deep[:, :16]), "PNG"),
        dicom(deep, RescaleSlope=1.0, RescaleIntercept=-24.0),
        dicom(deep.T[:30], PhotometricInterpretation="MONOCHROME1"),
        dicom(deep[:9, :9]),
    ]


def tensors() -> list[dict[str, Any]]:
    """A pair and some whole numbers: 1 to 5 of them."""
    return [
        {"pair": [0.5, row], "counts": list(range(row, row + count))}
        for row, count in enumerate((1, 3, 1, 5, 2, 3))
    ]


def write_films(folder: Path) -> None:
    """The mean brightness through a logistic function."""
    files = [{"data": base64.b64encode(file).decode()} for file in films()]
    parameters = {"size": SIDE, "formats": ["PNG", "DICOM"], "window": {"center": 2000.0, "width": 4000.0}}
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = {"axes": [1, 2, 3], "column": [-1, 1]}
    feeds = [("image", TensorProto.FLOAT, ["rows", 1, SIDE, SIDE])]
    graph = _graph(nodes, feeds, ("probability", ["rows", 1]), constants)
    _write(folder, FILMS, "image-classification", parameters, graph, files)


def write_sums(folder: Path) -> None:
    """The sum of all numbers of two tensors, one of them of any length."""
    parameters = {
        "inputs": [{"name": "pair", "shape": [2]}, {"name": "counts", "dtype": "int64", "shape": [-1]}],
        "outputs": [{"name": "total", "shape": []}],
    }
    nodes = [
        helper.make_node("Cast", ["counts"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pair", "axis"], ["first"], keepdims=0),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["second"], keepdims=0),
        helper.make_node("Add", ["first", "second"], ["total"]),
    ]
    feeds: Feeds = [
        ("pair", TensorProto.FLOAT, ["rows", 2]),
        ("counts", TensorProto.INT64, ["rows", "length"]),
    ]
    graph = _graph(nodes, feeds, ("total", ["rows"]), {"axis": [1]})
    _write(folder, SUMS, "tensor", parameters, graph, tensors())


def write_vectors(folder: Path) -> None:
    """Counts of words."""
    write_encoder(folder)
    manifest = (folder / "manifest.toml").read_text().replace('"dose-effect"', f'"{VECTORS}"', 1)
    (folder / "manifest.toml").write_text(manifest)
    seal_bundle(folder)


def write_words(folder: Path) -> None:
    """A decoder alone, of random weights, that goes on with a text."""
    write_generator(folder, "alone")
    manifest = (folder / "manifest.toml").read_text().replace('"dose-effect"', f'"{WORDS}"', 1)
    (folder / "manifest.toml").write_text(manifest)
    seal_bundle(folder)


def write_items(folder: Path) -> None:
    """A linear recommender of five drugs."""
    write_recommender(folder, ITEMS)


MADE: dict[str, Callable[[Path], None]] = {
    FILMS: write_films,
    ITEMS: write_items,
    SUMS: write_sums,
    VECTORS: write_vectors,
    WORDS: write_words,
}


def _graph(
    nodes: list[Any],
    feeds: Feeds,
    output: tuple[str, list[Any]],
    constants: Mapping[str, int | list[int]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made_up",
        [helper.make_tensor_value_info(*feed) for feed in feeds],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _write(
    folder: Path,
    name: str,
    pipeline: str,
    parameters: dict[str, Any],
    graph: onnx.ModelProto,
    inputs: Sequence[Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.toml").write_text(toml(manifest_table(pipeline, **parameters) | {"name": name}))
    (folder / "CARD.md").write_text(f"# {name}\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    cases = [{"input": each, "expected": {}} for each in inputs]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
