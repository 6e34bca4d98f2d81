"""Parts of an input, the properties that are stored separately: their kinds, their schemas, and an input without them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable


class PartKind(StrEnum):
    """The kinds of parts: a file, or the result of another job."""

    FILE = "file"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Part:
    """A top-level property of an input that is stored separately.

    A file is sent as {"data": base64} or {"upload_id": id}; scoring gets its bytes. A result is sent as {"job": id};
    scoring gets the stored JSON of this job's result. `types` lists the accepted values of the result's `type`; empty
    means any.
    """

    kind: PartKind
    required: bool = True
    types: tuple[str, ...] = ()


class Source(NamedTuple):
    """Whose result a part is: the id of the job, and name, version and digest of the model that gave it."""

    job: str
    model: str
    version: str
    digest: str


@runtime_checkable
class FileChecker(Protocol):
    """A pipeline that checks the files among its parts when they are submitted."""

    def check_file(self, name: str, content: bytes) -> None:
        """Raises InputRejected, with pointers relative to the part called `name`."""


FILE_FORM: Final = 'Send the file as {"data": base64} or as {"upload_id": id}.'
RESULT_FORM: Final = 'Send {"job": id}, with the id of the job whose result it is.'
FORMS: Final = {PartKind.FILE: FILE_FORM, PartKind.RESULT: RESULT_FORM}


def take_apart(value: object, parts: Mapping[str, Part]) -> tuple[object, dict[str, object]]:
    """The input without its parts, for `encode`, and the value that was sent for each part.

    A required part that is missing is None. A value that is not an object is returned unchanged, for `encode` to refuse.
    """
    if not parts or not isinstance(value, dict):
        return value, {}
    rest = {name: each for name, each in value.items() if name not in parts}
    sent = {name: value.get(name) for name, part in parts.items()}
    return rest, {name: each for name, each in sent.items() if each is not None or parts[name].required}


class ResultFault(StrEnum):
    """Why the result of another job cannot be read as a part."""

    TYPE = "its type is none of those that the model takes"
    ABSTAINED = "its model abstained: it holds no answer to go on with"


def result_fault(part: Part, result: Mapping[str, object]) -> ResultFault | None:
    """Why a result cannot be read as this part; None if it can."""
    if part.types and result.get("type") not in part.types:
        return ResultFault.TYPE
    return ResultFault.ABSTAINED if result.get("abstained") is True else None


def result_type(schema: Mapping[str, Any]) -> str | None:
    """The `type` of results with this `result_schema`; None if the schema does not fix it."""
    rule = schema.get("properties", {}).get("type", {})
    told = rule.get("const")
    return told if isinstance(told, str) else None


def part_schema(part: Part, most_bytes: int | None = None) -> dict[str, object]:
    """JSON Schema of the value sent for a part; `most_bytes` is the maximum size of a file."""
    if part.kind is PartKind.FILE:
        return {"type": "object", "oneOf": [only("data", _data(most_bytes)), only("upload_id", _UPLOAD)]}
    kinds = f" It must be of the type {' or '.join(part.types)}." if part.types else ""
    job = {"type": "string", "format": "uuid", "description": f"The job whose result it is.{kinds}"}
    return {"type": "object", **only("job", job)}


def part_kind(schema: Mapping[str, Any]) -> PartKind | None:
    """The kind of part that a property with this `part_schema` is; None for other properties."""
    forms = [set(form.get("properties", ())) for form in schema.get("oneOf", [schema])]
    if forms == [{"data"}, {"upload_id"}]:
        return PartKind.FILE
    return PartKind.RESULT if forms == [{"job"}] else None


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
