"""What a recommender knows beside the items: fields that its manifest declares, and the columns they are fed as.

A number with bins has a column for each of them, one without has a single column; a category has a column for each value.
Codes, such as those of diagnoses, have a column for each group of a side file: a code belongs to the group that lists it, or
that lists the longest beginning of it, down to its category, which is the part before the dot. What a group names under
`except` belongs to none, although a shorter code of it is listed: hyperkalemia is no reason for what is given for hypokalemia.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from models.drug_safety.codes import System, names_system, read_code
from models.manifest import ManifestTable, Text
from models.manifest_words import SNAKE_CASE
from models.pipelines.contract import ReadFile
from models.pipelines.features.numbers import Bound
from models.pipelines.item_catalogue import folded, listed, read_lines, unusable
from models.pipelines.side_files import SideFile
from models.ucum import Unit

MOST_CODES: Final = 1000
LONGEST_CODE: Final = 300
_NEEDED: Final = ("group", "display")
_COLUMNS: Final = (*_NEEDED, "codes", "except")

# What belongs to its category is one whole code, as of ICD-10 or ICD-9-CM, and no text that begins like one.
_ONE_CODE: Final = re.compile(
    r"[0-9]{2,4}(\.?[0-9]{1,2})?|[a-z][0-9a-z]{1,3}(\.[0-9a-z]{1,4})?|[a-z][0-9a-z]{2,6}"
)

Code = Annotated[str, Field(min_length=1, max_length=LONGEST_CODE, pattern=r"\S")]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a patient, and its column of the feed with the value there. `code` is what the caller sent."""

    field: str
    code: str
    display: str
    column: int
    value: float = 1.0


class ContextField(ManifestTable):
    """What all fields have."""

    name: Annotated[str, Field(pattern=SNAKE_CASE, max_length=64)]
    title: Text
    type: str
    required: bool = False
    description: str = ""

    def annotation(self) -> tuple[Any, Any]:
        """The type of the input's field, and its default."""
        kind, field = self._kind()
        return (Annotated[kind, field], ...) if self.required else (Annotated[kind | None, field], None)

    def _kind(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def columns(self, read: ReadFile) -> Columns:
        """How its values are fed. Raises SideFileUnusable."""
        raise NotImplementedError


class NumberField(ContextField):
    """A number within a range. With `bins`, its column is that of the interval it lies in, lower bound included."""

    type: Literal["number"]
    unit: Unit = "1"
    minimum: Bound
    maximum: Bound
    bins: Annotated[tuple[Bound, ...], Field(max_length=100, strict=False)] = ()
    missing: Bound | None = None
    example: Bound | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(low >= high for low, high in pairwise((self.minimum, *self.bins, self.maximum))):
            raise ValueError("minimum, bins and maximum must ascend: bins are the bounds between intervals")
        if bool(self.bins) is (self.missing is not None):
            raise ValueError("give either bins, or `missing`, which is fed where the number is absent")
        return self

    def _kind(self) -> tuple[Any, Any]:
        shown = [self.example] if self.example is not None else []
        return float, Field(
            title=self.title, description=self.description, ge=self.minimum, le=self.maximum,
            json_schema_extra={"unit": self.unit}, examples=shown or None,
        )  # fmt: skip

    def columns(self, read: ReadFile) -> Columns:  # noqa: ARG002 - it has no side file
        """See ContextField."""
        return _NumberColumns(self)


class CategoryField(ContextField):
    """One of a closed set of texts."""

    type: Literal["category"]
    values: Annotated[tuple[Text, ...], Field(min_length=2, max_length=1000, strict=False)]
    example: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("values: name each value once")
        if self.example is not None and self.example not in self.values:
            raise ValueError("example must be one of the values")
        return self

    def _kind(self) -> tuple[Any, Any]:
        shown = [self.example] if self.example is not None else None
        return Literal[self.values], Field(title=self.title, description=self.description, examples=shown)

    def columns(self, read: ReadFile) -> Columns:  # noqa: ARG002 - it has no side file
        """See ContextField."""
        return _CategoryColumns(self)


class CodesField(ContextField):
    """A list of codes. `file` lists the groups; a code that it does not know is told, and changes nothing."""

    type: Literal["codes"]
    file: SideFile
    category: int = Field(0, ge=0, le=20, description="length of the category of a code without a dot")
    most: int = Field(MOST_CODES, ge=1, le=MOST_CODES)
    example: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def _kind(self) -> tuple[Any, Any]:
        shown = [list(self.example)] if self.example else None
        return list[Code], Field(
            title=self.title, description=self.description, max_length=self.most, examples=shown
        )

    def columns(self, read: ReadFile) -> Columns:
        """See ContextField."""
        return _CodeColumns(self, read(self.file))


_TYPES: Final[Mapping[str, type[ContextField]]] = {
    "number": NumberField,
    "category": CategoryField,
    "codes": CodesField,
}


def _typed(table: object, info: Any) -> object:
    """A table of the manifest as the field that its `type` says, so that faults name the keys of that alone."""
    if isinstance(table, ContextField):
        return table
    kind = table.get("type") if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"type must be one of {', '.join(_TYPES)}")
    return _TYPES[kind].model_validate(table, context=info.context)


