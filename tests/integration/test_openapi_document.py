"""/openapi.json is OpenAPI 3.1, and tells of every route, with examples that are good."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from flask import Flask

from service.api.http.openapi import document
from service.app import create_api
from service.config import Settings

Document = dict[str, Any]
SWAGGER_UI = "/docs"
SCHEMA_REFERENCE = re.compile(r"#/components/schemas/(\w+)")
NOT_METHODS_OF_OURS = {"HEAD", "OPTIONS"}


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    api = create_api(settings)
    yield api.app
    api.close()


@pytest.fixture
def described(app: Flask) -> Document:
    with app.app_context():
        return document(app)


def operations(described: Document) -> dict[str, Document]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def as_written(rule: str) -> str:
    """A Flask rule as a path of the document: `<uuid:job_id>` is `{job_id}`."""
    return "/".join(
        f"{{{part[1:-1].rpartition(':')[2]}}}" if part[:1] == "<" else part for part in rule.split("/")
    )


def test_it_is_openapi_3_1(described: Document) -> None:
    assert described["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(described).validate()


def test_every_schema_in_it_is_referred_to(described: Document) -> None:
    schemas: Document = described["components"]["schemas"]
    found, left = set[str](), [described["paths"]]
    while left:
        fresh = set(SCHEMA_REFERENCE.findall(json.dumps(left.pop()))) - found
        found |= fresh
        left += [schemas[name] for name in fresh]
    assert found == set(schemas)


def test_every_route_stands_in_it(app: Flask, described: Document) -> None:
    routes = {
        f"{method} {as_written(rule.rule)}"
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith(SWAGGER_UI)
        for method in (rule.methods or set()) - NOT_METHODS_OF_OURS
    }
    assert routes == set(operations(described))


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(described: Document) -> None:
    found = operations(described)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    assert all(operation["summary"] and operation["tags"] for operation in found.values())


def test_every_operation_under_v1_needs_a_key_and_tells_its_problems(described: Document) -> None:
    for name, operation in operations(described).items():
        if "/v1/" in name:
            assert operation["security"] == [{"key": []}], name
            assert {"401", "403", "500", "503"} <= operation["responses"].keys(), name


def test_whoever_is_told_to_try_again_is_told_when(described: Document) -> None:
    answers = {
        (name, status): response
        for name, operation in operations(described).items()
        for status, response in operation["responses"].items()
        if status in {"429", "503"} and "/v1/" in name
    }
    under_v1 = {name for name in operations(described) if "/v1/" in name}
    for status in ("429", "503"):
        assert {name for name, told in answers if told == status} == under_v1
    assert all(response["headers"]["Retry-After"]["required"] for response in answers.values())


def test_every_operation_that_says_something_has_an_example(described: Document) -> None:
    without = [name for name, operation in operations(described).items() if not list(examples(operation))]
    assert [name for name in without if "204" not in operations(described)[name]["responses"]] == []


def test_the_examples_of_bodies_fit_their_schemas(described: Document) -> None:
    for name, operation in operations(described).items():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            schema = {**media["schema"], "components": described["components"]}
            for example in media.get("examples", {}).values():
                jsonschema.Draft202012Validator(schema).validate(example["value"])
                assert example["summary"], name


def test_every_schema_can_be_resolved_and_is_valid(described: Document) -> None:
    schemas = described["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for referred in references(schema):
            assert referred.removeprefix("#/components/schemas/") in schemas, name


def examples(described: Any) -> Iterator[Any]:
    """Every `example` and `examples` in an operation."""
    if isinstance(described, dict):
        yield from (value for key, value in described.items() if key in {"example", "examples"} and value)
        for value in described.values():
            yield from examples(value)
    elif isinstance(described, list):
        for value in described:
            yield from examples(value)


def references(schema: Any) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(schema, dict):
        yield from (value for key, value in schema.items() if key == "$ref")
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)
