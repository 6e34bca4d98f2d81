"""Features that are numbers, whole numbers, or true or false."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from models import units
from models.field_codes import FieldCode
from models.manifest import Text
from models.pipelines.contract import FieldFault
from models.pipelines.features.table import FeatureTable, Stored, check_missing, with_example
from models.pipelines.features.written import (
    MOST_WRITTEN,
    check_written,
    choices,
    explained,
    meant,
    wanted_too,
)
from models.ucum import Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT32_MAX: Final = float.fromhex("0x1.fffffep+127")
MOST_WHOLE: Final = 2**53  # past it float64, and so many a reader of JSON, does not tell whole numbers apart
_MOST_INT32: Final = 2**31 - 1
# What files hold in any case, where `written` says what else they hold.
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Bound = Annotated[float, Field(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Whole = Annotated[int, Field(ge=-MOST_WHOLE, le=MOST_WHOLE)]


class MeasuredFeature(FeatureTable):
    """A feature with a unit and a range. `unit` is a UCUM code ("1": none)."""

    unit: Unit = "1"
    minimum: float
    maximum: float

    def _range_text(self, number: str) -> str:
        return f"between {self.minimum:{number}} and {self.maximum:{number}}{units.after(self.unit)}"

    @property
    def range_text(self) -> str:
        """Such as "between 0 and 50 mm"."""
        return self._range_text(".15g")

    def not_finite(self, hint: str = "") -> FieldFault:
        """The message for NaN and infinities."""
        more = f". {hint}" if hint else ""
        return self.fault(FieldCode.NOT_FINITE, f"must be a finite number {self.range_text}{more}")

    def out_of_range(self) -> FieldFault:
        """The message for a number out of range."""
        return self.fault(FieldCode.OUT_OF_RANGE, f"must be {self.range_text}")

    def measured(self, json_type: str, example: float | None) -> dict[str, object]:
        """JSON Schema of the feature. `unit` is an annotation of ours: the UCUM code."""
        unit = f" Unit: {self.unit}." if units.has_unit(self.unit) else ""
        schema = self.described(json_type, minimum=self.minimum, maximum=self.maximum, unit=self.unit)
        schema["description"] = f"{self.description}{unit}".strip()
        return schema if example is None else {**schema, "examples": [example]}


class Feature(MeasuredFeature):
    """A number. The range is of plausible values.

    Without a range every number that float32 holds is accepted.
    """

    type: Literal["number"] = "number"
    minimum: Bound = -FLOAT32_MAX
    maximum: Bound = FLOAT32_MAX
    example: Bound | None = None

    dtype: ClassVar[str] = "float64"

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, table: object) -> object:
        return {"name": table, "title": table} if isinstance(table, str) else table

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _check_order(self.minimum, self.maximum, self.example)
        return self

    @property
    def wanted(self) -> str:
        """See FeatureTable."""
        return f"a number {self.range_text}"

    def _checked(self, value: object) -> float | FieldFault:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.wrong_type()
        if isinstance(value, float) and not math.isfinite(value):
            return self.not_finite()
        if not self.minimum <= value <= self.maximum:
            return self.out_of_range()
        return float(value)

    def fed(self, stored: Any) -> float:
        """The number, NaN where it is absent."""
        return math.nan if stored is None else stored

    @property
    def sample(self) -> float:
        """An example: the one given, else the middle of the range, or near 0 in one without an end."""
        if self.example is not None:
            return self.example
        open_ended = self.minimum == -FLOAT32_MAX or self.maximum == FLOAT32_MAX
        middle = 0.0 if open_ended else float(f"{self.minimum / 2 + self.maximum / 2:.6g}")
        return min(max(middle, self.minimum), self.maximum)

    @property
    def ends(self) -> tuple[Stored, ...]:
        """The ends of what is accepted."""
        return self.minimum, self.maximum

    def holds(self, values: NDArray[np.float64]) -> bool:
        """Whether all `values` [n] are numbers in range."""
        return not len(values) or bool(self.minimum <= values.min() and values.max() <= self.maximum)

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the feature."""
        return self.measured("number", self.example)


