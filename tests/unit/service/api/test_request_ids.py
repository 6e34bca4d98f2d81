"""Ids of requests: taken over, made, told, and in every line."""

import json
import uuid
from collections.abc import Iterator

import pytest
import structlog
from flask import Flask
from werkzeug.test import Client, TestResponse

from service.api.http import problems
from service.api.http.request_ids import RequestIds
from service.errors import DatabaseUnavailable

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def client() -> Iterator[Client]:
    """An application whose requests fail."""
    app = Flask(__name__)
    problems.install(app)

    @app.get("/fails")
    def fails() -> str:
        raise DatabaseUnavailable

    @app.get("/breaks")
    def breaks() -> str:
        raise RuntimeError("Mustermann")

    yield Client(RequestIds(app.wsgi_app))
    structlog.contextvars.clear_contextvars()


def id_in(answer: TestResponse) -> str:
    return str(answer.headers["X-Request-Id"])


@pytest.mark.parametrize(
    "given", ["a", "7d9a1f6e-4d0c-4a52-8f30-0d3f8a9b3a6e", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a" * 128]
)
def test_an_id_that_was_sent_is_taken_over(client: Client, given: str) -> None:
    assert id_in(client.get("/fails", headers={"X-Request-Id": given})) == given


@pytest.mark.parametrize("given", ["", " ", "a b", "a" * 129, 'a"b', "ä", "-a", "{}", "a\tb"])
def test_what_is_no_id_is_replaced(client: Client, given: str) -> None:
    answered = id_in(client.get("/fails", headers={"X-Request-Id": given}))
    assert answered != given
    assert uuid.UUID(answered).version == 4


def test_without_one_it_is_that_of_the_trace(client: Client) -> None:
    assert id_in(client.get("/fails", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})) == TRACE
    assert (
        id_in(client.get("/fails", headers={"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"})) != "0" * 32
    )


def test_each_request_has_its_own(client: Client) -> None:
    assert len({id_in(client.get("/fails")) for _ in range(5)}) == 5


@pytest.mark.parametrize("path", ["/fails", "/breaks"])
def test_a_fault_of_ours_and_its_log_lines_name_the_request(
    client: Client, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = client.get(path, headers={"X-Request-Id": "r-1"})
    assert json.loads(answer.data)["request_id"] == "r-1"
    assert [line["request_id"] for line in lines] == ["r-1"]


def test_refusals_for_the_same_reason_are_the_same_byte_for_byte(client: Client) -> None:
    first, second = client.get("/nowhere"), client.get("/nowhere")
    assert first.data == second.data
    assert id_in(first) != id_in(second)
