"""Headers and query parameters that operations share, as OpenAPI describes them."""

from typing import Any

from pydantic import BaseModel

from service.api.http.operations import Parameter

PREFER = Parameter(
    "Prefer",
    "header",
    "`wait=N` delays the answer until the job has ended, for up to N seconds (RFC 7240). Granted while the "
    "server has room for waiting requests; otherwise the answer comes at once.",
    {"type": "string", "examples": ["wait=10"]},
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes retries safe: a request with the same key and body is answered like the first one and "
    "stores nothing; with another body it is refused. Kept as long as the job.",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$", "examples": ["case-2041-v1"]},
)
TRACEPARENT = Parameter(
    "traceparent",
    "header",
    "The trace that this request is part of (W3C Trace Context, version 00); the job's webhooks carry it. "
    "An invalid one is ignored.",
    {"type": "string", "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]},
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    "The ETag of the last answer: 304 without a body while nothing has changed.",
    {"type": "string", "examples": ['"running-1"']},
)
RANGE = Parameter(
    "Range",
    "header",
    "One range of the bytes of the file (RFC 9110, 14). Several ranges get the whole file.",
    {"type": "string", "examples": ["bytes=0-1048575"]},
)
IF_RANGE = Parameter(
    "If-Range",
    "header",
    "The ETag that the file had: if it has changed, the range is ignored and the whole file is sent.",
    {"type": "string", "examples": [f'"{"5e" * 32}"']},
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    "Resumes after this id of the stream. If omitted, the stream starts with new events.",
    {
        "type": "string",
        "pattern": "^(@[0-9]{1,18}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        "examples": ["01a20178-34e2-71dd-924c-9e5807b634d9"],
    },
)
LAST_PIECE_ID = Parameter(
    "Last-Event-ID",
    "header",
    "Resumes after this id of the job's stream. If omitted, the stream starts with the beginning of the text.",
    {
        "type": "string",
        "pattern": "^([0-9]{1,18}-[0-9]{1,9}-[0-9a-f]{8}|ended)$",
        "examples": ["1-42-9f0c22e1"],
    },
)
PREFER_STREAM = Parameter(
    "Prefer",
    "header",
    "`wait=N` ends the stream after N seconds (RFC 7240); otherwise it ends after the server's longest wait.",
    {"type": "string", "examples": ["wait=10"]},
)


def of_query(schema: type[BaseModel]) -> tuple[Parameter, ...]:
    """The query parameters that a query schema reads."""
    document = schema.model_json_schema(ref_template="#/components/schemas/{model}")
    properties: dict[str, dict[str, Any]] = document["properties"]
    return tuple(
        Parameter(name, "query", found.get("description", ""), _without_null(found, document))
        for name, found in properties.items()
    )


def _without_null(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out rather than null; references are written out."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    found = dict(options[0])
    if "$ref" in found:
        found = dict(document["$defs"][found["$ref"].rpartition("/")[2]])
    return {key: value for key, value in found.items() if key not in {"title", "description", "default"}}
