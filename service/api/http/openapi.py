"""/openapi.json, made from the routes' own descriptions and schema classes, for programs; docs_page shows it to people."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from werkzeug.routing import Rule

from service.api.http.operations import Operation, operation, operation_of
from service.api.http.problems import PROBLEM_TYPE, TRY_AGAIN
from service.api.http.schemas import Problem

JSON = "application/json"
EXTENSION = "medqueue-openapi"  # the document, made when it is first asked for
REFERENCE = "#/components/schemas/{model}"
PATH_VARIABLE = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
# By the converter of the route: `name` of an artifact is a string, a model without a converter is a reference.
PATH_SCHEMAS: dict[str | None, dict[str, str]] = {
    "uuid": {"format": "uuid"},
    "string": {"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
    None: {"pattern": "^[a-z0-9-]{1,64}(@[A-Za-z0-9.+-]{1,64})?$"},
}
SECONDS = {"description": "In seconds", "schema": {"type": "string"}, "required": True}
ANSWER_WORDS = {
    200: "Done",
    201: "Stored",
    202: "Accepted",
    204: "Done",
    206: "The range that was asked for",
    304: "Nothing has changed",
    503: "Not ready",
}
PROBLEM_WORDS = {
    400: "Malformed request",
    401: "No key, or a wrong one",
    403: "The key lacks the scope",
    404: "Not found",
    413: "Too large",
    411: "The length is missing",
    415: "Wrong content type",
    422: "Does not match the schema or the model",
    409: "The state does not allow it",
    416: "No byte of the file lies in the range",
    429: "The tenant has as many jobs queued, as many bytes uploaded, or as many requests under way, as it may",
    500: "A fault of the service",
    503: "Postgres or the blob store is unavailable, or the server is at capacity",
}


def blueprint() -> Blueprint:
    """The route of the document."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    @operation("This document", example={"openapi": "3.1.0"}, scope=None, answers={200: JSON})
    def openapi() -> Response:
        made = current_app.extensions.get(EXTENSION)
        if made is None:
            made = current_app.extensions[EXTENSION] = to_json(document(current_app))
        return Response(made, mimetype=JSON)

    return routes


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every described route."""
    described = [
        (rule, found)
        for rule in app.url_map.iter_rules()
        if (found := operation_of(app.view_functions[rule.endpoint])) is not None
    ]
    paths: dict[str, dict[str, Any]] = {}
    for rule, found in sorted(described, key=lambda pair: pair[0].rule):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(PATH_VARIABLE.sub(r"{\g<name>}", rule.rule), {})[method.lower()] = _operation(
                rule, found
            )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "medqueue",
            "version": version("medqueue"),
            "license": {"name": "Apache-2.0"},
            "description": "Asynchronous inference for medical models. Research software, not a medical device.",
        },
        "paths": paths,
        "components": {
            "schemas": _component_schemas(
                frozenset(kind for _, found in described for kind in _kinds_of(found))
            ),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(rule: Rule, found: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": found.summary,
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.split(".")[0]],
        "parameters": [*_path_parameters(rule), *_other_parameters(found)],
        "responses": {
            **{str(status): _answer(found, status) for status in found.answers},
            **_problems(found),
        },
    }
    if found.scope is not None:
        described |= {"security": [{"key": []}], "description": f"Needs the scope `{found.scope}`."}
    if found.body is not None:
        media = found.body if isinstance(found.body, str) else JSON
        described["requestBody"] = {
            "required": found.body_required,
            "content": {media: _schema_of(found.body)},
        }
        if found.examples:
            described["requestBody"]["content"][media]["examples"] = found.examples
    return described


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    return [
        {
            "name": match["name"],
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | PATH_SCHEMAS[match["kind"]],
        }
        for match in PATH_VARIABLE.finditer(rule.rule)
    ]


def _other_parameters(found: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": False,
            "schema": parameter.schema,
            "description": parameter.description,
        }
        for parameter in found.parameters
    ]


REQUEST_ID = {
    "X-Request-Id": {
        "description": "The id sent in this header, otherwise the trace id of `traceparent`, otherwise a new one.",
        "schema": {"type": "string"},
    }
}


def _answer(found: Operation, status: int) -> dict[str, Any]:
    kind = found.answers[status]
    words = ANSWER_WORDS[status]
    if not kind:
        return {"description": words, "headers": dict(REQUEST_ID)}
    if isinstance(kind, str | tuple):
        medias = (kind,) if isinstance(kind, str) else kind
        content: dict[str, Any] = {"description": words, "content": {media: {} for media in medias}}
    else:
        content = {"description": words, "content": {JSON: _schema_of(kind)}}
    if found.example is not None and status == next(iter(found.answers)):
        next(iter(content["content"].values()))["example"] = found.example
    content["headers"] = dict(REQUEST_ID)
    if status == 202:
        content["headers"] |= {
            "Location": {"schema": {"type": "string"}, "required": True},
            "Retry-After": {"schema": {"type": "string"}, "required": True},
        }
    return content


def _problems(found: Operation) -> dict[str, Any]:
    statuses = {*found.problems, *((401, 403, 429, 500, 503) if found.scope else ())} - set(found.answers)
    return {
        str(status): {
            "description": PROBLEM_WORDS[status],
            "content": {PROBLEM_TYPE: _schema_of(Problem)},
            "headers": REQUEST_ID | ({"Retry-After": SECONDS} if status in TRY_AGAIN else {}),
        }
        for status in sorted(statuses)
    }


def _schema_of(kind: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(kind, str):
        return {"schema": {"type": "string", "format": "binary"}}
    return {"schema": {"$ref": REFERENCE.format(model=kind.__name__)}}


@cache
def _component_schemas(kinds: frozenset[type[BaseModel]]) -> dict[str, Any]:
    """The schemas of all bodies and answers, and of what these are made of."""
    _, document = models_json_schema(
        [(kind, "validation") for kind in kinds | {Problem}], ref_template=REFERENCE
    )
    definitions: dict[str, Any] = document["$defs"]
    return definitions


def _kinds_of(found: Operation) -> Iterator[type[BaseModel]]:
    for kind in (found.body, *found.answers.values()):
        if isinstance(kind, type):
            yield kind
