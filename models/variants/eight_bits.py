"""Weights of an ONNX graph in eight bits: a quarter of its size, with products still in float32.

Each output channel has its own scale, so that answers depend on the row alone: dynamic quantisation, which scales by what a
batch happens to hold, would make them depend on other rows.
"""

from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

LEAST: Final = 4096  # smaller tensors stay as they are


def with_int8_weights(
    model: onnx.ModelProto, *, least: int = LEAST, kernels: bool = False
) -> onnx.ModelProto:
    """The same model with its matrices as int8, which the graph turns into float32 (symmetric, to the nearest of 255 steps).

    Tensors of fewer than `least` numbers stay. With `kernels`, tensors of more than two axes become int8, too.
    """
    graph = model.graph
    channels = {name: axis for node in graph.node for name, axis in _channels(node)}
    nodes, kept, replaced = [], [], set()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        fits = values.ndim == 2 or (kernels and values.ndim > 2)
        if tensor.data_type != onnx.TensorProto.FLOAT or not fits or values.size < least:
            kept.append(tensor)
            continue
        axis = channels.get(tensor.name, values.ndim - 1)
        codes, scales = _coded(values, axis)
        names = {part: f"{tensor.name}_{part}" for part in ("codes", "scales")}
        kept += [
            numpy_helper.from_array(codes, names["codes"]),
            numpy_helper.from_array(scales, names["scales"]),
        ]
        nodes.append(helper.make_node("DequantizeLinear", [*names.values()], [tensor.name], axis=axis))
        replaced.add(tensor.name)
    inputs = [each for each in graph.input if each.name not in replaced]  # old graphs list weights there
    every = [*nodes, *graph.node]
    del graph.initializer[:], graph.node[:], graph.input[:]
    graph.initializer.extend(kept)
    graph.node.extend(every)
    graph.input.extend(inputs)
    return model


def _channels(node: Any) -> list[tuple[str, int]]:
    """The weights of a node whose output channels are their first axis; by default they are the last."""
    turned = node.op_type == "Gemm" and any(each.name == "transB" and each.i for each in node.attribute)
    return [(node.input[1], 0)] if node.op_type == "Conv" or turned else []


def _coded(values: Any, axis: int) -> tuple[Any, Any]:
    """Codes int8 of the shape of `values`, and the scale float32 of each channel along `axis`."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    scales = np.maximum(np.abs(values).max(axis=others), 1e-12).astype(np.float32) / 127
    shape = [-1 if each == axis else 1 for each in range(values.ndim)]
    return np.clip(np.rint(values / scales.reshape(shape)), -127, 127).astype(np.int8), scales
