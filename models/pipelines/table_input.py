"""The input of a pipeline for tables: an object of named values, each by the rules of its feature, and its schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field, model_validator

from models.field_codes import FieldCode
from models.manifest import ManifestTable, Text
from models.pipelines.contract import Answer, Case, FieldFault, InputRejected
from models.pipelines.features import AFeature, AnyFeature, BooleanFeature, CategoryFeature, FieldNames
from models.pipelines.missing_fields import MISSING, with_missing
from models.pipelines.schema_columns import MARKERS

if TYPE_CHECKING:
    from models.pipelines.features.table import Stored

DAMAGED: Final = FieldFault("", FieldCode.STORED_INPUT_DAMAGED, "The stored input is damaged.")


class TableParameters(ManifestTable):
    """The parameters that describe the columns of a table."""

    features: Annotated[tuple[AFeature, ...], Field(min_length=1, max_length=4096, strict=False)]
    missing: Annotated[tuple[Text, ...], Field(max_length=100, strict=False)] = Field(
        (), description="what the cells of files may hold for an absent value, beside nothing"
    )

    @model_validator(mode="after")
    def _check_features(self) -> Self:
        if len({feature.name for feature in self.features}) < len(self.features):
            raise ValueError("features: give each feature its own name")
        closed = (each for each in self.features if isinstance(each, CategoryFeature | BooleanFeature))
        for feature in closed:
            if meant := sorted({*self.missing} & {*feature.words}):
                raise ValueError(f"missing: {meant[0]!r} is a value of {feature.name!r}")
        return self


class TableInput:
    """The rules of an input; subclasses store it and feed it to the graph."""

    binary: Final = False

    def __init__(self, features: Sequence[AnyFeature], missing: Iterable[str] = ()) -> None:
        self._features = tuple(features)
        self._names = FieldNames(feature.name for feature in features)
        self._missing = tuple(missing)
        self.optional: Final = tuple(feature.name for feature in features if not feature.required)

    def checked(self, value: object) -> dict[str, Stored]:
        """What to store of an input, field by field, in the manifest's order. Raises InputRejected with every fault."""
        if not isinstance(value, dict):
            advice = "Send a JSON object with one value per field."
            raise InputRejected(FieldFault("", FieldCode.NOT_AN_OBJECT, advice))
        found = {feature.name: feature.check(value.get(feature.name)) for feature in self._features}
        faults = [each for each in found.values() if isinstance(each, FieldFault)]
        faults += self.unknown_fields(value)
        if faults:
            raise InputRejected(*faults)
        return {name: each for name, each in found.items() if not isinstance(each, FieldFault)}

    def missing_of(self, payload: bytes) -> list[str]:
        """The names of the fields that a stored input lacks, in the manifest's order."""
        raise NotImplementedError

    def with_missing(self, answers: list[Answer], cases: Sequence[Case]) -> list[Answer]:
        """The answers to some cases with the fields that each lacks; see missing_fields."""
        if not self.optional:
            return answers
        return [
            answer._replace(result={**answer.result, MISSING: self.missing_of(case.payload)})
            for answer, case in zip(answers, cases, strict=True)
        ]

    def schema_with_missing(self, schema: dict[str, object]) -> dict[str, object]:
        """The schema of a result, with that of `missing`."""
        description = "the fields that were absent, which the model answered without"
        return with_missing(schema, self.optional, description)

    def unknown_fields(self, value: Mapping[object, object]) -> list[FieldFault]:
        """What `encode` says of the keys that are no features."""
        return self._names.unknown(value)

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:  # noqa: ARG002  values are no files
        """JSON Schema 2020-12 of one input: an object of values, each with its title and what it may be.

        `missing_markers` is an annotation of ours: what cells of files may hold for an absent value.
        """
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {feature.name: feature.json_schema() for feature in self._features},
            "required": [feature.name for feature in self._features if feature.required],
            "additionalProperties": False,
            "examples": [{feature.name: feature.sample for feature in self._features}],
            **({MARKERS: [*self._missing]} if self._missing else {}),
        }
