"""The values that a JSON Schema accepts, if they are few: true and false, categories, short ranges of whole numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from typing import Any, Final

MOST: Final = 100  # more values than this count as many
_ABSENT: Final = object()


class _Many(Exception):
    """There are more than MOST values, or they cannot be listed."""


def few_values(schema: Mapping[str, Any]) -> list[Any] | None:
    """All values of `schema`, perhaps with some that it refuses; None unless they are known to be few."""
    try:
        return _values(schema, schema)
    except (_Many, RecursionError):
        return None


def _values(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Any]:
    """The values of a part of the schema `whole`. Raises _Many."""
    values: Iterable[Any]
    match schema:
        case {"$ref": str(path)}:
            values = _values(_referred(path, whole), whole)
        case {"const": value}:
            values = [value]
        case {"enum": [*listed]}:
            values = listed
        case {"anyOf": [*branches]} | {"oneOf": [*branches]}:
            values = chain.from_iterable(_values(branch, whole) for branch in branches)
        case {"type": [*kinds]}:
            values = chain.from_iterable(_values({**schema, "type": kind}, whole) for kind in kinds)
        case {"type": "null" | "boolean" as kind}:
            values = [None] if kind == "null" else [False, True]
        case {"type": "integer", "minimum": int(least), "maximum": int(greatest)}:
            values = range(least, greatest + 1)
        case {"type": "object", "properties": properties, "additionalProperties": False}:
            values = _objects(properties, schema.get("required", ()), whole)
        case _:
            raise _Many
    found = list(islice(values, MOST + 1))
    if len(found) > MOST:
        raise _Many
    return found


def _objects(
    properties: Mapping[str, Mapping[str, Any]], required: Sequence[str], whole: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every object of these properties, with and without those that are not required."""
    choices = [
        [*_values(rule, whole), *([] if name in required else [_ABSENT])] for name, rule in properties.items()
    ]
    for chosen in product(*choices):
        named = zip(properties, chosen, strict=True)
        yield {name: value for name, value in named if value is not _ABSENT}


def _referred(path: str, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of `whole` that a path such as "#/$defs/Name" names."""
    found: Any = whole
    for key in path.removeprefix("#/").split("/"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise _Many
    return found
