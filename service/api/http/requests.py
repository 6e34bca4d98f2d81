"""Reads content type, body, headers, query and cursors of a request."""

import base64
import binascii
import hashlib
import re
import zlib
from itertools import islice
from typing import TypeVar
from uuid import UUID

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.http import parse_list_header

from models.field_codes import FieldCode, OtherCode
from models.pipelines import pointer_to
from models.strict_json import JsonInvalid, read_json
from service.api.http.problems import MAX_FIELD_ERRORS
from service.api.http.unknown_names import NOTHING_HERE, unknown_name
from service.errors import (
    BodyNotJson,
    CursorInvalid,
    FieldError,
    HeaderInvalid,
    RequestInvalid,
    ServiceError,
)
from service.jobs.submission import IdempotencyKey

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
WAIT = re.compile(r"wait\s*=\s*(?:(\d{1,6})|\"(\d{1,6})\")", re.ASCII)
CURSOR_BYTES = 20
# Version 00 of W3C Trace Context (www.w3.org/TR/trace-context, 3.2.2); ids of zeros are invalid.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
HINTED = 20  # faults of a part whose advice looks for a near name: a caller may send any number
RAISED = ("value_error", "assertion_error")

Schema = TypeVar("Schema", bound=BaseModel)


def body_as(schema: type[Schema], body: bytes) -> Schema:
    """A JSON body as `schema`. Raises BodyNotJson, also when an object names a field twice, or RequestInvalid."""
    try:
        parsed = read_json(body)
    except JsonInvalid as error:
        raise BodyNotJson(f"{(BodyNotJson.__doc__ or '').strip()} Invalid JSON: {error}.") from None
    return part_as(schema, parsed)


def part_as(schema: type[Schema], part: object) -> Schema:
    """A JSON body, or a part of it, already parsed, as `schema`. Raises RequestInvalid."""
    if isinstance(part, dict) and len(part) > len(schema.model_fields) + MAX_FIELD_ERRORS:
        raise _all_unknown(part, schema)  # more faults than are told, each of which would be described
    try:
        return schema.model_validate(part)
    except ValidationError as error:
        raise request_invalid(error, schema) from None


def query_as(schema: type[Schema]) -> Schema:
    """The query parameters as `schema`, each given once. Raises RequestInvalid."""
    doubled = [name for name, values in request.args.lists() if len(values) > 1]
    if doubled:
        raise RequestInvalid(
            errors=tuple(
                FieldError(pointer_to(name), FieldCode.DOUBLED, "Give this parameter once.")
                for name in doubled
            )
        )
    try:
        return schema.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise request_invalid(error, schema) from None


class NoQuery(BaseModel):
    """The query of an operation that takes none."""

    model_config = ConfigDict(extra="forbid")


def request_invalid(error: ValidationError, schema: type[BaseModel]) -> ServiceError:
    """What pydantic found of a `schema`, as a problem that names each field and never quotes a value."""
    found = error.errors(include_input=False, include_url=False, include_context=False)[:MAX_FIELD_ERRORS]
    return RequestInvalid(
        errors=tuple(
            FieldError(
                pointer_to(*map(str, fault["loc"])),
                OtherCode(fault["type"]),
                _words(fault, schema, hinted=number < HINTED),
            )
            for number, fault in enumerate(found)
        )
    )


def _all_unknown(part: dict[str, object], schema: type[BaseModel]) -> ServiceError:
    """The first of far more names than a schema has, as a problem."""
    known = schema.model_fields.keys() | {info.alias for info in schema.model_fields.values()}
    first = islice((name for name in part if name not in known), MAX_FIELD_ERRORS)
    return RequestInvalid(
        errors=tuple(
            FieldError(
                pointer_to(name),
                OtherCode("extra_forbidden"),
                unknown_name(schema, (name,)) if number < HINTED else NOTHING_HERE,
            )
            for number, name in enumerate(first)
        )
    )


def _words(fault: ErrorDetails, schema: type[BaseModel], *, hinted: bool) -> str:
    """What is wrong: of what our validators raise, their words alone, without "Value error, " in front."""
    if fault["type"] == "extra_forbidden":
        return unknown_name(schema, fault["loc"]) if hinted else NOTHING_HERE
    words = fault["msg"]
    return (words.partition(", ")[2] or words) if fault["type"] in RAISED else words


def idempotency_key(body: bytes) -> IdempotencyKey | None:
    """The Idempotency-Key header, if any, with the digest of the body. Raises HeaderInvalid."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise HeaderInvalid("Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return IdempotencyKey(f"{request.path} {key}", hashlib.sha256(body).digest())


def traceparent() -> str | None:
    """The trace that a request is part of (W3C Trace Context); None if the header is missing or invalid."""
    header = request.headers.get("traceparent")
    return header if header is not None and TRACEPARENT.fullmatch(header) else None


def preferred_wait_s(longest_s: float, without_s: float = 0.0) -> float:
    """Seconds that `Prefer: wait=N` asks for, at most `longest_s`; `without_s` when it does not ask.

    Raises HeaderInvalid (RFC 7240).
    """
    header = ",".join(request.headers.getlist("Prefer"))
    if "wait" in header.lower() and header.replace('\\"', "").count('"') % 2:
        raise HeaderInvalid("Prefer has an unclosed quotation mark. Send it as wait=10.")
    for preference in parse_list_header(header):
        word = preference.partition(";")[0].strip().lower()
        if word.partition("=")[0].strip() != "wait":
            continue
        shape = WAIT.fullmatch(word)
        if shape is None:
            raise HeaderInvalid("Prefer: wait takes a whole number of seconds, such as wait=10.")
        return min(float(shape[1] or shape[2]), longest_s)
    return without_s


def cursor_after(kind: str, last_id: UUID) -> str:
    """A cursor for what follows `last_id` in the list `kind`."""
    check = zlib.crc32(kind.encode() + last_id.bytes).to_bytes(4, "big")
    return base64.urlsafe_b64encode(last_id.bytes + check).decode().rstrip("=")


def cursor_id(kind: str, cursor: str | None) -> UUID | None:
    """The id after which a cursor of the list `kind` continues. Raises CursorInvalid."""
    if cursor is None:
        return None
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise CursorInvalid from None
    if len(content) != CURSOR_BYTES:
        raise CursorInvalid
    found = UUID(bytes=content[:16])
    if cursor_after(kind, found) != cursor:
        raise CursorInvalid
    return found
