"""The common part of classifications of tables, of numbers only or of any values: the rules of an input and its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from models.field_codes import FieldCode
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.classification_pipeline import ClassificationPipeline
from models.pipelines.contract import FieldFault, InputRejected, TensorSpec
from models.pipelines.features import AnyFeature, FieldNames

if TYPE_CHECKING:
    from models.pipelines.features.table import Stored

DAMAGED: Final = FieldFault("", FieldCode.STORED_INPUT_DAMAGED, "The stored input is damaged.")


class TableClassification(ClassificationPipeline):
    """Everything except how an input is stored and fed to the graph."""

    binary: Final = False

    def __init__(
        self,
        features: Sequence[AnyFeature],
        parameters: ClassificationParameters,
        dtype: str,
        columns: Sequence[TensorSpec],
    ) -> None:
        super().__init__(parameters, TensorSpec("features", dtype, (len(columns),), columns=tuple(columns)))
        self._features = tuple(features)
        self._names = FieldNames(feature.name for feature in features)

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

    def unknown_fields(self, value: Mapping[object, object]) -> list[FieldFault]:
        """What `encode` says of the keys that are no features."""
        return self._names.unknown(value)

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:  # noqa: ARG002  values are no files
        """JSON Schema 2020-12 of one input: an object of values, each with its title and what it may be."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {feature.name: feature.json_schema() for feature in self._features},
            "required": [feature.name for feature in self._features if feature.required],
            "additionalProperties": False,
            "examples": [{feature.name: feature.sample for feature in self._features}],
        }
