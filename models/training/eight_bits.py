"""Weights of an ONNX graph in eight bits: a quarter of its size, with products still in float32.

Each column of a matrix has its own scale, so that answers depend on the row alone: dynamic quantisation, which scales by what a
batch happens to hold, would make them depend on other rows.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

LEAST = 4096  # smaller tensors stay as they are


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
