"""Probes a graph with inputs beyond its golden cases: a probability must be one for every accepted input.

A graph that returns logits passes its golden cases if those happen to lie between 0 and 1. So the pipeline provides inputs
at the extremes of what it accepts and, from the graph's outputs for them, inputs that should drive the outputs furthest up
and down. A graph that ends in a sigmoid or softmax cannot leave [0, 1]; logits do, unless the inputs hardly matter. Other
faults of these answers, such as NaN, are ignored here, because a worker refuses them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from models.manifest import Fault
from models.pipelines import Array, Pipeline, SinglePass

_ROUNDING = 1e-4  # as in classification
_MODEL = "model.onnx"
PROBABILITIES = frozenset(("probability", "probabilities"))  # outputs of these names; logits may be anything


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
    """A fault if `run` returns invalid probabilities, for at most `batch` inputs at once. Raises what `run` raises."""
    if not (isinstance(pipeline, HasExtremes) and isinstance(pipeline, SinglePass)):
        return []
    if not any(spec.name in PROBABILITIES for spec in pipeline.outputs):
        return []
    first = _outputs(pipeline, pipeline.extremes(), batch, run)
    faults = _faults(first)
    return faults or _faults(_outputs(pipeline, pipeline.further_extremes(first), batch, run))


def _outputs(pipeline: SinglePass, payloads: Sequence[bytes], batch: int, run: RunGraph) -> dict[str, Array]:
    found = [
        run(pipeline.preprocess(payloads[start : start + batch])) for start in range(0, len(payloads), batch)
    ]
    return {
        spec.name: np.concatenate([np.asarray(part[spec.name]) for part in found])
        for spec in pipeline.outputs
        if found and spec.name in PROBABILITIES
    }


def _faults(outputs: Mapping[str, Array]) -> list[Fault]:
    faults = []
    for name, values in outputs.items():
        outside = values[(values < -_ROUNDING) | (values > 1 + _ROUNDING)]  # NaN is neither
        if outside.size:
            reason = (
                f"{name!r} is {float(outside.flat[0]):.3g} for an input within the ranges of the manifest, and must be a "
                "probability, between 0 and 1: end the graph with a sigmoid or a softmax, or name its output as logits"
            )
            faults.append(Fault(_MODEL, "not_a_probability", reason))
    return faults
