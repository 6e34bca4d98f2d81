"""Tiny random decoders in the layouts of common exporters, as ONNX graphs, in plain numpy without a cache, and in bundles."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.pipelines import Array
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest_table, toml
from tests.unit.models.example_texts import TOKENS, write_tokenizer

WORDS, WIDTH, HEADS, SIZE, LAYERS, PLACES = len(TOKENS), 8, 2, 4, 2, 64
END = TOKENS["[SEP]"]
START = TOKENS["[PAD]"]
CHANCE = np.random.default_rng(3)
PARTS = ("query", "key", "value", "out", "cross_query", "cross_key", "cross_value", "cross_out")
WEIGHTS: dict[str, Array] = {
    "words": CHANCE.normal(scale=0.6, size=(WORDS, WIDTH)).astype(np.float32),
    "places": CHANCE.normal(scale=0.6, size=(PLACES, WIDTH)).astype(np.float32),
    **{
        f"{part}_{layer}": CHANCE.normal(scale=0.6, size=(WIDTH, WIDTH)).astype(np.float32)
        for layer in range(LAYERS)
        for part in PARTS
    },
}
# What the manifest says of them.
CACHE: dict[str, Any] = {"layers": LAYERS, "heads": HEADS, "head_size": SIZE}


# Plain numpy: all tokens again for each new one, one sequence at a time.


def plain_scores(tokens: Sequence[int], read: Sequence[int] | None = None) -> Array:
    """The scores [V] of what follows `tokens`, of the decoder behind an encoder if it has `read` something."""
    weights = {name: value.astype(np.float64) for name, value in WEIGHTS.items()}
    hidden = weights["words"][list(tokens)] + weights["places"][: len(tokens)]
    unseen = np.triu(np.full((len(tokens), len(tokens)), -1e4), 1)
    for layer in range(LAYERS):
        hidden = hidden + _attended(hidden, hidden, unseen, weights, "", layer)
        if read is not None:
            states = weights["words"][list(read)]
            hidden = hidden + _attended(hidden, states, 0.0, weights, "cross_", layer)
    scores: Array = hidden[-1] @ weights["words"].T
    return scores


def _attended(
    asks: Array, seen: Array, unseen: Any, weights: Mapping[str, Array], cross: str, layer: int
) -> Array:
    parts = (
        (rows @ weights[f"{cross}{part}_{layer}"]).reshape(len(rows), HEADS, SIZE).transpose(1, 0, 2)
        for rows, part in ((asks, "query"), (seen, "key"), (seen, "value"))
    )
    query, key, value = parts
    scores = query @ key.transpose(0, 2, 1) / SIZE**0.5 + unseen
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    mixed = (shares / shares.sum(axis=2, keepdims=True)) @ value
    found: Array = mixed.transpose(1, 0, 2).reshape(len(asks), WIDTH) @ weights[f"{cross}out_{layer}"]
    return found


# The same as graphs.


class _Nodes:
    """Collects operators; `add` returns the name of the output."""

    def __init__(self, prefix: str = "") -> None:
        self.every: list[onnx.NodeProto] = []
        self.prefix = prefix

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{self.prefix}{operator}_{len(self.every)}"
        self.every.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def heads(self, rows: str, weights: str) -> str:
        """Rows [B,S,W] to [B,H,S,D]."""
        shaped = self.add("Reshape", self.add("MatMul", rows, weights), "by_head")
        return self.add("Transpose", shaped, perm=[0, 2, 1, 3])

    def attended(self, query: str, pair: Sequence[str], unseen: str, out: str) -> str:
        key, value = pair
        turned = self.add("Transpose", key, perm=[0, 1, 3, 2])
        scores = self.add("Div", self.add("MatMul", query, turned), "root")
        shares = self.add("Softmax", self.add("Add", scores, unseen), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self.add("MatMul", self.add("Reshape", mixed, "joined"), out)


def _decoder_nodes(
    nodes: _Nodes,
    *,
    behind_encoder: bool,
    past: bool,
    mask: str,
    renew: bool,
    places: str = "",
    own_mask: str = "",
    by_place: bool = False,
) -> list[str]:
    """The nodes of a decoder; the names of its logits and, by layer, of own keys and values, then those of states.

    `by_place`: what stands behind a token is told by its place, as by graphs that take no left padding.
    With `past` its keys and values of before are inputs. `renew`: those of states are computed, not taken from inputs.
    """
    own, cross = (".decoder", ".encoder") if behind_encoder else ("", "")
    length = nodes.add("Shape", "input_ids", start=1, end=2)
    before = (
        nodes.add("Shape", f"past_key_values.0{own}.key", start=2, end=3)
        if past
        else nodes.add("Sub", length, length)
    )
    total = nodes.add("Add", before, length)
    steps = nodes.add("Range", nodes.add("Squeeze", before), nodes.add("Squeeze", total), "one")
    columns = nodes.add("Unsqueeze", steps, "zero")
    hidden = nodes.add(
        "Add", nodes.add("Gather", "words", "input_ids"), nodes.add("Gather", "places", places or columns)
    )
    keys = nodes.add("Range", "none", nodes.add("Squeeze", total), "one")
    late = nodes.add("Greater", keys, nodes.add("Unsqueeze", places if by_place else columns, "last"))
    unseen = nodes.add("Unsqueeze", nodes.add("Where", late, "low", "nought"), "one_axis")
    if own_mask:
        unseen = nodes.add("Add", unseen, _masked(nodes, own_mask))
    outside = _masked(nodes, mask) if behind_encoder else ""
    presents, crossed = list[str](), list[str]()
    for layer in range(LAYERS):
        fresh = [nodes.heads(hidden, f"{part}_{layer}") for part in ("key", "value")]
        if past:
            fresh = [
                nodes.add("Concat", f"past_key_values.{layer}{own}.{part}", each, axis=2)
                for part, each in zip(("key", "value"), fresh, strict=True)
            ]
        presents += fresh
        query = nodes.heads(hidden, f"query_{layer}")
        hidden = nodes.add("Add", hidden, nodes.attended(query, fresh, unseen, f"out_{layer}"))
        if behind_encoder:
            pair = [f"past_key_values.{layer}{cross}.{part}" for part in ("key", "value")]
            if renew:
                pair = [
                    nodes.heads("encoder_hidden_states", f"cross_{part}_{layer}") for part in ("key", "value")
                ]
            crossed += pair
            query = nodes.heads(hidden, f"cross_query_{layer}")
            hidden = nodes.add("Add", hidden, nodes.attended(query, pair, outside, f"cross_out_{layer}"))
    return [nodes.add("MatMul", hidden, "words_turned"), *presents, *crossed]


def _masked(nodes: _Nodes, mask: str) -> str:
    hidden = nodes.add("Mul", nodes.add("Sub", "unit", nodes.add("Cast", mask, to=1)), "low")
    return nodes.add("Unsqueeze", hidden, "heads_and_rows")


def _presents(behind_encoder: bool, *, cross: bool) -> list[str]:
    own = ".decoder" if behind_encoder else ""
    names = [f"present.{layer}{own}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    of_states = [f"present.{layer}.encoder.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    return [*names, *(of_states if cross else [])]


def lone_graph(
    *,
    cached: bool = True,
    masked: bool = True,
    placed: bool = True,
    merged: bool = False,
    by_place: bool = False,
) -> onnx.ModelProto:
    """A decoder alone, as Optimum's and onnxruntime-genai's exports of causal models; `merged` with `use_cache_branch`."""
    nodes = _Nodes()
    made = _decoder_nodes(
        nodes, behind_encoder=False, past=cached, mask="", renew=False, places="position_ids" if placed else "",
        own_mask="attention_mask" if masked else "", by_place=by_place,
    )  # fmt: skip
    names = ["logits", *(_presents(behind_encoder=False, cross=False) if cached else [])]
    inputs = [
        _ids("input_ids"),
        *([_ids("attention_mask")] if masked else []),
        *([_ids("position_ids")] if placed else []),
    ]
    inputs += _values([each.replace("present", "past_key_values") for each in names[1:]])
    inputs += [helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])] if merged else []
    return _model(nodes, made, names, inputs)


def encoder_graph() -> onnx.ModelProto:
    """The encoder: states are the vectors of words."""
    nodes = _Nodes()
    made = [nodes.add("Gather", "words", "input_ids")]
    return _model(nodes, made, ["last_hidden_state"], [_ids("input_ids"), _ids("attention_mask")])


def decoder_graph(*, past: bool, cross: bool = True, padded: bool = False) -> onnx.ModelProto:
    """One of the two split decoders; without `cross` one that takes its own keys and values alone.

    `padded`: it takes the mask and places of its own tokens, too.
    """
    nodes = _Nodes()
    renew = not past or not cross
    made = _decoder_nodes(
        nodes, behind_encoder=True, past=past, mask="encoder_attention_mask", renew=renew,
        places="position_ids" if padded else "", own_mask="decoder_attention_mask" if padded else "",
    )  # fmt: skip
    names = ["logits", *_presents(behind_encoder=True, cross=cross and not past)]
    pasts = [
        each.replace("present", "past_key_values") for each in _presents(behind_encoder=True, cross=cross)
    ]
    inputs = [_ids("input_ids"), _ids("encoder_attention_mask"), *([_states()] if renew else [])]
    inputs += [_ids("decoder_attention_mask"), _ids("position_ids")] if padded else []
    return _model(nodes, made, names, [*inputs, *(_values(pasts) if past else [])])


def merged_graph() -> onnx.ModelProto:
    """Both in one, as Optimum merges them: of keys and values of states, the branch with a cache gives nothing of use."""
    names = ["logits", *_presents(behind_encoder=True, cross=True)]
    branches = {}
    for branch, past in (("else_branch", False), ("then_branch", True)):
        nodes = _Nodes(f"{branch}_")
        made = _decoder_nodes(
            nodes, behind_encoder=True, past=past, mask="encoder_attention_mask", renew=not past
        )
        if past:
            made = made[: 1 + 2 * LAYERS] + ["no_values"] * (2 * LAYERS)
        outputs = [nodes.add("Identity", each) for each in made]
        infos = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
        branches[branch] = helper.make_graph(nodes.every, branch, [], infos)
    top = _Nodes()
    top.every.append(
        helper.make_node("If", ["use_cache_branch"], [f"if_{name}" for name in names], **branches)
    )
    pasts = [each.replace("present", "past_key_values") for each in names[1:]]
    inputs = [_ids("input_ids"), _ids("encoder_attention_mask"), _states(), *_values(pasts)]
    inputs.append(helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1]))
    return _model(top, [f"if_{name}" for name in names], names, inputs)


def _ids(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", f"{name}_length"])


def _states() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("encoder_hidden_states", TensorProto.FLOAT, ["rows", "read", WIDTH])


def _values(names: Sequence[str]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", HEADS, f"{name}_length", SIZE])
        for name in names
    ]


def _model(
    nodes: _Nodes, made: Sequence[str], names: Sequence[str], inputs: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """The model whose outputs `names` are the tensors `made`."""
    for name, output in zip(made, names, strict=False):
        nodes.add("Identity", name, name=output)
    whole = {
        "by_head": [0, 0, HEADS, SIZE],
        "joined": [0, 0, WIDTH],
        "zero": [0],
        "last": [-1],
        "one_axis": [1],
    }
    whole |= {"heads_and_rows": [1, 2]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in whole.items()]
    constants += [
        numpy_helper.from_array(np.array(value, np.int64), name) for name, value in (("one", 1), ("none", 0))
    ]
    numbers = {"low": -1e4, "nought": 0.0, "unit": 1.0, "root": SIZE**0.5}
    constants += [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()
    ]
    constants += [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()]
    constants.append(numpy_helper.from_array(np.ascontiguousarray(WEIGHTS["words"].T), "words_turned"))
    constants.append(numpy_helper.from_array(np.zeros((0, HEADS, 1, SIZE), np.float32), "no_values"))
    values = dict(zip(names, _values(names), strict=True))
    shapes: dict[str, list[str | int | None]] = {
        "logits": ["rows", "input_ids_length", WORDS],
        "last_hidden_state": ["rows", "input_ids_length", WIDTH],
    }
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
        if name in shapes
        else values[name]
        for name in names
    ]
    graph = helper.make_graph(nodes.every, "decoder", list(inputs), outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


# Layout -> its graphs, and what the manifest says of it.
LAYOUTS: dict[str, tuple[dict[str, onnx.ModelProto], dict[str, Any]]] = {
    "alone": ({"model": lone_graph()}, {"cache": CACHE}),
    "alone, ids and cache only": ({"model": lone_graph(masked=False, placed=False)}, {"cache": CACHE}),
    "alone, merged": ({"model": lone_graph(merged=True)}, {"cache": CACHE}),
    "alone, left padding": ({"model": lone_graph()}, {"cache": CACHE, "left_padding": True}),
    "alone, without a cache": ({"model": lone_graph(cached=False)}, {}),
    "behind an encoder, merged": (
        {"encoder": encoder_graph(), "decoder": merged_graph()},
        {"cache": CACHE, "start": START},
    ),
    "behind an encoder, merged, begun by two tokens": (
        {"encoder": encoder_graph(), "decoder": merged_graph()},
        {"cache": CACHE, "start": [START, TOKENS["fever"]]},
    ),
    "behind an encoder, split": (
        {
            "encoder": encoder_graph(),
            "decoder": decoder_graph(past=False),
            "decoder-with-past": decoder_graph(past=True),
        },
        {"cache": CACHE, "start": START},
    ),
    "behind an encoder, own cache": (
        {"encoder": encoder_graph(), "decoder": decoder_graph(past=True, cross=False)},
        {"cache": CACHE | {"cross": False}, "start": START},
    ),
    "behind an encoder, left padding": (
        {
            "encoder": encoder_graph(),
            "decoder": decoder_graph(past=False, padded=True),
            "decoder-with-past": decoder_graph(past=True, padded=True),
        },
        {"cache": CACHE, "start": START, "left_padding": True},
    ),
}


def write_generator(folder: Path, layout: str, **parameters: Any) -> Path:
    """A sealed bundle of text-generation in `folder`, which is returned."""
    graphs, said = LAYOUTS[layout]
    write_tokenizer(folder)
    table = manifest_table("text-generation", **said | parameters)
    if "model" not in graphs:
        table["graphs"] = {name: {"file": f"{name}.onnx"} for name in graphs}
    (folder / "manifest.toml").write_text(toml(table))
    (folder / "CARD.md").write_text("# dose-effect\n\nMade up for tests.\n")
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    texts = ["fever", "no fever", "no cough.", "pain cough rest", "no pain", "rest rest fever"]
    every: list[tuple[str, dict[str, Any]]] = [(text, {}) for text in texts]
    every += [("cough", {"beams": 3}), ("cough", {"temperature": 1.0, "seed": 5})]
    cases = [{"input": {"text": text}, "options": options, "expected": {}} for text, options in every]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder
