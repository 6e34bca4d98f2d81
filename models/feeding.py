"""How the feeds of a pipeline become the inputs of a graph: whole, or by column.

A feed of a table has named columns. They go to one input together, or to separate inputs: by their keys in the `[graph]`
table, or to the graph's inputs of the same name. Columns that go to the same input become its columns, in their order.
Element types are converted if nothing is lost except for digits that float32 lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.manifest import Fault, GraphTable
from models.pipelines import Array, PredictionInvalid, TensorSpec
from models.signature import FLOATS, Tensor
from models.tensor_faults import fault, fits, missing, other_shape, rows_reason, unknown, unlike

# Element type of a feed -> element types of inputs that it may go to.
_CONVERTS: Final[Mapping[str, tuple[str, ...]]] = {
    "float32": FLOATS,
    "float64": FLOATS,
    "int64": ("int64", "float64", "float32"),
    "int32": ("int32", "int64", "float64", "float32"),
    "bool": ("bool", "int32", "int64", *FLOATS),
}
# The same for exact feeds: every value of the feed's type is one of the input's.
_CONVERTS_EXACTLY: Final[Mapping[str, tuple[str, ...]]] = {
    "float16": ("float32", "float64"),
    "float32": ("float64",),
    "int32": ("int64", "float64"),
    "bool": _CONVERTS["bool"],
}


@dataclass(frozen=True)
class _Source:
    """What an input of the graph is fed: a whole feed, or the columns of it at these places."""

    spec: TensorSpec
    places: tuple[int, ...] | None = None

    @property
    def columns(self) -> tuple[TensorSpec, ...]:
        """These columns, or all columns of a feed whose columns have names."""
        spec = self.spec
        if self.places is None:
            return spec.columns
        unnamed = TensorSpec(spec.name, spec.dtype, (1,))
        return tuple(spec.columns[place] if spec.columns else unnamed for place in self.places)


class Feeding:
    """Immutable. `faults` lists where feeds and inputs do not match; `fed` may be called if there are none.

    `feeds` are those that the graph takes: all but optional ones that it has no input for.
    """

    def __init__(self, table: GraphTable, feeds: Sequence[TensorSpec], inputs: Sequence[Tensor]) -> None:
        self._mapped = table.inputs
        self._inputs = {tensor.name: tensor for tensor in inputs}
        self.feeds: Final = [spec for spec in feeds if not spec.optional or self._is_taken(spec)]
        self._known = [name for spec in feeds for name in (spec.name, *(each.name for each in spec.columns))]
        self._astray = sorted(self._mapped.keys() - set(self._known))
        targets = [(name, source) for spec in self.feeds for name, source in self._targets(spec).items()]
        self._sources = dict(targets)
        self.faults: Final = [
            *(unknown("inputs", name, self._known) for name in self._astray),
            *(found for spec in self.feeds for found in self._contradictions(spec)),
            *self._unfed(),
            *(found for name, source in targets for found in self._unfit(name, source)),
            *_fed_twice([name for name, _ in targets]),
        ]

    def fed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs of the graph, by its names. Raises PredictionInvalid for numbers that their element types do not hold."""
        return {
            name: _value(source, self._inputs[name], feeds[source.spec.name])
            for name, source in self._sources.items()
        }

    def columns(self) -> Iterator[tuple[str, int | None, TensorSpec]]:
        """For each column: the input of the graph that it goes to, its place there if the input has several, and itself."""
        for name, source in self._sources.items():
            for place, column in enumerate(source.columns):
                yield name, place if len(source.columns) > 1 else None, column

    def _is_taken(self, spec: TensorSpec) -> bool:
        return spec.name in self._mapped or spec.name in self._inputs

    def _targets(self, spec: TensorSpec) -> dict[str, _Source]:
        """Input of the graph -> what of this feed it is fed; empty if the keys are contradictory."""
        whole = self._mapped.get(spec.name, spec.name)
        if isinstance(whole, str) and not self._goes_by_column(spec):
            return {whole: _Source(spec)}
        if isinstance(whole, tuple) and len(whole) == 1:
            return {whole[0]: _Source(spec)}
        if any(self._contradictions(spec)):
            return {}
        by_name = (self._target(column.name, spec.name) for column in spec.columns)
        names = list(whole if isinstance(whole, tuple) else by_name)
        return {
            name: _Source(spec, tuple(place for place, other in enumerate(names) if other == name))
            for name in dict.fromkeys(names)
        }

    def _contradictions(self, spec: TensorSpec) -> Iterator[Fault]:
        """Faults of contradictory keys for a feed."""
        whole = self._mapped.get(spec.name)
        if isinstance(whole, tuple) and len(whole) > 1 and spec.shape != (len(whole),):
            yield unlike("inputs", spec, f"does not have {len(whole)} columns")
        own = [column for column in spec.columns if column.name in self._mapped]
        if isinstance(whole, tuple) and own:
            advice = f"name {own[0].name!r} in the list of {spec.name!r}, or give each column its own key, not both"
            yield fault("inputs", "input_differs", advice)
        for column in own:
            if not isinstance(self._mapped[column.name], str):
                yield unlike("inputs", column, "is one column: name one input")

    def _goes_by_column(self, spec: TensorSpec) -> bool:
        """Whether columns are mapped by name, or inputs of the graph have their names."""
        names = {column.name for column in spec.columns}
        if names & self._mapped.keys():
            return True
        is_whole = spec.name in self._mapped or spec.name in self._inputs
        return not is_whole and bool(names & self._inputs.keys())

    def _target(self, column: str, feed: str) -> str:
        """The input that a column goes to; a column without its own key goes where the whole feed goes."""
        target = self._mapped.get(column, self._mapped.get(feed, column))
        assert isinstance(target, str), "lists were refused"
        return target

    def _unfed(self) -> list[Fault]:
        """Faults of inputs of the graph that get no feed."""
        # Including inputs of keys that the pipeline does not know: those keys are reported themselves.
        mapped = {
            name
            for target in self._mapped.values()
            for name in ((target,) if isinstance(target, str) else target)
        }
        return [
            fault(
                "inputs",
                "input_differs",
                f"the pipeline has no feed {name!r}: map one to it, or remove this input",
            )
            for name in sorted(self._inputs.keys() - self._sources.keys() - mapped)
        ]

    def _unfit(self, name: str, source: _Source) -> Iterator[Fault]:
        """Faults between one input of the graph and what it is fed."""
        spec, tensor = source.spec, self._inputs.get(name)
        if tensor is None:
            for each in source.columns if source.places is not None else (spec,):
                # An unknown key may have been meant for this tensor: with the key renamed, it may be right.
                if each.name in self._mapped or not self._astray:
                    written = name if each.name in self._mapped else None
                    yield unlike("inputs", each, missing("inputs", each, self._inputs, written))
        elif source.columns:
            yield from _unfit_columns(tensor, source)
        elif reason := _element_reason(tensor, spec) or _row_reason(tensor, spec):
            yield unlike("inputs", spec, reason)


def _fed_twice(names: Sequence[str]) -> list[Fault]:
    return [
        fault("inputs", "input_differs", f"two feeds go to the input {name!r}: map one elsewhere")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _unfit_columns(tensor: Tensor, source: _Source) -> Iterator[Fault]:
    """Faults between an input and the columns that it is fed. A fault that all columns share is reported once."""
    columns, spec = source.columns, source.spec
    if reason := _shape_reason(tensor, (len(columns),)):
        yield unlike("inputs", columns[0] if len(columns) == 1 else spec, reason)
    reasons = [(column, _element_reason(tensor, column)) for column in columns]
    if source.places is None and len({reason for _, reason in reasons}) == 1:
        reasons = [(spec, reasons[0][1])]
    for column, reason in reasons:
        if reason:
            yield unlike("inputs", column, reason)


def _row_reason(tensor: Tensor, spec: TensorSpec) -> str | None:
    return None if spec.lone and fits(tensor.shape, spec.shape) else _shape_reason(tensor, spec.shape)


def _shape_reason(tensor: Tensor, shape: tuple[int, ...]) -> str | None:
    rows, *lengths = tensor.shape or (0,)
    return rows_reason(rows) or (None if fits(lengths, shape) else other_shape(lengths))


def _element_reason(tensor: Tensor, spec: TensorSpec) -> str | None:
    """Why the type of a feed or column does not fit `tensor`; None if it fits."""
    converts = _CONVERTS_EXACTLY if spec.exact else _CONVERTS
    if tensor.element == spec.dtype or tensor.element in converts.get(spec.dtype, ()):
        return None
    if spec.exact:
        return f"has another element type, {tensor.element}, which cannot hold every {spec.dtype}: declare it as the graph does"
    advice = f"; {advised}" if (advised := _advice(spec.dtype, tensor.element)) else ""
    return f"has another element type, {tensor.element}, which {spec.dtype} does not convert to{advice}"


def _advice(dtype: str, element: str) -> str | None:
    """What to change in a feature so that it is fed as its input expects."""
    match dtype, element:
        case "string", _:
            return 'feed a category by its place among its values with `as = "index"`'
        case "int64", "int32":
            return "give a `minimum` and a `maximum` that 32 bits hold"
        case _, "string":
            return 'give the feature `type = "category"` or `type = "text"`, without `as = "index"`'
        case (("float32" | "float64"), ("int64" | "int32")):
            return 'give the feature `type = "integer"`'
        case _, "bool":
            return 'give the feature `type = "boolean"`'
        case _:
            return None


def _value(source: _Source, tensor: Tensor, feed: Array) -> Array:
    """One input of the graph."""
    element = np.dtype(object if tensor.element == "string" else tensor.element)
    if source.spec.lone and feed.ndim > len(tensor.shape):
        return np.squeeze(_converted(feed, element), axis=0)
    if source.places is None and feed.dtype.names is None and feed.ndim == len(tensor.shape):
        return _converted(feed, element)
    places = range(len(source.columns)) if source.places is None else source.places
    names = feed.dtype.names
    columns = [feed[names[place]] if names else feed[:, place] for place in places]
    if len(tensor.shape) == 1:
        return _converted(columns[0], element)
    return np.stack([_converted(column, element) for column in columns], axis=1)


def _converted(values: Array, element: np.dtype[Any]) -> Array:
    """Values of one row each in the element type of an input. Raises PredictionInvalid for numbers beyond it."""
    with np.errstate(over="ignore"):
        found = values.astype(element, copy=False)
    if found.dtype.kind == "f" and found.dtype != values.dtype and np.isinf(found).any():
        beyond = (np.isinf(found) & np.isfinite(values)).reshape(len(found), -1).any(axis=1)
        if beyond.any():
            reason = f"a number is beyond {element.name}, the graph's element type: limit the range of what is accepted"
            raise PredictionInvalid(tuple(np.flatnonzero(beyond).tolist()), reason)
    return found
