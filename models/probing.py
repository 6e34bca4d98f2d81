"""Probes a graph with inputs beyond its golden cases: a probability must be one for every accepted input.

A graph that returns logits passes its golden cases if those happen to lie between 0 and 1. So the pipeline provides inputs
at the extremes of what it accepts and, from the graph's outputs for them, inputs that should drive the outputs furthest up
and down. A graph that ends in a sigmoid or softmax cannot leave [0, 1]; logits do, unless the inputs hardly matter.
Conversely, an output named as logits that never leaves [0, 1] holds probabilities, and softmax would flatten them. Other
faults of these answers, such as NaN, are ignored here, because a worker refuses them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from models.manifest import MANIFEST_NAME, Fault
from models.pipelines import Array, Pipeline, SinglePass

_ROUNDING = 1e-4  # as in classification
_SUM = 1e-3
_MODEL = "model.onnx"
PROBABILITIES = frozenset(("probability", "probabilities"))  # outputs of these names
_LOGITS = {"logit": "probability", "logits": "probabilities"}  # output -> what it becomes


# feeds -> outputs of the one graph.
RunGraph = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@runtime_checkable
class HasExtremes(Protocol):
    """A pipeline that can produce inputs at the extremes of what it accepts."""

    def extremes(self) -> Sequence[bytes]:
        """Stored inputs at the extremes of what is accepted."""

    def further_extremes(self, outputs: Mapping[str, Array]) -> Sequence[bytes]:
        """More such inputs, chosen by the graph's outputs for `extremes`, which are in the same order."""


def check_probabilities(pipeline: Pipeline, batch: int, run: RunGraph) -> list[Fault]:
    """Faults if `run` returns invalid probabilities, or probabilities as logits, for at most `batch` inputs at once.

    Raises what `run` raises.
    """
    if not (isinstance(pipeline, HasExtremes) and isinstance(pipeline, SinglePass)):
        return []
    if not any(spec.name in PROBABILITIES | _LOGITS.keys() for spec in pipeline.outputs):
        return []
    first = _outputs(pipeline, pipeline.extremes(), batch, run)
    if faults := _outside(first):
        return faults
    further = _outputs(pipeline, pipeline.further_extremes(first), batch, run)
    return _outside(further) + _leveled(
        {
            name: np.concatenate([values, further[name]]) if name in further else values
            for name, values in first.items()
        }
    )


def _outputs(pipeline: SinglePass, payloads: Sequence[bytes], batch: int, run: RunGraph) -> dict[str, Array]:
    found = [
        run(pipeline.preprocess(payloads[start : start + batch])) for start in range(0, len(payloads), batch)
    ]
    return {
        spec.name: np.concatenate([np.asarray(part[spec.name]) for part in found])
        for spec in pipeline.outputs
        if found and spec.name in PROBABILITIES | _LOGITS.keys()
    }


def _outside(outputs: Mapping[str, Array]) -> list[Fault]:
    """Faults of probabilities that leave [0, 1]."""
    faults = []
    for name, values in outputs.items():
        outside = values[(values < -_ROUNDING) | (values > 1 + _ROUNDING)]  # NaN is neither
        if name in PROBABILITIES and outside.size:
            reason = (
                f"{name!r} is {float(outside.flat[0]):.3g} for an input within the ranges of the manifest, and must be a "
                "probability, between 0 and 1: end the graph with a sigmoid or a softmax, or name its output as logits; "
                'for a regression use `pipeline = "tabular-regression"`'
            )
            faults.append(Fault(_MODEL, "not_a_probability", reason))
    return faults


def _leveled(outputs: Mapping[str, Array]) -> list[Fault]:
    """Faults of logits that are probabilities: each between 0 and 1, and those of a row 1 where some rows are no numbers."""
    faults = []
    for name, values in outputs.items():
        numbers = values[np.isfinite(values).all(axis=1)]
        inside = len(numbers) > 0 and numbers.min() >= -_ROUNDING and numbers.max() <= 1 + _ROUNDING
        certain = len(numbers) == len(values) or bool((np.abs(numbers.sum(axis=1) - 1) < _SUM).all())
        if name in _LOGITS and inside and certain:
            right = _LOGITS[name]
            reason = (
                f"{name!r} is between 0 and 1 for every input that was tried, as probabilities are, and would be made into "
                f'probabilities once more: write `output = "{right}"`, and `outputs.{right}` in [graph]'
            )
            faults.append(Fault(f"{MANIFEST_NAME}: parameters.output", "not_a_logit", reason))
    return faults
