"""What to do about a field or a parameter that a request does not take: remove it, or write it as the one that it resembles."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from models.pipelines.features.names import FieldNames

NOTHING_HERE = "Nothing here has this name: remove it."


def unknown_name(schema: type[BaseModel], place: Sequence[int | str]) -> str:
    """The advice on what was sent at a `place` of `schema`. It names fields of the schema alone, never what was sent."""
    *before, name = place
    known = [
        alias or field
        for model in _models_at(schema, before)
        for field, alias in ((field, info.alias) for field, info in model.model_fields.items())
    ]
    near = FieldNames(known).nearest(str(name))
    return NOTHING_HERE + ("" if near is None else f" Did you mean {near}?")


def _models_at(schema: type[BaseModel], place: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that may stand at a place; none where a name in it is no field, such as the tag of a union."""
    models = [schema]
    for name in place:
        if isinstance(name, str):
            models = [
                inner
                for model in models
                for field, info in model.model_fields.items()
                if name in {field, info.alias}
                for inner in _models_in(info.annotation)
            ]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