AContextField = Annotated[ContextField, PlainValidator(_typed)]


class Columns:
    """How the values of one field are fed."""

    informs = False  # whether it says enough of a patient of whom nothing else is known

    def __init__(self, field: ContextField, blank: Sequence[float]) -> None:
        self.field: Final = field
        self.blank: Final = tuple(blank)  # what is fed where it is absent

    def facts(self, value: Any) -> list[Fact]:
        """What a value says, each column once. `value` is not None."""
        raise NotImplementedError

    def unknown(self, value: Any) -> list[str]:  # noqa: ARG002 - most fields know all that they accept
        """What of a value is not known."""
        return []

    def ambiguous(self, value: Any) -> list[str]:  # noqa: ARG002 - most fields have no codes
        """What of a value is known, and may be a code of another system."""
        return []


class _NumberColumns(Columns):
    def __init__(self, field: NumberField) -> None:
        blank = [field.missing] if field.missing is not None else [0.0] * (len(field.bins) + 1)
        super().__init__(field, blank)
        self._bins = field.bins
        ends = [f"below {field.bins[0]:g}"] if field.bins else []
        ends += [f"{low:g} to below {high:g}" for low, high in pairwise(field.bins)]
        self._displays = [*ends, *([f"from {field.bins[-1]:g}"] if field.bins else [])]

    def facts(self, value: float) -> list[Fact]:
        name, title = self.field.name, self.field.title
        if not self._bins:
            return [Fact(name, f"{value:g}", f"{title} {value:g}", 0, value)]
        place = bisect_right(self._bins, value)
        return [Fact(name, f"{value:g}", f"{title} {self._displays[place]}", place)]


class _CategoryColumns(Columns):
    def __init__(self, field: CategoryField) -> None:
        super().__init__(field, [0.0] * len(field.values))
        self._values = field.values

    def facts(self, value: str) -> list[Fact]:
        return [Fact(self.field.name, value, f"{self.field.title}: {value}", self._values.index(value))]


class _CodeColumns(Columns):
    informs = True

    def __init__(self, field: CodesField, content: bytes) -> None:
        self._category = field.category
        self._displays: list[str] = []
        self._by_code: dict[str, int | None] = {}  # None: of no group, whatever lists a shorter code
        for number, line in read_lines(content, field.file, _NEEDED, _COLUMNS):
            place = len(self._displays)
            self._displays.append(line["display"])
            own = dict.fromkeys((line["group"], *listed(line["codes"])), place)
            for name, of in {**own, **dict.fromkeys(listed(line["except"]))}.items():
                code = folded(name)
                if self._by_code.setdefault(code, of) != of:
                    raise unusable(field.file, f"line {number}: {code!r} is listed before, for another group")
        if not self._displays:
            raise unusable(field.file, "it lists no group: add some")
        super().__init__(field, [0.0] * len(self._displays))

    def facts(self, value: Sequence[str]) -> list[Fact]:
        sent: dict[int, set[str]] = {}
        for code in value:
            if (place := self._place(code)) is not None:
                sent.setdefault(place, set()).add(code)
        name = self.field.name
        return [
            Fact(name, ", ".join(sorted(sent[place])), self._displays[place], place) for place in sorted(sent)
        ]

    def unknown(self, value: Sequence[str]) -> list[str]:
        return [code for code in value if self._place(code) is None]

    def ambiguous(self, value: Sequence[str]) -> list[str]:
        """See Columns."""
        if not self._category:
            return []
        known = [code for code in value if self._place(code) is not None]
        return [code for code in known if (read := read_code(code)) and read.other is not None]

    def _place(self, code: str) -> int | None:
        """The group of a code: of the whole, or of the longest beginning of it that is listed."""
        whole = folded(code)
        if not self._category:
            return self._by_code.get(whole)
        if names_system(code) and whole not in self._by_code:
            whole = _alone(code)
        if whole in self._by_code:
            return self._by_code[whole]
        if not _ONE_CODE.fullmatch(whole) or not _has_category(whole):
            return None
        if (read := read_code(whole)) and read.is_sequela:
            return None
        before, dot, after = whole.partition(".")
        if not dot:
            before, after = whole[: self._category], whole[self._category :]
        shorter = [f"{before}.{after[:length]}" for length in range(len(after), 0, -1)]
        return next((self._by_code[each] for each in (*shorter, before) if each in self._by_code), None)


def _alone(code: str) -> str:
    """A code behind a system, without it; "" if it is not of that system, or alone is read as one of another."""
    read = read_code(code)
    alone = read and read_code(read.bare)
    return folded(read.bare) if read and alone and alone.system is read.system else ""


def _has_category(whole: str) -> bool:
    """Whether a code may count for its category. External causes have categories of their own, though they look like others.

    Without a dot, "E8700" is a cut in ICD-9-CM and would be a disorder of electrolytes in ICD-10: neither is guessed.
    """
    read = read_code(whole)
    if read is None or "." in whole:
        return read is None or not (read.system is System.ICD_10 and read.bare.startswith("V"))
    if read.bare.startswith("V"):
        return read.system is System.ICD_9_CM
    return not read.bare.startswith("E") or (read.system is System.ICD_10 and read.other is None)
