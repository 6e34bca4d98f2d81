"""The last linear layer of a graph: found behind the scores, its inputs computed, a step added to its weights in the file.

Found are a product with constant weights (MatMul or Gemm) whose result is the output, but for one constant that is added and a
logistic function or softmax; and the linear classifier and regressor of ONNX-ML, as scikit-learn's converter writes them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.pipelines import Array
from models.sandbox import CpuRun

Floats = NDArray[np.float64]

VALUE: Final = "value"  # the form of the number of a regression
_PASSED: Final = frozenset(("Identity", "Cast"))  # between the layer and the output
_ACTIVATION: Final = {"probability": "Sigmoid", "probabilities": "Softmax"}  # of the forms of scores
_LINEAR: Final = frozenset(("LinearClassifier", "LinearRegressor"))


@dataclass(frozen=True)
class Head:
    """A last layer: scores = features @ weights + offset. `free` are the columns of logits [N,C] that a step moves.

    `tensors` are the initializers of weights and, if there is one, of the offset; `flipped` weights are [K,D]. Without them the
    layer is a linear classifier or regressor of ONNX-ML; the rows of a `pair` are the same with opposite signs.
    """

    features: str
    free: tuple[int, ...]
    node: int
    tensors: tuple[str, ...] = ()
    flipped: bool = False
    pair: bool = False

    @property
    def has_offset(self) -> bool:
        """Whether a constant is added that a step may change."""
        return len(self.tensors) != 1

    def move(self, model: onnx.ModelProto, step: Floats, shift: Floats) -> None:
        """Add a step [D,F] to the weights of the free columns and a shift [F] to their offset."""
        if self.tensors:
            moves = (step.T if self.flipped else step, shift)
            for name, move in zip(self.tensors, moves, strict=False):
                tensor = next(each for each in model.graph.initializer if each.name == name)
                old = numpy_helper.to_array(tensor)
                new = (old.astype(np.float64) + move.reshape(old.shape)).astype(old.dtype)
                tensor.CopyFrom(numpy_helper.from_array(new, name))
            return
        if self.pair:
            step, shift = np.hstack([-step, step]), np.r_[-shift, shift]
        known = {each.name: each for each in model.graph.node[self.node].attribute}
        for name, move in (("coefficients", step.T.ravel()), ("intercepts", shift)):
            known[name].floats[:] = (np.array(known[name].floats) + move).tolist()


def head_of(model: onnx.ModelProto, output: str, form: str, positive: int | None) -> Head | None:
    """The last layer behind `output`, the scores in one of the forms; None if there is none of the kinds that are known."""
    nodes = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    activation = _ACTIVATION.get(form)
    offset = ""
    while (place := nodes.get(output)) is not None:
        node = model.graph.node[place]
        if node.op_type in _PASSED or (node.op_type == "Normalizer" and not offset):
            output = node.input[0]
        elif node.op_type == activation:
            activation, output = None, node.input[0]
        elif node.op_type == "Add" and not offset and activation is None:
            offset = next((name for name in node.input if _weights(model, name) is not None), "")
            output = next((name for name in node.input if name != offset), "")
        elif node.op_type in _LINEAR and not offset:
            return _of_ml(node, place, output, form)
        elif node.op_type in {"MatMul", "Gemm"} and activation is None:
            return _product(model, place, offset, form, positive)
        else:
            return None
    return None


def _product(model: onnx.ModelProto, place: int, offset: str, form: str, positive: int | None) -> Head | None:
    node = model.graph.node[place]
    told = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    plain = told.get("alpha", 1.0) == told.get("beta", 1.0) == 1.0 and not told.get("transA")
    weights = _weights(model, node.input[1])
    if not plain or weights is None or weights.ndim != 2:
        return None
    if len(node.input) > 2:
        if offset:
            return None
        offset = node.input[2]
    flipped = bool(told.get("transB"))
    number = weights.shape[0 if flipped else 1]
    tensors = (node.input[1], offset) if offset else (node.input[1],)
    shift = _weights(model, offset) if offset else np.zeros(number)
    if shift is None or shift.size != number:
        return None
    free = tuple(range(number))
    if form in {"probability", "logit"}:
        free = () if positive is None or number != 1 else (positive,)
    if form == VALUE and number != 1:
        free = ()
    return Head(node.input[0], free, place, tensors, flipped) if free else None


def _of_ml(node: onnx.NodeProto, place: int, output: str, form: str) -> Head | None:
    told = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    rows, transform = len(told.get("intercepts", ())), told.get("post_transform", b"NONE")
    if node.op_type == "LinearRegressor":
        return (
            Head(node.input[0], (0,), place) if rows == 1 and transform == b"NONE" and form == VALUE else None
        )
    if form != "probabilities" or output not in node.output[1:] or rows < 2:
        return None
    if transform == b"LOGISTIC" and rows == 2:
        return Head(node.input[0], (1,), place, pair=True)
    return Head(node.input[0], tuple(range(rows)), place) if transform == b"SOFTMAX" else None


def _weights(model: onnx.ModelProto, name: str) -> Array | None:
    """The values of an initializer that one operator takes; None of any other tensor."""
    tensor = next((each for each in model.graph.initializer if each.name == name), None)
    uses = sum(list(node.input).count(name) for node in model.graph.node)
    return None if tensor is None or uses != 1 or tensor.external_data else numpy_helper.to_array(tensor)


def features_of(model: onnx.ModelProto, head: Head, feeds: Sequence[Mapping[str, Array]]) -> Floats:
    """The inputs of the last layer [N,D] for what the graph was fed."""
    if any(each.name == head.features for each in model.graph.input):
        return np.concatenate([np.asarray(fed[head.features], np.float64) for fed in feeds])
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(onnx.ValueInfoProto(name=head.features))
    return output_of(shown, head.features, feeds)


def output_of(model: onnx.ModelProto, name: str, feeds: Sequence[Mapping[str, Array]]) -> Floats:
    """An output of a graph [N, ...] for what it is fed, part by part."""
    return np.concatenate(list(_outputs(model, name, feeds)))


def _outputs(model: onnx.ModelProto, name: str, feeds: Sequence[Mapping[str, Array]]) -> Iterator[Floats]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, str(path))
        run: Any = CpuRun()
        for fed in feeds:
            yield np.asarray(run(path, fed)[name], np.float64)
