"""The package and the bundle of docs/models.md, "A pipeline of your own", written into folders and installed from there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PAGE = Path(__file__).parents[2] / "docs/models.md"
LABELS = ["routine", "urgent", "stat"]
WORDS = ["no", "acute", "finding", "chest", "pain", "fracture", "of", "the", "arm"]
VOCABULARY = {word: place for place, word in enumerate(WORDS)}
_CHANCE = np.random.default_rng(13)
VECTORS = _CHANCE.normal(size=(len(WORDS), 4)).astype(np.float32)
WEIGHTS = _CHANCE.normal(size=(4, len(LABELS))).astype(np.float32)
TEXTS = ["acute chest pain", "no acute finding", "fracture of the arm", "Chest  pain", "no"]


def write_package(folder: Path) -> Path:
    """The package as the page shows it; its one module."""
    folder.mkdir()
    blocks = _blocks()
    (folder / "pyproject.toml").write_text(blocks["toml"][0])
    module = folder / "report_triage.py"
    module.write_text(blocks["python"][0])
    return module


def install(package: Path, site: Path) -> None:
    """Install it as pip does, without anything from elsewhere, into a folder of its own."""
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", site, package], check=True, timeout=120
    )


def write_bundle(folder: Path) -> Path:
    """A bundle with the page's manifest, a vocabulary and two graphs, not yet sealed."""
    folder.mkdir()
    (folder / "manifest.toml").write_text(_blocks()["toml"][1])
    (folder / "CARD.md").write_text("# report-urgency\n\nMade up for a test.\n")
    (folder / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    (folder / "encoder.onnx").write_bytes(_encoder().SerializeToString())
    (folder / "head.onnx").write_bytes(_head().SerializeToString())
    cases: list[dict[str, Any]] = [{"input": {"text": text}} for text in TEXTS]
    cases[0]["options"] = {"top": 3}
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    return folder


def expected(text: str, top: int = 2) -> dict[str, Any]:
    """The result of a report, in numpy."""
    tokens = [VOCABULARY[word] for word in text.lower().split() if word in VOCABULARY]
    logits = VECTORS[tokens].mean(axis=0) @ WEIGHTS
    scores = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-scores)
    return {
        "type": "report_triage",
        "urgency": LABELS[order[0]],
        "score": float(scores[order[0]]),
        "words": len(tokens),
        "ranked": [LABELS[place] for place in order[:top]],
    }


def _blocks() -> dict[str, list[str]]:
    """The fenced blocks of the page's section by their language."""
    section = PAGE.read_text().partition("\n## A pipeline of your own\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


def _encoder() -> onnx.ModelProto:
    """Tokens [N, L] -> the mean [N, 4] of their vectors."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["each"]),
        helper.make_node("ReduceMean", ["each", "axis"], ["vectors"], keepdims=0),
    ]
    constants = [numpy_helper.from_array(VECTORS, "table"), numpy_helper.from_array(np.array([1]), "axis")]
    return _model(
        nodes, ("tokens", TensorProto.INT64, ["rows", "length"]), ("vectors", ["rows", 4]), constants
    )


def _head() -> onnx.ModelProto:
    """Vectors [N, 4] -> scores [N, 3] that sum to 1."""
    nodes = [
        helper.make_node("MatMul", ["vectors", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    constants = [numpy_helper.from_array(WEIGHTS, "weights")]
    return _model(nodes, ("vectors", TensorProto.FLOAT, ["rows", 4]), ("scores", ["rows", 3]), constants)


def _model(
    nodes: list[Any], feed: tuple[str, int, list[Any]], output: tuple[str, list[Any]], constants: list[Any]
) -> onnx.ModelProto:
    name, shape = output
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*feed)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
