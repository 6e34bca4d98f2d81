"""`tensor`: named tensors in, named tensors out, for a graph of any kind that no other pipeline knows.

The manifest names each tensor with its element type and the lengths of its axes but the first, the rows. A job is one row: it
sends nested lists of these lengths, and gets the outputs as such. What the numbers mean, the service cannot know: the card
and the titles say so, and nothing is checked beyond type, shape and range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import FailFast, Field, create_model, model_validator

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import MODEL, ManifestTable
from models.manifest_words import SNAKE_CASE
from models.pipelines.contract import (
    ANY_LENGTH,
    FieldFault,
    GraphSpec,
    InputRejected,
    PredictionInvalid,
    ReadFile,
    Run,
    TensorSpec,
    pointer_to,
)
from models.pipelines.typed import NoOptions, TypedCase, TypedInput, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from models.pipelines.contract import Array

FLOATS: Final = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}
INTEGERS: Final = {
    name: (-(2 ** (bits - 1)) if name[0] == "i" else 0, 2 ** (bits - (name[0] == "i")) - 1)
    for bits in (8, 16, 32, 64)
    for name in (f"int{bits}", f"uint{bits}")
}
MOST_ELEMENTS: Final = 50_000_000
EXAMPLE: Final = 1000  # most numbers of a tensor that is shown as an example
Element = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "string",
]  # fmt: skip


class TensorTable(ManifestTable):
    """One tensor. `shape` leaves out the first axis, the row; -1 in it is any length from 1 to `longest`."""

    name: Annotated[str, Field(pattern=SNAKE_CASE, max_length=64)]
    dtype: Element = "float32"
    shape: Annotated[
        tuple[Annotated[int, Field(ge=-1, le=MOST_ELEMENTS)], ...], Field(max_length=8, strict=False)
    ] = ()
    title: str = ""
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.values and self.dtype != "string":
            raise ValueError("values are for strings: remove them")
        if self.name.startswith("model_"):
            raise ValueError(
                "name: choose one that does not begin with model_; `inputs` and `outputs` of [graph] map it"
            )
        if 0 in self.shape:
            raise ValueError("shape: an axis has a length of at least 1, or -1 for any")
        if self.dtype in ("bool", "string") and not (self.minimum is None and self.maximum is None):
            raise ValueError("minimum and maximum are for numbers: remove them")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum must not exceed maximum")
        for limit in (self.minimum, self.maximum):
            if limit is not None and (reason := _unfit_limit(self.dtype, limit)):
                raise ValueError(f"minimum and maximum must be {reason}")
        return self

    @property
    def spec(self) -> TensorSpec:
        """What the graph takes or gives."""
        return TensorSpec(
            self.name, self.dtype, tuple(ANY_LENGTH if axis == -1 else axis for axis in self.shape)
        )


class TensorParameters(ManifestTable):
    """The `[parameters]` table of a manifest of tensors."""

    inputs: Annotated[tuple[TensorTable, ...], Field(min_length=1, max_length=64, strict=False)]
    outputs: Annotated[tuple[TensorTable, ...], Field(min_length=1, max_length=64, strict=False)]
    longest: int = Field(4096, ge=1, le=1_000_000, description="longest axis of any length")
    elements: int = Field(1_000_000, ge=1, le=MOST_ELEMENTS, description="most numbers of one input")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, tables in (("inputs", self.inputs), ("outputs", self.outputs)):
            if len({table.name for table in tables}) < len(tables):
                raise ValueError(f"{kind}: give each tensor its own name")
        fewest = sum(math.prod(map(abs, table.shape)) for table in self.inputs)  # -1: an axis of at least one
        if fewest > self.elements:
            raise ValueError(
                f"elements: an input has at least {fewest} numbers, and no more than `elements` are accepted"
            )
        return self


class TensorInput(TypedInput):
    """One row: a nested list for each tensor."""


class TensorResult(TypedResult):
    """The graph's outputs by name, as nested lists."""

    type: Literal["tensor"] = "tensor"
    outputs: dict[str, Any]


Case = TypedCase[TensorInput, NoOptions]


class Tensors(TypedPipeline[TensorParameters, TensorInput, TensorResult, NoOptions]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Make a type of the manifest's tensors."""
        fields: Any = {
            table.name: (
                _nested(table, self.parameters.longest),
                Field(title=table.title or table.name, json_schema_extra=_shown(table)),
            )
            for table in self.parameters.inputs
        }
        self.input_type = create_model("TensorInput", __base__=TensorInput, **fields)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See Pipeline."""
        feeds = tuple(replace(table.spec, exact=True) for table in self.parameters.inputs)
        return {MODEL: GraphSpec(feeds, tuple(table.spec for table in self.parameters.outputs))}

    def check(self, value: TensorInput) -> None:
        """Refuse lists that are no tensor, being of unlike lengths, and inputs of too many numbers."""
        found = {table.name: getattr(value, table.name) for table in self.parameters.inputs}
        ragged = [name for name, rows in found.items() if not _is_even(rows)]
        if ragged:
            detail = "The lists inside a list must be of one length."
            raise InputRejected(
                *(FieldFault(pointer_to(name), FieldCode.INVALID_VALUE, detail) for name in ragged)
            )
        if sum(map(_count, found.values())) > self.parameters.elements:
            detail = f"An input may have at most {self.parameters.elements} numbers."
            raise InputRejected(FieldFault("", FieldCode.TOO_LONG, detail))

    def result_schema(self) -> dict[str, object]:
        """See Pipeline: the outputs by name."""
        properties = {
            "type": {"const": "tensor"},
            "outputs": {
                "type": "object",
                "properties": {table.name: _schema_of(table) for table in self.parameters.outputs},
                "required": [table.name for table in self.parameters.outputs],
                "additionalProperties": False,
            },
        }
        return {**super().result_schema(), "properties": properties, "required": list(properties)}

    def open_bundle(self, folder: Path) -> TensorScoring:  # noqa: ARG002 - it needs no file but the graph
        """See TypedPipeline."""
        return TensorScoring(self.parameters)


class TensorScoring:
    """Runs rows of one shape together."""

    def __init__(self, parameters: TensorParameters) -> None:
        self._parameters = parameters

    def score(self, run: Run, cases: Sequence[Case]) -> list[TensorResult]:
        """See TypedScoring."""
        rows = [self._row(case.input) for case in cases]
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for place, row in enumerate(rows):
            groups.setdefault(tuple(value.shape for value in row.values()), []).append(place)
        results: dict[int, TensorResult] = {}
        for places in groups.values():
            feeds = {name: np.stack([rows[place][name] for place in places]) for name in rows[places[0]]}
            results |= zip(places, self._results(run(feeds), places), strict=True)
        return [results[place] for place in range(len(cases))]

    def _row(self, value: TensorInput) -> dict[str, Array]:
        return {
            table.name: np.array(
                getattr(value, table.name), object if table.dtype == "string" else table.dtype
            )
            for table in self._parameters.inputs
        }

    def _results(self, outputs: Mapping[str, Array], places: Sequence[int]) -> Iterator[TensorResult]:
        """Raises PredictionInvalid for rows that are no finite numbers, or where there is not one row a case."""
        for table in self._parameters.outputs:
            found = np.asarray(outputs[table.name])
            if len(found) != len(places):
                raise PredictionInvalid(
                    tuple(places), f"{table.name} has {len(found)} rows for {len(places)} cases"
                )
            if (
                table.dtype in FLOATS
                and not (finite := np.isfinite(found.reshape(len(places), -1)).all(axis=1)).all()
            ):
                wrong = tuple(place for place, good in zip(places, finite.tolist(), strict=True) if not good)
                raise PredictionInvalid(wrong, f"{table.name} is not finite")
        for row in range(len(places)):
            yield TensorResult(
                outputs={
                    table.name: np.asarray(outputs[table.name])[row].tolist()
                    for table in self._parameters.outputs
                }
            )


def _unfit_limit(dtype: str, limit: float) -> str | None:
    """What a limit of numbers of this type must be, if it is not."""
    if dtype in FLOATS:
        return None if abs(limit) <= FLOATS[dtype] else f"numbers that {dtype} holds"
    lowest, highest = INTEGERS[dtype]
    return (
        None
        if lowest <= limit <= float(highest) and limit.is_integer()
        else f"whole numbers that {dtype} holds"
    )


def _nested(table: TensorTable, longest: int) -> Any:
    """The type of one row of a tensor."""
    found = _element(table)
    for axis in reversed(table.shape):
        least, most = (1, longest) if axis == -1 else (axis, axis)
        # Of a list only the first wrong element is told: pydantic would keep an error of each, in 100 times its memory.
        found = Annotated[list[found], Field(min_length=least, max_length=most), FailFast()]  # type: ignore[valid-type]  # made of a manifest
    return found


def _element(table: TensorTable) -> Any:
    if table.dtype == "bool":
        return bool
    if table.values:
        return Literal[table.values]
    if table.dtype == "string":
        return Annotated[str, Field(max_length=100_000)]
    if table.dtype in FLOATS:
        most = FLOATS[table.dtype]
        least, most = (
            (-most if table.minimum is None else table.minimum),
            (most if table.maximum is None else table.maximum),
        )
        return Annotated[float, Field(ge=least, le=most)]
    lowest, highest = INTEGERS[table.dtype]
    least = lowest if table.minimum is None else max(lowest, int(table.minimum))
    return Annotated[
        int, Field(ge=least, le=highest if table.maximum is None else min(highest, int(table.maximum)))
    ]


def _shown(table: TensorTable) -> dict[str, Any]:
    """What the schema says of a tensor beside its type: its unit, and an example of zeros where it is small."""
    shape = [1 if axis == -1 else axis for axis in table.shape]
    shown: dict[str, Any] = {} if table.unit is None else {"unit": table.unit}
    if math.prod(shape) <= EXAMPLE:
        least = table.minimum or 0
        zero: Any = {"bool": False, "string": next(iter(table.values), "")}.get(
            table.dtype, float(least) if table.dtype in FLOATS else int(least)
        )
        for axis in reversed(shape):
            zero = [zero] * axis
        shown["examples"] = [zero]
    return shown


def _schema_of(table: TensorTable) -> dict[str, Any]:
    kinds = {"bool": "boolean", "string": "string"} | dict.fromkeys(FLOATS, "number")
    schema: dict[str, Any] = {"type": kinds.get(table.dtype, "integer")}
    for axis in reversed(table.shape):
        bounds = {} if axis == -1 else {"minItems": axis, "maxItems": axis}
        schema = {"type": "array", "items": schema, **bounds}
    told = {"title": table.title, "unit": table.unit}
    return schema | {key: value for key, value in told.items() if value}


def _is_even(rows: object) -> bool:
    """Whether nested lists are a tensor."""
    if not (isinstance(rows, list) and rows and isinstance(rows[0], list)):
        return True
    return (
        len({len(row) for row in rows}) == 1 and all(map(_is_even, rows)) and len({*map(_shape, rows)}) == 1
    )


def _shape(rows: object) -> tuple[int, ...]:
    return (len(rows), *_shape(rows[0])) if isinstance(rows, list) and rows else ()


def _count(rows: object) -> int:
    found = 1
    for length in _shape(rows):
        found *= length
    return found


load = Tensors.load
