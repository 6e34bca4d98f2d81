"""Headers and query parameters that operations share, as OpenAPI describes them."""

from typing import Any

from pydantic import BaseModel

from service.api.operations import Parameter

PREFER = Parameter(
    "Prefer",
    "header",
    "`wait=N` holds the answer up to N seconds until the job has ended (RFC 7240). Granted up to the "
    "server's bound of waiting requests; past it the answer comes at once.",
    {"type": "string", "examples": ["wait=10"]},
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes a repeated request safe: the same key with the same body is answered as the first "
    "time and stores nothing again; with another body it is refused. Kept as long as the job.",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$", "examples": ["case-2041-v1"]},
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    "The ETag of the last answer: 304 without a body while nothing has changed.",
    {"type": "string", "examples": ['"running-1"']},
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