class IntegerFeature(MeasuredFeature):
    """A whole number; one with a fraction is refused. `missing` is what the graph is fed where it is absent."""

    type: Literal["integer"]
    minimum: Whole = -MOST_WHOLE
    maximum: Whole = MOST_WHOLE
    missing: Whole | None = None
    example: Whole | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_order(self.minimum, self.maximum, self.example)
        check_missing(self.required, self.missing)
        return self

    @property
    def dtype(self) -> str:
        """The least of int32 and int64 that holds the range."""
        numbers = (self.minimum, self.maximum, self.missing or 0)
        return "int32" if all(abs(number) <= _MOST_INT32 for number in numbers) else "int64"

    @property
    def range_text(self) -> str:
        """Such as "between 0 and 5000000"."""
        return self._range_text("d")

    @property
    def wanted(self) -> str:
        """See FeatureTable."""
        return f"a whole number {self.range_text}"

    def _checked(self, value: object) -> int | FieldFault:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.wrong_type()
        if isinstance(value, float) and not math.isfinite(value):
            return self.not_finite()
        if not self.minimum <= value <= self.maximum:
            return self.out_of_range()
        return int(value) if value == int(value) else self.wrong_type()

    def fed(self, stored: Any) -> int | None:
        """The number, or the one that stands for an absent value."""
        return self.missing if stored is None else stored

    @property
    def sample(self) -> int:
        """An example: the one given, else the number in range nearest to 0."""
        return min(max(0, self.minimum), self.maximum) if self.example is None else self.example

    @property
    def ends(self) -> tuple[Stored, ...]:
        """The ends of what is accepted."""
        return self.minimum, self.maximum

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the feature."""
        return self.measured("integer", self.example)


class BooleanFeature(FeatureTable):
    """True or false. `missing` is what the graph is fed where it is absent; `written` has other ways to write either."""

    type: Literal["boolean"]
    missing: bool | None = None
    written: Annotated[dict[Text, bool], Field(max_length=MOST_WRITTEN)] = Field(default_factory=dict)
    example: bool | None = None

    dtype: ClassVar[str] = "bool"

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_missing(self.required, self.missing)
        check_written(self.written, ())
        if any(self.written.get(text, value) is not value for text, value in _FLAGS.items()):
            raise ValueError("written: true must mean true, and false false")
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """All texts that stand for true or false."""
        return tuple(self._written)

    @property
    def _written(self) -> dict[str, bool]:
        return _FLAGS | self.written if self.written else {}

    @property
    def wanted(self) -> str:
        """See FeatureTable."""
        return f"true or false{wanted_too(self.written)}"

    def _checked(self, value: object) -> bool | FieldFault:
        found = value if isinstance(value, bool) else meant(value, self._written)
        return self.wrong_type() if found is None else found

    def fed(self, stored: Any) -> bool | None:
        """True or false, or what stands for an absent one."""
        return self.missing if stored is None else stored

    @property
    def sample(self) -> bool:
        """What to show as an example."""
        return bool(self.example)

    @property
    def ends(self) -> tuple[Stored, ...]:
        """All that is accepted."""
        return False, True

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the feature."""
        if not self.written:
            return with_example(self.described("boolean"), self.example)
        allowed = choices((True, False), self._written, required=self.required)
        told = explained((True, False), self.written, {})
        return with_example({**self.described("boolean"), **allowed, **told}, self.example)


def _check_order(minimum: float, maximum: float, example: float | None) -> None:
    if minimum >= maximum:
        raise ValueError("minimum must be less than maximum")
    if example is not None and not minimum <= example <= maximum:
        raise ValueError("example must lie between minimum and maximum")
