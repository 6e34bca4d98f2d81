"""Features of a table: what the manifest says of each, what of an input is accepted, and in which words the rest is refused.

A value that is accepted is stored as JSON, `null` where it is absent; `fed` makes of that what the graph takes.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import PlainValidator

from models.pipelines.features.names import FieldNames
from models.pipelines.features.numbers import BooleanFeature, Feature, IntegerFeature
from models.pipelines.features.words import CategoryFeature, TextFeature

__all__ = [
    "AFeature",
    "AnyFeature",
    "BooleanFeature",
    "CategoryFeature",
    "Feature",
    "FieldNames",
    "IntegerFeature",
    "TextFeature",
]

AnyFeature = Feature | IntegerFeature | BooleanFeature | CategoryFeature | TextFeature
_TYPES: Final[Mapping[str, type[AnyFeature]]] = {
    "number": Feature,
    "integer": IntegerFeature,
    "boolean": BooleanFeature,
    "category": CategoryFeature,
    "text": TextFeature,
}


def _typed(table: object) -> object:
    """A table of the manifest as the feature that its `type` says, so that faults name the keys of that alone."""
    kind = table.get("type", "number") if isinstance(table, dict) else "number"
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"type must be one of {', '.join(_TYPES)}")
    return _TYPES[kind].model_validate(table)


AFeature = Annotated[AnyFeature, PlainValidator(_typed)]
