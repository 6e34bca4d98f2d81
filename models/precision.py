"""In which precision a graph holds its weights: float32, float16 or eight bits.

Weights are the numbers that a graph holds as constants, in floats or in integers of at most eight bits. Wider integers are
places and shapes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import onnx

from models.manifest import Precision

PRECISIONS: Final = get_args(Precision)
_OF_TYPE: Final[Mapping[str, Precision]] = {
    "FLOAT": "fp32", "DOUBLE": "fp32",
    "FLOAT16": "fp16", "BFLOAT16": "fp16",
    "INT8": "int8", "UINT8": "int8", "INT4": "int8", "UINT4": "int8",
}  # fmt: skip


def weights_of(path: Path) -> dict[Precision, int]:
    """How many weights the ONNX file at `path` holds in each precision. Files beside it are not read."""
    counts: Counter[Precision] = Counter()
    for tensor in _constants(onnx.load(str(path), load_external_data=False).graph):
        found = _OF_TYPE.get(onnx.TensorProto.DataType.Name(tensor.data_type))
        if found is not None:
            size = 1
            for length in tensor.dims:
                size *= length
            counts[found] += size
    return dict(counts)


def held(counts: Mapping[Precision, int]) -> Precision:
    """The precision of most weights; the wider of two that are equal, and fp32 for a graph without weights."""
    return max(PRECISIONS, key=lambda precision: counts.get(precision, 0))


def precision_of(paths: Iterable[Path]) -> Precision:
    """The precision of most weights of some ONNX files together."""
    counts: Counter[Precision] = Counter()
    for path in paths:
        counts.update(weights_of(path))
    return held(counts)


def _constants(graph: Any) -> Iterator[Any]:
    """Every constant tensor of a graph and of the graphs in it, and the numbers of trees as a tensor of float32."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _constants(attribute.g)
            for inner in attribute.graphs:
                yield from _constants(inner)
            if attribute.floats:
                yield onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[len(attribute.floats)])
