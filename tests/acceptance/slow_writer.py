"""A model that writes for seconds: after each word the next one, with much arithmetic for each that changes nothing."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest_table, toml
from tests.unit.models.example_texts import TOKENS, write_tokenizer

NAME = "slow-writer"
MOST = 120  # tokens of a text
WORDS = [word for word, token in TOKENS.items() if token > TOKENS["[SEP]"]]
WIDTH = 384  # of the arithmetic
TOKEN_S = 0.015
CASES = [("no", 2), ("no fever", 3), ("fever", 4), ("pain", 5), ("cough pain", 2), ("rest", 3)]


def text_of(tokens: int) -> str:
    """What the model writes, whatever it is asked."""
    return " ".join(WORDS[place % len(WORDS)] for place in range(tokens))


def write_slow_writer(folder: Path, rounds: int | None = None) -> Path:
    """The sealed bundle in `folder`, which is returned. `rounds` of arithmetic make a token slow: as many as it takes here."""
    rounds = rounds or _rounds_of(TOKEN_S)
    write_tokenizer(folder)
    manifest = manifest_table("text-generation", max_new_tokens=MOST, max_tokens=16, left_padding=True) | {
        "name": NAME
    }
    (folder / "manifest.toml").write_text(toml(manifest))
    (folder / "CARD.md").write_text(f"# {NAME}\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(_graph(rounds).SerializeToString())
    cases = [
        {"input": {"text": text}, "options": {"max_new_tokens": tokens}, "expected": {}}
        for text, tokens in CASES
    ]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def _rounds_of(seconds: float) -> int:
    """So many rounds of the arithmetic last so long here, when nothing else runs."""
    matrix, took_s = np.ones((WIDTH, WIDTH), np.float32), float("inf")
    for _ in range(20):
        began = time.perf_counter()
        matrix @ matrix
        took_s = min(took_s, time.perf_counter() - began)
    return math.ceil(seconds / took_s)


def _graph(rounds: int) -> onnx.ModelProto:
    last = len(TOKENS) - 1
    following = np.arange(1, len(TOKENS) + 1)
    following[last] = TOKENS[WORDS[0]]
    values: dict[str, Any] = {
        "following": following, "depth": np.array(len(TOKENS)), "rounds": np.array(rounds), "on": np.array(True),
        "bounds": np.array([0, 20], np.float32), "nothing": np.array(0, np.float32),
        "mixing": np.random.default_rng(5).normal(scale=WIDTH**-0.5, size=(WIDTH, WIDTH)).astype(np.float32),
    }  # fmt: skip
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "mixing"], ["mixed"]),
            helper.make_node("Identity", ["go"], ["goes"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [WIDTH, WIDTH]),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("mixed", TensorProto.FLOAT, [WIDTH, WIDTH]),
        ],
    )
    nodes = [
        helper.make_node("Gather", ["following", "input_ids"], ["next"]),
        helper.make_node("OneHot", ["next", "depth", "bounds"], ["scores"], axis=-1),
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["seen"], ["share"], keepdims=0),
        helper.make_node("Cast", ["position_ids"], ["places"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["places"], ["place"], keepdims=0),
        helper.make_node("Sum", ["mixing", "mean", "share", "place"], ["begun"]),
        helper.make_node("Loop", ["rounds", "on", "begun"], ["done"], body=body),
        helper.make_node("ReduceMean", ["done"], ["worked"], keepdims=0),
        helper.make_node("Mul", ["worked", "nothing"], ["no_difference"]),
        helper.make_node("Add", ["scores", "no_difference"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "length"])
            for name in ("input_ids", "attention_mask", "position_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "length", len(TOKENS)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
