"""Features that are texts: one of a closed set of values, or the caller's own."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from models.field_codes import FieldCode
from models.manifest import Text
from models.pipelines.contract import FieldFault, pointer_to
from models.pipelines.features.table import FeatureTable, Stored, check_missing, with_example
from models.pipelines.features.written import (
    MOST_WRITTEN,
    check_written,
    choices,
    explained,
    meant,
    wanted_too,
)
from models.pipelines.names import near_names

_NAMED: Final = 20  # of many values, that many are named

_INT32: Final = range(-(2**31), 2**31)
_MISSING: Final = 'missing must be a text, or with `as = "index"` a whole number of 32 bits'


class CategoryFeature(FeatureTable):
    """One of a closed set of texts, fed as it is or as its place among them, from 0.

    `missing` is what the graph is fed where it is absent: a text, or with `as = "index"` a whole number. `written` has
    other ways to write a value; `display` what values mean, for people.
    """

    type: Literal["category"]
    values: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000, strict=False)]
    fed_as: Literal["text", "index"] = Field("text", alias="as")
    missing: str | int | None = None
    written: Annotated[dict[Text, Text], Field(max_length=MOST_WRITTEN)] = Field(default_factory=dict)
    display: dict[Text, Text] = Field(default_factory=dict)
    example: str | None = None

    @field_validator("missing", mode="before")
    @classmethod
    def _check_missing(cls, missing: object) -> object:
        """Before the union is tried, whose faults would name its branches and not the key."""
        if not isinstance(missing, str) and not (type(missing) is int and missing in _INT32):
            raise ValueError(_MISSING)
        return missing

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("values: name each value once")
        if self.example is not None and self.example not in self.values:
            raise ValueError("example must be one of the values")
        check_missing(self.required, self.missing)
        check_written(self.written, self.values)
        if strange := sorted({*self.written.values()} - {*self.values}):
            raise ValueError(f"written: {strange[0]!r} is none of the values")
        if strange := sorted({*self.display} - {*self.values}):
            raise ValueError(f"display: {strange[0]!r} is none of the values")
        if self.missing is not None and isinstance(self.missing, str) == (self.fed_as == "index"):
            raise ValueError(_MISSING)
        return self

    @property
    def dtype(self) -> str:
        """Of the column that is fed."""
        return "string" if self.fed_as == "text" else "int32"

    @property
    def fed_values(self) -> tuple[str, ...] | tuple[int, ...]:
        """What the graph may be fed, but for `missing`."""
        return self.values if self.fed_as == "text" else tuple(range(len(self.values)))

    @property
    def words(self) -> tuple[str, ...]:
        """All texts that stand for a value."""
        return (*self.values, *self.written)

    @property
    def wanted(self) -> str:
        """See FeatureTable. Of many values the first are named."""
        named = ", ".join(json.dumps(value, ensure_ascii=False) for value in self.values[:_NAMED])
        more = len(self.values) - _NAMED
        listed = f" and {more} more, which the model's input_schema lists" if more > 0 else ""
        return f"one of {named}{listed}{wanted_too(list(self.written)[:_NAMED])}"

    def _checked(self, value: object) -> str | FieldFault:
        if (found := meant(value, self.written)) is not None:
            return found
        if not isinstance(value, str):
            return self.fault(FieldCode.WRONG_TYPE, f"must be a text, {self.wanted}")
        if value in self.values:
            return value
        near = list(near_names(self.words, [value]))
        # Where several are near, as "< 3" and "> 3" are to "3", none is hinted at.
        hint = f". Did you mean {json.dumps(near[0], ensure_ascii=False)}?" if len(near) == 1 else "."
        return FieldFault(
            pointer_to(self.name), FieldCode.NOT_ALLOWED, f"{self.name} must be {self.wanted}{hint}"
        )

    def fed(self, stored: Any) -> str | int | None:
        """The value or its place, or what stands for an absent one."""
        if stored is None:
            return self.missing
        return self.values.index(stored) if self.fed_as == "index" else stored

    @property
    def sample(self) -> str:
        """What to show as an example."""
        return self.values[0] if self.example is None else self.example

    @property
    def ends(self) -> tuple[Stored, ...]:
        """All that is accepted."""
        return self.values

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the feature."""
        allowed = choices(self.values, self.written, required=self.required)
        told = explained(self.values, self.written, self.display)
        return with_example({**self.described("string"), **allowed, **told}, self.example)


class TextFeature(FeatureTable):
    """A text of the caller's own. `missing` is what the graph is fed where it is absent."""

    type: Literal["text"]
    max_length: int = Field(1000, ge=1, le=100_000)
    missing: str | None = None
    example: Text | None = None

    dtype: ClassVar[str] = "string"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.example or "") > self.max_length:
            raise ValueError("example must have at most max_length characters")
        check_missing(self.required, self.missing)
        return self

    @property
    def wanted(self) -> str:
        """See FeatureTable."""
        return f"a text of at most {self.max_length} characters"

    def _checked(self, value: object) -> str | FieldFault:
        if not isinstance(value, str):
            return self.wrong_type()
        if not value:
            return self.fault(FieldCode.TOO_SHORT, f"is empty: send {self.wanted}")
        if len(value) > self.max_length:
            return self.fault(FieldCode.TOO_LONG, f"must be {self.wanted}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            return self.wrong_type("Half a surrogate pair is no character")
        return value

    def fed(self, stored: Any) -> str | None:
        """The text, or what stands for an absent one."""
        return self.missing if stored is None else stored

    @property
    def sample(self) -> str:
        """What to show as an example."""
        return self.example or "text"[: self.max_length]

    @property
    def ends(self) -> tuple[Stored, ...]:
        """One of all the texts that are accepted."""
        return (self.sample,)

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the feature."""
        return with_example(self.described("string", minLength=1, maxLength=self.max_length), self.example)
