"""Reads JSON values as typed inputs and options, and says what is wrong with them.

Types are those of JSON: a date is a text. So a value is written as JSON and that is read. Of long values this would take
several times their memory, while no other thread runs: they are read as they are. What is accepted so is what is accepted of
JSON, and what is refused for a reason that depends on JSON, as a text where a date must be, is written and read after all.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from types import NoneType
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticSerializationError, from_json, to_json

from models.field_codes import FieldCode
from models.pipelines.canonical import is_long
from models.pipelines.contract import FieldFault, InputRejected, pointer_to
from models.pipelines.typed_faults import MOST, MOST_READ, field_faults

LONG_BYTES: Final = 64 * 1024
_SCALARS: Final = frozenset((int, float, bool, NoneType))
# Errors of a value that is read as it is which are those of JSON, too, whatever the value.
_ALIKE: Final = frozenset((
    "missing", "extra_forbidden", "model_type", "list_type", "dict_type", "string_type", "bool_type", "finite_number",
    "greater_than", "greater_than_equal", "less_than", "less_than_equal",
    "too_long", "too_short", "string_too_long", "string_too_short", "string_pattern_mismatch",
))  # fmt: skip
_ALIKE_OF: Final[Mapping[str, frozenset[type]]] = {  # and those of such values
    "float_type": frozenset((str, bool, NoneType, list, dict)),
    "int_type": frozenset((str, bool, NoneType, list, dict)),
    "literal_error": frozenset((str,)),
}
_KEY: Final = "[key]"

TypeT = TypeVar("TypeT", bound=BaseModel)


def checked(model: type[TypeT], value: object, schema: Mapping[str, Any]) -> TypeT:
    """`value`, made of JSON, as `model`. Raises InputRejected."""
    found = read_as_it_is(model, value, schema) if is_long(value) and _is_json(value) else None
    if found is None:
        found = read_as_written(model, value, schema)
    if infinite := list(islice(_infinite(value), MOST)):  # where a field may hold anything
        detail = "Send a number within the range of a 64-bit float."
        raise InputRejected(
            *(FieldFault(pointer_to(*map(str, path)), FieldCode.NOT_FINITE, detail) for path in infinite)
        )
    return found


def stored(model: type[TypeT], text: bytes) -> TypeT:
    """The `model` of JSON that was stored. Raises ValidationError."""
    if len(text) > LONG_BYTES:
        try:
            return model.model_validate(from_json(text))
        except ValueError:
            pass
    return model.model_validate_json(text)


def refuse_swapped(model: type[BaseModel], value: object, read: object, schema: Mapping[str, Any]) -> None:
    """Raises InputRejected where `true` was read as a 1, or a 1 as true; `read` is the model as JSON."""
    if swapped := list(islice(_swapped(value, read), MOST)):
        lines = [
            InitErrorDetails(type="literal_error", loc=path, input=None, ctx={"expected": ""})
            for path in swapped
        ]
        mistaken = ValidationError.from_exception_data(model.__name__, lines)
        raise InputRejected(*field_faults(mistaken, value, schema))


def read_as_it_is(model: type[TypeT], value: object, schema: Mapping[str, Any]) -> TypeT | None:
    """The model of a value that is made of JSON; None where that must be written to tell. Raises InputRejected."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        if _is_alike(error):
            raise InputRejected(*field_faults(error, value, schema)) from None
    try:
        return model.model_validate(_with_integers(value))
    except ValidationError:
        return None


def _is_alike(error: ValidationError) -> bool:
    """Whether JSON has these very errors, also where 5.0 is taken for an integer."""
    return error.error_count() <= MOST_READ and all(
        _KEY not in each["loc"]
        and (each["type"] in _ALIKE or type(each["input"]) in _ALIKE_OF.get(each["type"], ()))
        for each in error.errors(include_url=False, include_context=False)
    )


def read_as_written(model: type[TypeT], value: object, schema: Mapping[str, Any]) -> TypeT:
    """The model of a value, written as JSON. Raises InputRejected."""
    try:
        written = to_json(value)
    except PydanticSerializationError:
        raise InputRejected(
            FieldFault("", FieldCode.NOT_JSON, "Send JSON: text in UTF-8 and no bytes.")
        ) from None
    found = _read(model, written)
    if found is None:  # outside of an except, which would keep the errors of the first reading
        whole = _with_integers(value)  # to JSON Schema 5.0 is an integer, to pydantic it is none
        try:
            found = model.model_validate_json(to_json(whole))
        except ValidationError as error:
            raise InputRejected(*field_faults(error, value, schema)) from None
    return found


def _read(model: type[TypeT], written: bytes) -> TypeT | None:
    try:
        return model.model_validate_json(written)
    except ValidationError:
        return None


def _is_json(value: object) -> bool:
    """Whether it is made of what JSON is read as, and all texts are UTF-8."""
    kind = type(value)
    if kind is dict:
        return all(map(_is_text, value)) and all(map(_is_json, value.values()))  # type: ignore[call-overload,attr-defined]  # a dict
    if kind is list:
        return _types(value) <= _SCALARS or all(map(_is_json, value))  # type: ignore[arg-type,call-overload]  # a list
    return kind in _SCALARS or _is_text(value)


def _is_text(value: object) -> bool:
    return type(value) is str and (value.isascii() or _is_utf8(value))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _swapped(
    value: object, read: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """Where `true` was read as a 1, or a 1 as true: to Python, and so to pydantic's Literal, they are the same."""
    if isinstance(value, dict) and isinstance(read, dict):
        for key in value.keys() & read.keys():
            yield from _swapped(value[key], read[key], (*path, key))
    elif isinstance(value, list) and isinstance(read, list):
        if not ((_types(value) | _types(read)) & {bool, dict, list}):
            return  # a long list of numbers would take seconds
        for index, (part, found) in enumerate(zip(value, read, strict=False)):
            yield from _swapped(part, found, (*path, index))
    elif (
        isinstance(value, bool | int)
        and value == read
        and isinstance(value, bool) is not isinstance(read, bool)
    ):
        yield path


def _types(values: list[object]) -> set[type]:
    return set(map(type, values))


def _infinite(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a number past the range of a float is: it would be stored as null."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _infinite(part, (*path, key))
    elif isinstance(value, list):
        types = _types(value)
        floats = value if types == {float} else (each for each in value if isinstance(each, float))
        if not (types & {dict, list}) and (float not in types or all(map(math.isfinite, floats))):
            return
        for index, part in enumerate(value):
            yield from _infinite(part, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield path


def _with_integers(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_integers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_integers(part) for part in value] if _types(value) & {float, dict, list} else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
