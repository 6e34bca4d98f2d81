"""Recalibration of a classifier to new rows, written into its graph behind the scores. Changes no weight of the model.

Of a model with a positive label by Platt's scaling (1999) of its log odds, of others by a temperature (Guo et al., ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.manifest import MANIFEST_NAME, BundleRefused, Fault
from models.training.calibration import platt, softmax, temperature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCORES: Final = ("probability", "probabilities", "logit", "logits")
SUREST: Final = (
    1e-7  # a probability nearer to 0 or 1 than this is taken for this: float32 has no more digits below 1
)
AFFINE: Final = 7  # operator set from which on operands of other shapes are broadcast
DIGITS: Final = 6  # of a threshold


@dataclass(frozen=True)
class Calibration:
    """New probabilities are softmax(scale * log(old) + offsets); the offset is 0 of every label but the positive one."""

    scale: float
    offset: float = 0.0
    positive: int | None = None

    def probabilities(self, old: Floats) -> Floats:
        """[N, C] -> [N, C]."""
        logits = self.scale * np.log(np.clip(old, SUREST, 1 - SUREST))
        if self.positive is not None:
            logits[:, self.positive] += self.offset
        return softmax(logits)

    def threshold(self, old: float) -> float:
        """The probability of the positive label that takes the place of `old`, so that the same rows reach it."""
        if not 0 < old < 1:
            return old
        odds = self.scale * np.log(old / (1 - old)) + self.offset
        return round(float(1 / (1 + np.exp(-odds))), DIGITS)

    def __str__(self) -> str:
        if self.positive is None:
            return f"temperature scaling, T = {1 / self.scale:.4g}"
        return f"Platt's scaling of the log odds: {self.scale:.4g} * log odds {self.offset:+.4g}"


def fitted(probabilities: Floats, truth: Ints, positive: int | None) -> Calibration:
    """The calibration of the least cross-entropy for rows with probabilities [N, C] and truth [N], the place of a label.

    Raises BundleRefused where the probabilities fall as the truth rises: labels are exchanged, or the model does not suit.
    """
    found = calibrated_to(probabilities, truth, positive)
    if found.scale <= 0:
        reason = (
            "the more probable the model finds the positive label, the rarer it is in these rows: look whether --value "
            "exchanges the labels; if not, the model does not suit these rows"
        )
        raise BundleRefused(Fault("data", "refit_contradicts", reason))
    return found


def calibrated_to(probabilities: Floats, truth: Ints, positive: int | None) -> Calibration:
    """The same, whatever it is."""
    if positive is None:
        return Calibration(1 / temperature(np.log(np.clip(probabilities, SUREST, 1)), truth))
    known = np.clip(probabilities[:, positive], SUREST, 1 - SUREST)
    return Calibration(*platt(np.log(known / (1 - known)), (truth == positive).astype(np.int64)), positive)


def calibrate_graph(model: onnx.ModelProto, output: str, form: str, found: Calibration) -> str:
    """Add the calibration behind the graph's `output`, which is read as `form` (one of SCORES); the new output's name.

    The old output is one no longer. Raises BundleRefused for outputs that are no tensor of numbers, and for old operator sets.
    """
    place = next(at for at, each in enumerate(model.graph.output) if each.name == output)
    value = model.graph.output[place]
    _check(model, value)
    added = Added(model)
    scores = added.node("Cast", output, to=TensorProto.FLOAT)
    last = _calibrated(added, scores, form, found)
    replaced = onnx.ValueInfoProto()
    replaced.CopyFrom(value)
    replaced.name = last
    replaced.type.tensor_type.elem_type = TensorProto.FLOAT
    value.CopyFrom(replaced)
    return last


def _calibrated(added: Added, scores: str, form: str, found: Calibration) -> str:
    if form in {"probability", "probabilities"}:
        least, most = added.constant(SUREST), added.constant(1 - SUREST)
        scores = added.node("Min", added.node("Max", scores, least), most)
        logs = added.node("Log", scores)
        if form == "probability":
            logs = added.node("Sub", logs, added.node("Log", added.node("Sub", added.constant(1.0), scores)))
        scores = logs
    scaled = added.node("Mul", scores, added.constant(found.scale))
    if found.positive is not None:
        scaled = added.node("Add", scaled, added.constant(_offsets(form, found)))
    if form == "probability":
        return added.node("Sigmoid", scaled)
    return added.node("Softmax", scaled, axis=1) if form == "probabilities" else scaled


def _offsets(form: str, found: Calibration) -> float | list[float]:
    if form in {"probability", "logit"}:
        return found.offset
    return [found.offset if place == found.positive else 0.0 for place in range(2)]


class Added:
    """Operators that are added to the end of a graph, under names that it does not use."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._taken = set(_names(model.graph))
        if not any(each.domain in {"", "ai.onnx"} for each in model.opset_import):
            model.opset_import.append(helper.make_opsetid("", 13))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of its output."""
        name = self._name(operator.lower())
        self._graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, values: object) -> str:
        """A float32 tensor: a node, because graphs of old versions of ONNX list every initializer as an input."""
        name = self._name("constant")
        tensor = numpy_helper.from_array(np.asarray(values, np.float32), name)
        self._graph.node.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def _name(self, stem: str) -> str:
        number = 0
        while (name := f"refit_{stem}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name


def _names(graph: onnx.GraphProto) -> Iterable[str]:
    for node in graph.node:
        yield from node.input
        yield from node.output
    for each in (*graph.input, *graph.output, *graph.initializer):
        yield each.name


def _check(model: onnx.ModelProto, value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        reason = (
            f"the output {value.name!r} is a list of maps, behind which nothing can be added: export the model with "
            "`zipmap=False` and publish it first"
        )
        raise BundleRefused(Fault(MANIFEST_NAME, "refit_unsuited", reason))
    known: Mapping[str, int] = {each.domain: each.version for each in model.opset_import}
    version = known.get("", known.get("ai.onnx", AFFINE))
    if version < AFFINE:
        reason = (
            f"it uses operator set {version}, and {AFFINE} or later is needed: export it again, or convert it with "
            "onnx.version_converter"
        )
        raise BundleRefused(Fault(MANIFEST_NAME, "refit_operator_set", reason))
