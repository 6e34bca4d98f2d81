"""Weights of an ONNX graph in eight bits: a quarter of its size, with products still in float32.

Each column of a matrix has its own scale, so that answers depend on the row alone: dynamic quantisation, which scales by what a
batch happens to hold, would make them depend on other rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from models.training.export import export, parity, save

LEAST = 4096  # smaller tensors stay as they are


def write_graph(path: Path, model: nn.Module, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> float:
    """Write a model of texts with weights of eight bits; the gap between its float32 form and the trained model.

    `feeds` is an example: each is int64 [N,L], of any N and L.
    """
    dynamic = [{0: "rows", 1: "tokens"}] * len(feeds)
    export(model, tuple(feeds.values()), path, inputs=list(feeds), outputs=outputs, dynamic=dynamic)
    with torch.no_grad():
        wanted = {name: each.numpy() for name, each in zip(outputs, model(*feeds.values()), strict=True)}
    gap = parity(path, {name: each.numpy() for name, each in feeds.items()}, wanted)
    save(with_int8_weights(onnx.load(str(path))), path)
    return gap


def with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with its matrices as int8, which the graph turns into float32 (symmetric, to the nearest of 255 steps)."""
    graph = model.graph
    nodes, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != onnx.TensorProto.FLOAT or values.ndim != 2 or values.size < LEAST:
            kept.append(tensor)
            continue
        scales = np.maximum(np.abs(values).max(axis=0), 1e-12).astype(np.float32) / 127
        codes = np.clip(np.rint(values / scales), -127, 127).astype(np.int8)
        names = {part: f"{tensor.name}_{part}" for part in ("codes", "scales")}
        kept += [
            numpy_helper.from_array(codes, names["codes"]),
            numpy_helper.from_array(scales, names["scales"]),
        ]
        nodes.append(helper.make_node("DequantizeLinear", [*names.values()], [tensor.name], axis=1))
    every = [*nodes, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(every)
    return model
