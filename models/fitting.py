"""Adapts the inputs and outputs of a graph to those of a pipeline.

With the `[graph]` table of the manifest, an ONNX file that was exported elsewhere can be used unchanged: tensors are
renamed, element types are converted, the maps of classes that scikit-learn's converter writes become columns, and a graph
that takes one row at a time is run row by row. Imports neither onnx nor ONNX Runtime.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from models.feeding import Feeding
from models.manifest import MANIFEST_NAME, BundleRefused, Fault, GraphTable, ManifestInvalid
from models.pipelines import Array, GraphSpec, PredictionInvalid, TensorSpec
from models.signature import CLASS_MAPS, FLOATS, Signature, Tensor
from models.tensor_faults import fault, fits, listed, missing, other_shape, rows_reason, unknown, unlike

# Element type of an output as the pipeline reads it -> those of graphs that it is read from; a label is no score.
_READS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(FLOATS, FLOATS),
    "int64": ("int64", "int32"),
}

Run = Callable[[Mapping[str, Array]], Mapping[str, Any]]


class GraphUnknown(BundleRefused):
    """A pipeline runs a graph that its bundle lacks."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        reason = (
            f"the pipeline runs a graph {name!r}, but the bundle has {', '.join(sorted(known)) or 'none'}: "
        )
        advice = "name one of its graphs in `run(feeds, graph=...)`"
        super().__init__(Fault(f"{MANIFEST_NAME}: graphs", "graph_name_unknown", reason + advice))


class Fitting:
    """Converts between the tensors of a pipeline and those of a graph. Immutable.

    Raises ManifestInvalid with every reason if they do not match.
    """

    def __init__(self, table: GraphTable, spec: GraphSpec, signature: Signature) -> None:
        self._outputs = {each.name: table.outputs.get(each.name, each.name) for each in spec.outputs}
        self._specs = {each.name: each for each in spec.outputs}
        self._written = table.outputs
        self._classes = table.classes
        self._given = {tensor.name: tensor for tensor in signature.outputs}
        self._feeding = Feeding(table, spec.feeds, signature.inputs)
        astray = sorted(table.outputs.keys() - self._specs.keys())
        faults = [
            *self._feeding.faults,
            *(unknown("outputs", name, self._specs) for name in astray),
            # An output for which an unknown key may have been meant is not missing: with the key renamed, it may be right.
            *(
                found
                for each in spec.outputs
                if each.name in table.outputs or not astray
                for found in self._unfit(each)
            ),
            *self._unfit_classes(),
        ]
        if faults:
            raise ManifestInvalid(*faults)
        one_row = table.row_by_row or any(tensor.shape[:1] == (1,) for tensor in signature.inputs)
        self._one_row = one_row and not any(feed.lone for feed in self._feeding.feeds)

    def run(self, run: Run, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Call `run` with the graph's inputs; returns its outputs as the pipeline's. Raises what `run` raises."""
        fed = self._feeding.fed(feeds)
        if not self._one_row:
            return self._named(run(fed))
        count = len(next(iter(fed.values())))
        rows = [
            self._named(run({name: value[row : row + 1] for name, value in fed.items()}))
            for row in range(count)
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    @property
    def one_row(self) -> bool:
        """Whether the graph is run one row at a time."""
        return self._one_row

    def _named(self, given: Mapping[str, Any]) -> dict[str, Array]:
        return {name: self._converted(spec, given[self._outputs[name]]) for name, spec in self._specs.items()}

    def _converted(self, spec: TensorSpec, value: Any) -> Array:
        """An output in the pipeline's element type, [N, ...]."""
        if self._given[self._outputs[spec.name]].element == CLASS_MAPS:
            return _of_maps(spec, value, self._classes)
        array = np.asarray(value)
        if array.ndim == 1 and spec.shape == (1,):
            array = array[:, np.newaxis]
        return array.astype(spec.dtype, copy=False)

    def _unfit(self, spec: TensorSpec) -> list[Fault]:
        """The fault of an output that the pipeline needs, if any."""
        tensor = self._given.get(self._outputs[spec.name])
        written = self._written.get(spec.name)
        reason = _reason(tensor, spec) if tensor else missing("outputs", spec, self._given, written)
        return [] if reason is None else [unlike("outputs", spec, reason)]

    def _unfit_classes(self) -> list[Fault]:
        """The fault of `classes` in the manifest, if any."""
        if self._classes is None:
            return []
        read = [spec for spec in self._specs.values() if spec.classes]
        if not read:
            reason = "the pipeline reads no scores by class from this graph: remove the key"
            return [fault("classes", "classes_differ", reason)]
        count = len(read[0].classes)
        if len(self._classes) == count:
            return []
        reason = (
            f"{len(self._classes)} classes for {count} labels: list one for each, in the order of `labels`"
        )
        return [fault("classes", "classes_differ", reason)]


def _reason(tensor: Tensor, spec: TensorSpec) -> str | None:
    """Why `tensor` cannot be read as the pipeline's output; None if it can."""
    if tensor.element == CLASS_MAPS:
        is_read = len(spec.shape) == 1 and spec.classes
        return None if is_read else "is a map of classes, which the pipeline cannot read"
    if tensor.element != spec.dtype and tensor.element not in _READS.get(spec.dtype, ()):
        likely = ", as labels have" if spec.dtype in FLOATS and tensor.element.startswith("int") else ""
        return f"has another element type, {tensor.element}{likely}"
    rows, *lengths = tensor.shape or (None, *spec.shape)  # exporters may omit the shapes of outputs
    return rows_reason(rows) or (None if fits(lengths, spec.shape) else _shape_reason(lengths, spec))


def _shape_reason(lengths: Sequence[int | None], spec: TensorSpec) -> str:
    """How the shape of a row differs, and what to do where it holds the scores of labels."""
    if not spec.classes or len(lengths) != 1:
        return other_shape(lengths)
    advice = "list one label for each score, in the order of the graph, or export a graph that fits"
    if lengths[0] == 1:
        advice = (
            "if it is the probability of one of two labels, name that label as `positive`, with a threshold"
        )
    scores = "1 score" if lengths[0] == 1 else f"{lengths[0]} scores"
    return f"has {scores} where `labels` has {len(spec.classes)}: {advice}"


def _of_maps(
    spec: TensorSpec, maps: Sequence[Mapping[Any, float]], classes: Sequence[int | str] | None
) -> Array:
    """Maps of class -> score as columns in the order of the pipeline's classes, [N, C].

    The graph's classes are `classes` or, without them, have the pipeline's names, or are numbers from 0 in the same order.
    Raises PredictionInvalid.
    """
    count = len(spec.classes)
    known: list[Sequence[int | str]] = [classes] if classes is not None else [spec.classes, range(count)]
    found: set[Any] = set(maps[0]) if maps else set(known[0])
    names = next((each for each in known if found == set(each)), None)
    if names is None:
        reason = (
            f"the graph's classes are {listed(sorted(found, key=str))}: write them as the ids of `labels`, or list them as "
            "`classes` in [graph] or [graphs.NAME], in the order of `labels`"
        )
        raise PredictionInvalid(tuple(range(len(maps))), reason)
    return np.array([[scores[name] for name in names] for scores in maps], spec.dtype).reshape(-1, count)
