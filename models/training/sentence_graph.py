"""The graph of a sentence encoder: BERT, the mean over its tokens, a linear map, and length 1; weights in eight bits.

Weights are kept as int8 with a scale for each column (of words, for each row); activations stay float32, so that a row's
vector does not depend on the rows beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from models.training.encoders import Pretrained
from models.training.export import OPSET, save

Floats = NDArray[np.float32]
FEEDS = ("input_ids", "attention_mask")


def write_sentence_graph(
    source: Pretrained, path: Path, most_tokens: int, projection: Floats | None = None
) -> None:
    """`input_ids` and `attention_mask` int64 [N,L] to `vector` float32 [N,H]; L is at most `most_tokens`.

    `projection` is the linear map [H,H].
    """
    made = _Writing(source)
    states = made.embedded(most_tokens)
    for layer in range(source.layers):
        states = made.layer(states, f"layers.{layer}.")
    made.pooled(states, projection)
    feeds = [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in FEEDS]
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["rows", source.width])
    graph = helper.make_graph(made.nodes, "sentence", feeds, [vector], made.constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)


class _Writing:
    """The nodes and constants of a graph as it is written; a value is named by its number."""

    def __init__(self, source: Pretrained) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._source = source
        self._ones = self._node("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self._node(
            "Sub", self._constant(np.float32(1)), self._node("Unsqueeze", self._ones, self._axes(1, 2))
        )
        self._bias = self._node("Mul", hidden, self._constant(np.float32(-10000)))

    def embedded(self, most_tokens: int) -> str:
        """Words and positions, [N,L,H]."""
        words, scales = _eight_bits(_numbers(self._source.words), axis=1)
        rows = self._node(
            "Cast", self._node("Gather", self._constant(words), "input_ids"), to=TensorProto.FLOAT
        )
        rows = self._node("Mul", rows, self._node("Gather", self._constant(scales), "input_ids"))
        places = _numbers(self._source.weights["positions"]) + _numbers(self._source.weights["kind"])
        places = places[:most_tokens]
        length = self._node("Slice", self._node("Shape", "input_ids"), self._axes(1), self._axes(2))
        first = self._node("Slice", self._constant(places), self._axes(0), length, self._axes(0))
        return self._norm(self._node("Add", rows, first), "norm")

    def layer(self, states: str, name: str) -> str:
        """One layer with the norm behind each part, [N,L,H] to [N,L,H]."""
        query = self._heads(states, f"{name}query", [0, 2, 1, 3])
        key = self._heads(states, f"{name}key", [0, 2, 3, 1])
        value = self._heads(states, f"{name}value", [0, 2, 1, 3])
        width = self._source.width // self._source.heads
        scores = self._node("Div", self._node("MatMul", query, key), self._constant(np.float32(width**0.5)))
        shares = self._node("Softmax", self._node("Add", scores, self._bias), axis=-1)
        mixed = self._node("Transpose", self._node("MatMul", shares, value), perm=[0, 2, 1, 3])
        joined = self._node("Reshape", mixed, self._axes(0, 0, self._source.width))
        states = self._norm(self._node("Add", self._linear(joined, f"{name}out"), states), f"{name}norm_1")
        inner = self._node("Gelu", self._linear(states, f"{name}inner"))
        return self._norm(self._node("Add", self._linear(inner, f"{name}outer"), states), f"{name}norm_2")

    def pooled(self, states: str, projection: Floats | None) -> None:
        """The mean over the tokens, mapped, at length 1: `vector`."""
        shown = self._node("Mul", states, self._node("Unsqueeze", self._ones, self._axes(2)))
        total = self._node("ReduceSum", shown, self._axes(1), keepdims=0)
        mean = self._node("Div", total, self._node("ReduceSum", self._ones, self._axes(1), keepdims=1))
        if projection is not None:
            mean = self._node("MatMul", mean, self._constant(projection.astype(np.float32)))
        self.nodes.append(helper.make_node("LpNormalization", [mean], ["vector"], axis=-1, p=2))

    def _heads(self, states: str, name: str, order: list[int]) -> str:
        parts = self._axes(0, 0, self._source.heads, self._source.width // self._source.heads)
        return self._node("Transpose", self._node("Reshape", self._linear(states, name), parts), perm=order)

    def _linear(self, states: str, name: str) -> str:
        weight, scales = _eight_bits(_numbers(self._source.weights[f"{name}.weight"]).T, axis=0)
        whole = self._node(
            "DequantizeLinear", self._constant(weight), self._constant(scales.reshape(-1)), axis=1
        )
        bias = self._constant(_numbers(self._source.weights[f"{name}.bias"]))
        return self._node("Add", self._node("MatMul", states, whole), bias)

    def _norm(self, states: str, name: str) -> str:
        parts = (
            self._constant(_numbers(self._source.weights[f"{name}.{part}"])) for part in ("weight", "bias")
        )
        return self._node("LayerNormalization", states, *parts, axis=-1, epsilon=self._source.epsilon)

    def _axes(self, *numbers: int) -> str:
        return self._constant(np.array(numbers, np.int64))

    def _constant(self, value: NDArray[np.generic] | np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        )
        return name

    def _node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def _numbers(tensor: Tensor) -> Floats:
    numbers: Floats = tensor.detach().float().numpy()
    return numbers


def _eight_bits(weight: Floats, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """The weight as int8, and the scales by which it is multiplied: the greatest along an axis becomes 127."""
    scales = np.abs(weight).max(axis=axis, keepdims=True) / 127
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales
