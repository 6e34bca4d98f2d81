"""`tabular-regression`: named values in, a number with its unit and an interval out.

Inputs are those of mixed_input. The graph gives `value` float32 [N,1], in the unit of the answer; `lower` and `upper` [N,1]
where the manifest's interval has no `half_width`; and `novelty` [N,1] where there is a limit to it.

The interval is a conformal one: it holds the true value in `coverage` of cases like those it was calibrated with, whatever
the model (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005). A graph may give that of any method, such as
CV+ (Barber et al., Ann Stat 49:486, 2021); split conformal prediction needs the half width alone. Where the manifest gives the
range of the number, the interval is cut there, which loses no true value within the range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import ManifestTable, ModelManifest, Text, parse_parameters
from models.pipelines.classification import NOVELTY
from models.pipelines.classification_parameters import Novelty, Share
from models.pipelines.contract import (
    Answer,
    Case,
    Label,
    Pipeline,
    PredictionInvalid,
    ReadFile,
    Run,
    TensorSpec,
)
from models.pipelines.mixed_input import MixedInput
from models.pipelines.one_graph import OneGraphPipeline
from models.pipelines.schema_columns import COLUMN
from models.pipelines.table_input import TableParameters
from models.pipelines.typed import TypedResult
from models.pipelines.typed_schemas import derived_schema
from models.ucum import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines.contract import Array

VALUE: Final = "value"
LIMITS: Final = ("lower", "upper")


class Interval(ManifestTable):
    """A conformal interval: what it promises, and how often it held on rows that neither model nor interval was fitted to."""

    coverage: Annotated[float, Field(gt=0, lt=1)]
    measured: Share
    method: Text
    source: Text
    half_width: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


class ValueRange(ManifestTable):
    """The least and the greatest true value, in the unit of the answer."""

    minimum: Annotated[float, Field(allow_inf_nan=False)]
    maximum: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError("minimum must be less than maximum")
        return self


class RegressionParameters(TableParameters):
    """The `[parameters]` table of a tabular regression manifest. `title` is the quantity, `unit` a UCUM code ("1": none)."""

    title: Text
    unit: Unit = "1"
    system: Annotated[str | None, Field(pattern=r"^(https?://|urn:)\S+$")] = None
    code: Text | None = None
    range: ValueRange | None = None
    interval: Interval | None = None
    novelty: Novelty | None = None

    @model_validator(mode="after")
    def _check_code(self) -> Self:
        if (self.system is None) != (self.code is None):
            raise ValueError("give system and code together, or neither")
        return self


class ResultInterval(TypedResult):
    """Between which values the true one lies, in the given share of cases."""

    lower: float
    upper: float
    coverage: float


class ResultRange(TypedResult):
    """The least and the greatest true value that the manifest states."""

    minimum: float
    maximum: float


class ResultCoding(TypedResult):
    """A code in a code system, in batches the columns `code_system` and `code`, as those of classes are."""

    system: str
    code: Annotated[str, Field(json_schema_extra={COLUMN: "code"})]


class RegressionResult(TypedResult):
    """The answer of a regression. `value` and `interval` are null when the model abstained, `range` where none is known."""

    type: Literal["regression"] = "regression"
    quantity: str
    value: float | None
    unit: str
    range: ResultRange | None
    code: ResultCoding | None
    interval: ResultInterval | None
    abstained: bool
    abstain_reason: str | None


class TabularRegression(MixedInput, OneGraphPipeline):
    """The pipeline. Immutable after construction, so every thread may use one instance."""

    def __init__(self, parameters: RegressionParameters) -> None:
        MixedInput.__init__(self, parameters.features, parameters.missing)
        self._parameters = parameters
        interval = parameters.interval
        self._limits = LIMITS if interval is not None and interval.half_width is None else ()
        novelty = () if parameters.novelty is None else (NOVELTY,)
        names = (VALUE, *self._limits, *novelty)
        OneGraphPipeline.__init__(self, self.feed, tuple(TensorSpec(name, "float32", (1,)) for name in names))
        system, code = parameters.system, parameters.code
        self._code = None if system is None or code is None else ResultCoding(system=system, code=code)
        known = parameters.range
        self._range = None if known is None else ResultRange(minimum=known.minimum, maximum=known.maximum)
        self._schema = self.schema_with_missing(derived_schema(RegressionResult, "serialization"))

    def labels(self) -> list[Label]:
        """No classes."""
        return []

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        return self._schema

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One run of the graph; see Scoring."""
        return self.with_missing(super().score(run, cases), cases)

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """See SinglePass."""
        numbers = {spec.name: _column(outputs[spec.name], spec.name, count) for spec in self.outputs}
        lower, upper = self._interval(numbers)
        _refuse(
            ~((lower <= numbers[VALUE]) & (numbers[VALUE] <= upper)), "the interval does not hold the value"
        )
        novel = np.zeros(count, np.bool_)
        if self._parameters.novelty is not None:
            novel = numbers[NOVELTY] >= self._parameters.novelty.limit
        rows = zip(numbers[VALUE].tolist(), lower.tolist(), upper.tolist(), novel.tolist(), strict=True)
        return [self._result(*row, novel=each).model_dump(mode="json") for *row, each in rows]

    def _interval(self, numbers: Mapping[str, NDArray[np.float64]]) -> Sequence[Any]:
        """Lower and upper limits, float64 [N] each."""
        if self._limits:
            return [numbers[name] for name in LIMITS]
        interval = self._parameters.interval
        half = 0.0 if interval is None or interval.half_width is None else interval.half_width
        return [numbers[VALUE] - half, numbers[VALUE] + half]

    def _result(self, value: float, lower: float, upper: float, *, novel: bool) -> RegressionResult:
        told, novelty = self._parameters.interval, self._parameters.novelty
        interval = None
        if told is not None and not novel:
            lower, upper = self._cut(value, lower, upper)
            interval = ResultInterval(lower=lower, upper=upper, coverage=told.coverage)
        return RegressionResult(
            quantity=self._parameters.title,
            value=None if novel else value,
            unit=self._parameters.unit,
            range=self._range,
            code=self._code,
            interval=interval,
            abstained=novel,
            abstain_reason=novelty.reason if novelty is not None and novel else None,
        )

    def _cut(self, value: float, lower: float, upper: float) -> tuple[float, float]:
        """The part of an interval within the range, if there is one; it holds a value beyond the range all the same."""
        if self._range is None:
            return lower, upper
        return min(value, max(lower, self._range.minimum)), max(value, min(upper, self._range.maximum))


def load(manifest: ModelManifest, read: ReadFile) -> Pipeline:  # noqa: ARG001 - it has no side files
    """The pipeline of a manifest. Raises ManifestInvalid."""
    return TabularRegression(parse_parameters(RegressionParameters, manifest))


def _column(values: Array, name: str, count: int) -> NDArray[np.float64]:
    """An output [count,1] as float64 [count]. Raises PredictionInvalid."""
    raw = np.asarray(values, dtype=np.float64)
    if raw.shape != (count, 1):
        raise PredictionInvalid(tuple(range(count)), f"{name} has the shape {raw.shape}")
    _refuse(~np.isfinite(raw[:, 0]), f"{name} is not a finite number")
    return raw[:, 0]


def _refuse(wrong: Any, reason: str) -> None:
    if wrong.any():
        raise PredictionInvalid(tuple(np.flatnonzero(wrong).tolist()), reason)
