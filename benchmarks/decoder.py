"""A decoder of honest size with random weights, as the bundle of a model that writes: 25 million weights in float32.

What it writes means nothing and ends where a job's `max_new_tokens` says, so the lengths of texts are the benchmark's.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, WIDTH, HEADS, INNER, WORDS, PLACES = 6, 512, 8, 2048, 8192, 1024
SIZE = WIDTH // HEADS
END = 1
MOST_READ, MOST_WRITTEN = 512, 256
SEED = 20261129
HIDDEN, NEVER = -1e9, -1e4

MANIFEST = f"""
name = "random-writer"
version = "1.0.0"
kind = "recommendation"
pipeline = "text-generation"
title = "Words that go on"
summary = "Random weights, to measure with."
license = "CC0-1.0"

[runtime]
max_batch = 16
tolerance = 1e-3

[parameters]
longest = 20000
vocabulary = {WORDS}
max_tokens = {MOST_READ}
max_new_tokens = {MOST_WRITTEN}
cache = {{ layers = {LAYERS}, heads = {HEADS}, head_size = {SIZE} }}
left_padding = true
end = [{END}]
example = "word7 word12"
"""


def write_bundle(folder: Path) -> None:
    """The bundle, not sealed."""
    folder.mkdir()
    onnx.save(_graph(), str(folder / "model.onnx"))
    (folder / "manifest.toml").write_text(MANIFEST)
    (folder / "CARD.md").write_text("# random-writer\n\nRandom weights, made up to measure with.\n")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    chance = np.random.default_rng(SEED)
    cases = [
        {"input": {"text": prompt(chance, length)}, "options": {"max_new_tokens": 4 + length}}
        for length in range(1, 7)
    ]
    (folder / "golden.json").write_text(json.dumps({"cases": [case | {"expected": {}} for case in cases]}))


def prompt(chance: np.random.Generator, tokens: int) -> str:
    """A text of so many tokens."""
    return " ".join(f"word{word}" for word in chance.integers(2, WORDS, tokens).tolist())


def _tokenizer() -> dict[str, Any]:
    vocabulary = {"[UNK]": 0, "[END]": END} | {f"word{number}": number for number in range(2, WORDS)}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip


class _Nodes:
    """Collects operators and weights; methods return the name of their output."""

    def __init__(self) -> None:
        self.every: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._chance = np.random.default_rng(SEED)

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{operator}_{len(self.every)}"
        self.every.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, kind: type = np.int64) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def random(self, *shape: int) -> str:
        return self.constant(self._chance.normal(scale=shape[0] ** -0.5, size=shape), np.float32)

    def norm(self, rows: str) -> str:
        return self.add("LayerNormalization", rows, self.constant(np.ones(WIDTH), np.float32), axis=-1)


def _graph() -> onnx.ModelProto:
    """Pre-norm attention and feed-forward layers (Vaswani et al. 2017; Radford et al. 2019)."""
    nodes = _Nodes()
    table = nodes.random(WORDS, WIDTH)
    hidden = nodes.add(
        "Add",
        nodes.add("Mul", nodes.add("Gather", table, "input_ids"), nodes.constant(WORDS**0.5, np.float32)),
        nodes.add("Gather", nodes.random(PLACES, WIDTH), "position_ids"),
    )
    unseen = _unseen(nodes)
    outputs = ["logits"]
    for layer in range(LAYERS):
        normed = nodes.norm(hidden)
        query, *fresh = (_heads(nodes, normed) for _ in range(3))
        pair = []
        for name, each in zip(("key", "value"), fresh, strict=True):
            outputs.append(f"present.{layer}.{name}")
            past = f"past_key_values.{layer}.{name}"
            pair.append(nodes.add("Concat", past, each, name=outputs[-1], axis=2))
        hidden = nodes.add("Add", hidden, _attended(nodes, query, pair, unseen))
        inner = nodes.add("Gelu", nodes.add("MatMul", nodes.norm(hidden), nodes.random(WIDTH, INNER)))
        hidden = nodes.add("Add", hidden, nodes.add("MatMul", inner, nodes.random(INNER, WIDTH)))
    last = nodes.add("Slice", nodes.norm(hidden), *(nodes.constant([each]) for each in (-1, 2**31, 1)))
    offset = np.zeros(WORDS)
    offset[END] = NEVER
    scores = nodes.add("MatMul", last, nodes.random(WIDTH, WORDS))
    nodes.add("Add", scores, nodes.constant(offset, np.float32), name="logits")
    return _model(nodes, outputs)


def _unseen(nodes: _Nodes) -> str:
    """What is added to attention [N,1,T,P+T]: HIDDEN for what stands behind a token, and for what the mask hides."""
    one, first = nodes.constant([1]), nodes.constant([0])
    total = nodes.add("Shape", "attention_mask", start=1, end=2)
    fresh = nodes.add("Shape", "input_ids", start=1, end=2)
    ends = [nodes.add("Squeeze", each) for each in (nodes.add("Sub", total, fresh), total)]
    nought, step = nodes.constant(0), nodes.constant(1)
    rows = nodes.add("Unsqueeze", nodes.add("Range", ends[0], ends[1], step), one)
    late = nodes.add("Greater", nodes.add("Range", nought, ends[1], step), rows)
    hidden = nodes.add("Equal", nodes.add("Unsqueeze", "attention_mask", nodes.constant([1, 2])), first)
    either = nodes.add("Or", nodes.add("Unsqueeze", late, nodes.constant([0, 1])), hidden)
    return nodes.add("Where", either, nodes.constant(HIDDEN, np.float32), nodes.constant(0.0, np.float32))


def _heads(nodes: _Nodes, rows: str) -> str:
    """[N,T,W] to [N,H,T,D]."""
    found = nodes.add("MatMul", rows, nodes.random(WIDTH, WIDTH))
    split = nodes.add("Reshape", found, nodes.constant([0, 0, HEADS, SIZE]))
    return nodes.add("Transpose", split, perm=[0, 2, 1, 3])


def _attended(nodes: _Nodes, query: str, pair: Sequence[str], unseen: str) -> str:
    turned = nodes.add("Transpose", pair[0], perm=[0, 1, 3, 2])
    scores = nodes.add("Mul", nodes.add("MatMul", query, turned), nodes.constant(SIZE**-0.5, np.float32))
    shares = nodes.add("Softmax", nodes.add("Add", scores, unseen), axis=-1)
    mixed = nodes.add("Transpose", nodes.add("MatMul", shares, pair[1]), perm=[0, 2, 1, 3])
    joined = nodes.add("Reshape", mixed, nodes.constant([0, 0, WIDTH]))
    return nodes.add("MatMul", joined, nodes.random(WIDTH, WIDTH))


def _model(nodes: _Nodes, outputs: Sequence[str]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", length])
        for name, length in (("input_ids", "fresh"), ("attention_mask", "total"), ("position_ids", "fresh"))
    ]
    shape: list[str | int | None] = ["rows", HEADS, "before", SIZE]
    inputs += [
        helper.make_tensor_value_info(name.replace("present", "past_key_values"), TensorProto.FLOAT, shape)
        for name in outputs[1:]
    ]
    made = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "last", WORDS])]
    made += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", HEADS, "total", SIZE])
        for name in outputs[1:]
    ]
    graph = helper.make_graph(nodes.every, "random-writer", inputs, made, nodes.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
