"""A bundle with an encoder that counts words, for tests of vectors of texts and of search."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest_table, toml
from tests.unit.models.example_texts import TOKENS, write_tokenizer

SIZE = len(TOKENS)
TEXTS = ["fever", "no fever", "no cough.", "fever " * 20, "caf\u00e9", "no " * 33]


def graph() -> onnx.ModelProto:
    """`hidden` of each token is its place in the vocabulary, as one of 12 numbers; named as in exports of Hugging Face."""
    tensors = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "words",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["rows", "tokens", SIZE])],
        [numpy_helper.from_array(np.eye(SIZE, dtype=np.float32), "table")],
    )
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def write_encoder(folder: Path) -> Path:
    """A sealed bundle of text-embedding in `folder`, which is returned."""
    write_tokenizer(folder)
    table = manifest_table("text-embedding", max_windows=4, pooling="mean")
    table["graph"] = {"outputs": {"hidden": "last_hidden_state"}}
    (folder / "manifest.toml").write_text(toml(table))
    (folder / "CARD.md").write_text("# dose-effect\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    cases = [{"input": {"text": text}, "expected": {}} for text in TEXTS]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder
