"""The inputs and outputs that a graph has, in its own names and types, and how they meet those that a pipeline names.

With the `[graph]` table of its manifest an ONNX file that somebody else exported serves unchanged: tensors are renamed,
element types converted where nothing is lost, the maps of classes that scikit-learn's converter writes become columns, and
a graph that takes one row at a time is run row by row. Knows neither onnx nor ONNX Runtime.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.manifest import MANIFEST_NAME, Fault, GraphTable, ManifestInvalid
from models.pipelines import ANY_LENGTH, Array, GraphSpec, PredictionInvalid, TensorSpec

# Element of an output that is a sequence of maps, class -> score, one map a row.
CLASS_MAPS: Final = "class maps"
# ONNX Runtime's names of element types -> numpy's, for what can be fed or read as numbers.
ELEMENTS: Final = {
    "float": "float32", "double": "float64", "float16": "float16", "int64": "int64", "int32": "int32",
}  # fmt: skip
# What a feed of float32 may be turned into: float16 rounds, as its graph does with all it computes.
_FED_AS: Final = frozenset(("float32", "float64", "float16"))

Run = Callable[[Mapping[str, Array]], Mapping[str, Any]]


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph. `shape` has the rows first; None stands for a dynamic axis.

    `element` is numpy's name of the element type, CLASS_MAPS, or the graph's own word for anything else.
    """

    name: str
    element: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def signature_of(session: Any) -> Signature:
    """The signature of a session of ONNX Runtime."""
    return Signature(
        tuple(_tensor(value) for value in session.get_inputs()),
        tuple(_tensor(value) for value in session.get_outputs()),
    )


def _tensor(value: Any) -> Tensor:
    """A `NodeArg`, whose type reads like `tensor(float)` or `seq(map(string,tensor(float)))`."""
    if value.type.startswith("seq(map("):
        return Tensor(value.name, CLASS_MAPS, ())
    word = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(length if isinstance(length, int) else None for length in value.shape)
    return Tensor(value.name, ELEMENTS.get(word, word), shape)


class Fitting:
    """How the tensors of a pipeline meet those of a graph. Immutable.

    Raises ManifestInvalid with every reason where they do not.
    """

    def __init__(
        self,
        table: GraphTable,
        spec: GraphSpec,
        signature: Signature,
    ) -> None:
        feeds, outputs = spec.feeds, spec.outputs
        self._table = table
        self._feeds = {spec.name: _names(table, spec.name) for spec in feeds}
        self._outputs = {spec.name: table.outputs.get(spec.name, spec.name) for spec in outputs}
        self._specs = {spec.name: spec for spec in outputs}
        self._inputs = {tensor.name: tensor for tensor in signature.inputs}
        self._given = {tensor.name: tensor for tensor in signature.outputs}
        faults = [
            *_unknown(table, feeds, outputs),
            *self._unfed(),
            *(fault for spec in _named_well(table.inputs, feeds) for fault in self._unfit_feed(spec)),
            *(fault for spec in _named_well(table.outputs, outputs) for fault in self._unfit_output(spec)),
        ]
        if faults:
            raise ManifestInvalid(*faults)
        self._one_row = table.row_by_row or any(tensor.shape[:1] == (1,) for tensor in signature.inputs)

    def run(self, run: Run, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Feed `run` in the graph's terms, and give its outputs in the pipeline's. Raises what `run` raises."""
        fed = {tensor: value for name, feed in feeds.items() for tensor, value in self._fed(name, feed)}
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

    def _fed(self, name: str, feed: Array) -> list[tuple[str, Array]]:
        """A feed as inputs of the graph."""
        tensors = [self._inputs[tensor] for tensor in self._feeds[name]]
        if len(tensors) == 1 and len(tensors[0].shape) == feed.ndim:
            return [(tensors[0].name, feed.astype(tensors[0].element, copy=False))]
        columns = (
            feed[:, at : at + 1] if len(tensor.shape) == 2 else feed[:, at]
            for at, tensor in enumerate(tensors)
        )
        return [
            (tensor.name, column.astype(tensor.element))
            for tensor, column in zip(tensors, columns, strict=True)
        ]

    def _named(self, given: Mapping[str, Any]) -> dict[str, Array]:
        return {name: self._converted(spec, given[self._outputs[name]]) for name, spec in self._specs.items()}

    def _converted(self, spec: TensorSpec, value: Any) -> Array:
        """An output as the pipeline's element type, [N, ...]."""
        if self._given[self._outputs[spec.name]].element == CLASS_MAPS:
            return _of_maps(spec, value)
        array = np.asarray(value)
        if array.ndim == 1 and spec.shape == (1,):
            array = array[:, np.newaxis]
        return array.astype(spec.dtype, copy=False)

    def _unfed(self) -> list[Fault]:
        """Faults of inputs of the graph that nothing is fed to."""
        # With the keys that the pipeline lacks: of those, that is said.
        keys = self._feeds.keys() | self._table.inputs.keys()
        fed = {name for key in keys for name in _names(self._table, key)}
        return [
            _fault(
                "inputs",
                "input_differs",
                f"the pipeline has no feed {name!r}: map one to it, or remove this input",
            )
            for name in sorted(self._inputs.keys() - fed)
        ]

    def _unfit_feed(self, spec: TensorSpec) -> list[Fault]:
        names = self._feeds[spec.name]
        if len(names) > 1 and spec.shape != (len(names),):
            return [_unlike("inputs", spec, f"has not {len(names)} columns")]
        shape = spec.shape if len(names) == 1 else (1,)
        reasons = [
            _feed_reason(self._inputs[name], spec.dtype, shape)
            if name in self._inputs
            else _missing("inputs", spec, self._inputs)
            for name in names
        ]
        return [_unlike("inputs", spec, reason) for reason in reasons if reason]

    def _unfit_output(self, spec: TensorSpec) -> list[Fault]:
        tensor = self._given.get(self._outputs[spec.name])
        reason = _output_reason(tensor, spec) if tensor else _missing("outputs", spec, self._given)
        return [] if reason is None else [_unlike("outputs", spec, reason)]


def _names(table: GraphTable, feed: str) -> tuple[str, ...]:
    """What the graph calls the inputs that a feed goes to."""
    names = table.inputs.get(feed, feed)
    return (names,) if isinstance(names, str) else names


def _unknown(table: GraphTable, feeds: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> list[Fault]:
    """Faults of names that the `[graph]` table maps and the pipeline does not have."""
    sides = (("inputs", table.inputs.keys(), feeds), ("outputs", table.outputs.keys(), outputs))
    return [
        _fault(
            side,
            "graph_name_unknown",
            f"the pipeline knows no {name!r}; it has {_listed(specs)}: rename the key `{side}.{name}` in [graph]",
        )
        for side, named, specs in sides
        for name in sorted(named - {spec.name for spec in specs})
    ]


def _named_well(mapped: Collection[str], specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Without those that a key of `mapped` was meant for which the pipeline lacks: renamed, it may be right."""
    astray = set(mapped) - {spec.name for spec in specs}
    return [spec for spec in specs if spec.name in mapped or not astray]


def _missing(side: str, spec: TensorSpec, tensors: Iterable[str]) -> str:
    """What to write where the graph has no tensor of the pipeline's name, or of the one it is mapped to."""
    known = ", ".join(map(repr, tensors)) or "none"
    return f"is missing: the graph's {side} are {known}, so write `{side}.{spec.name} = ...` in [graph]"


def _feed_reason(tensor: Tensor, dtype: str, shape: tuple[int, ...]) -> str | None:
    """Why a feed cannot go to `tensor`, None where it can."""
    if tensor.element != dtype and not (dtype == "float32" and tensor.element in _FED_AS):
        return f"has another element type, {tensor.element}, which {dtype} does not convert to"
    rows, *lengths = tensor.shape or (0,)
    if rows not in (None, 1):
        return "has a fixed number of rows: export it with a dynamic first axis"
    if _fits(lengths, shape) or (shape == (1,) and not lengths):
        return None
    return "has another shape"


def _output_reason(tensor: Tensor, spec: TensorSpec) -> str | None:
    """Why `tensor` cannot be read as the pipeline's output, None where it can."""
    if tensor.element == CLASS_MAPS:
        return (
            None
            if len(spec.shape) == 1 and spec.classes
            else "is a map of classes, which the pipeline cannot read"
        )
    if tensor.element != spec.dtype and tensor.element not in ELEMENTS.values():
        return f"has another element type, {tensor.element}"
    rows, *lengths = tensor.shape or (None, *spec.shape)  # exporters leave shapes of outputs out
    if rows not in (None, 1):
        return "has a fixed number of rows: export it with a dynamic first axis"
    if _fits(lengths, spec.shape) or (spec.shape == (1,) and not lengths):
        return None
    return "has another shape"


def _fits(lengths: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(lengths) == len(shape) and all(
        wanted == ANY_LENGTH or found in (None, wanted) for found, wanted in zip(lengths, shape, strict=True)
    )


def _of_maps(spec: TensorSpec, maps: Sequence[Mapping[Any, float]]) -> Array:
    """Maps class -> score as columns in the order of the pipeline's classes, [N, C].

    The classes of the graph are the pipeline's by name, or numbers from 0 in the same order. Raises PredictionInvalid.
    """
    count, found = len(spec.classes), set(maps[0]) if maps else set(spec.classes)
    if found not in (set(spec.classes), set(range(count))):
        raise PredictionInvalid(tuple(range(len(maps))), "the graph's classes are not those of the manifest")
    names = spec.classes if found == set(spec.classes) else range(count)
    return np.array([[scores[name] for name in names] for scores in maps], spec.dtype).reshape(-1, count)


def _unlike(side: str, spec: TensorSpec, reason: str) -> Fault:
    lengths = ["any" if length == ANY_LENGTH else str(length) for length in spec.shape]
    wanted = f"{spec.dtype} [{', '.join(['N', *lengths])}]"
    code = "input_differs" if side == "inputs" else "output_differs"
    return _fault(side, code, f"{spec.name!r} {reason}: the pipeline needs {wanted}")


def _fault(side: str, code: str, detail: str) -> Fault:
    return Fault(f"{MANIFEST_NAME}: graph.{side}", code, detail)


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in specs) or "none"
