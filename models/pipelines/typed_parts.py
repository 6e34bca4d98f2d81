"""Fields of a TypedInput for parts of the input that are stored separately: files, and results of other jobs.

    class Input(TypedInput):
        age: float
        image: FilePart
        finding: Annotated[ResultPart, ResultOf("classification")]

The field itself holds None; scoring finds the bytes in `case.parts["image"]`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from models.pipelines.parts import Part, PartKind, part_schema


@dataclass(frozen=True)
class _IsPart:
    part: Part

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return part_schema(self.part)


class ResultOf:
    """Which results a ResultPart takes: those that say one of these in `type`."""

    def __init__(self, *types: str) -> None:
        self.types: Final = types


# Not sent with the rest of an input and never stored with it, so it has a default and is left out.
_APART: Final = Field(default=None, exclude=True)

FilePart = Annotated[None, _APART, _IsPart(Part(PartKind.FILE))]
OptionalFilePart = Annotated[None, _APART, _IsPart(Part(PartKind.FILE, required=False))]
ResultPart = Annotated[None, _APART, _IsPart(Part(PartKind.RESULT))]
OptionalResultPart = Annotated[None, _APART, _IsPart(Part(PartKind.RESULT, required=False))]


def parts_of(model: type[BaseModel]) -> dict[str, Part]:
    """The parts of an input by the names under which they are sent. Raises TypeError for a part within another type."""
    for name, field in model.model_fields.items():
        if _holds_part(field.annotation, set()):
            raise TypeError(
                f"the field {name!r} has a part within another type: declare it as FilePart or ResultPart itself, "
                "and use OptionalFilePart or OptionalResultPart if it may be omitted"
            )
    return {field.alias or name: part for name, field in model.model_fields.items() for part in _parts(field)}


def _holds_part(annotation: object, seen: set[object]) -> bool:
    """Whether a part is among the arguments of a type, or among the fields of a model that it names."""
    if isinstance(annotation, _IsPart):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return False
        seen.add(annotation)
        fields = annotation.model_fields.values()
        return any(any(_parts(each)) or _holds_part(each.annotation, seen) for each in fields)
    return any(_holds_part(each, seen) for each in get_args(annotation))


def _parts(field: FieldInfo) -> Iterator[Part]:
    types = tuple(name for each in field.metadata if isinstance(each, ResultOf) for name in each.types)
    for each in field.metadata:
        if isinstance(each, _IsPart):
            yield Part(each.part.kind, each.part.required, types)
