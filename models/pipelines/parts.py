"""Parts of an input: those of its properties that are stored apart. Their kinds, their schemas, and an input without them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable


class PartKind(StrEnum):
    """What a part of an input is, where it is stored apart: a file, or the result of another job."""

    FILE = "file"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Part:
    """A top-level property of an input that is stored apart.

    A file is sent as {"data": base64} or {"upload_id": id}; scoring gets its bytes. A result is sent as {"job": id}, and
    scoring gets the JSON that this job's result is stored as. `types` are those of the results that are taken (what they
    say in `type`); empty: any.
    """

    kind: PartKind
    required: bool = True
    types: tuple[str, ...] = ()


@runtime_checkable
class FileChecker(Protocol):
    """A pipeline that checks the files among its parts when they are submitted."""

    def check_file(self, name: str, content: bytes) -> None:
        """Raises InputRejected, with pointers relative to the part called `name`."""


FILE_FORM: Final = 'Send the file as {"data": base64} or as {"upload_id": id}.'
RESULT_FORM: Final = 'Send {"job": id}, with the id of the job whose result it is.'
FORMS: Final = {PartKind.FILE: FILE_FORM, PartKind.RESULT: RESULT_FORM}


def take_apart(value: object, parts: Mapping[str, Part]) -> tuple[object, dict[str, object]]:
    """The input without its parts, which is what `encode` takes, and what was sent for each part.

    A part that has to be there and is not comes as None. What is no object is given back as it is, for `encode` to refuse.
    """
    if not parts or not isinstance(value, dict):
        return value, {}
    rest = {name: each for name, each in value.items() if name not in parts}
    sent = {name: value.get(name) for name, part in parts.items()}
    return rest, {name: each for name, each in sent.items() if each is not None or parts[name].required}


def result_type(schema: Mapping[str, Any]) -> str | None:
    """What the results of a `result_schema` say in `type`; None where the schema does not fix it."""
    rule = schema.get("properties", {}).get("type", {})
    told = rule.get("const")
    return told if isinstance(told, str) else None


def part_schema(part: Part, most_bytes: int | None = None) -> dict[str, object]:
    """JSON Schema of what is sent for a part; `most_bytes` is what is taken of a file."""
    if part.kind is PartKind.FILE:
        return {"type": "object", "oneOf": [only("data", _data(most_bytes)), only("upload_id", _UPLOAD)]}
    kinds = f" It must be of the type {' or '.join(part.types)}." if part.types else ""
    job = {"type": "string", "format": "uuid", "description": f"The job whose result it is.{kinds}"}
    return {"type": "object", **only("job", job)}


def only(name: str, schema: Mapping[str, object]) -> dict[str, object]:
    """JSON Schema of an object with this one property."""
    return {"properties": {name: schema}, "required": [name], "additionalProperties": False}


_UPLOAD: Final = {
    "type": "string",
    "format": "uuid",
    "title": "Upload",
    "description": "An id that POST /v1/uploads answered.",
}


def _data(most_bytes: int | None) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string", "title": "File", "contentEncoding": "base64"}
    return schema if most_bytes is None else {**schema, "maxLength": 4 * math.ceil(most_bytes / 3)}
