"""Problems: each fault of a caller has a status, no value comes back, and our own faults tell nothing."""

import inspect
import json
from typing import Any, TypeVar

import pytest
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from models.field_codes import FieldCode, OtherCode
from models.manifest import ModelManifest
from service import errors
from service.api.http.problems import MAX_FIELD_ERRORS, PROBLEM_TYPE, STATUS, install, problem_of
from service.api.http.requests import body_as, query_as, request_invalid
from service.api.http.unknown_names import unknown_name
from service.api.jobs.routes import EventQuery, JobQuery
from service.api.jobs.schemas import BulkRequest, SubmitRequest
from service.errors import FieldError, ServiceError

# What no caller of the API can cause: a wrong set-up, a damaged store, a bundle on the command line.
OURS = {errors.SettingInvalid, errors.PayloadUnreadable, errors.BundleUnusable}
MARK = "Mustermann-1970"
Kind = TypeVar("Kind", bound=ServiceError)
CODES = {400, 401, 403, 404, 409, 411, 413, 415, 416, 422, 429, 503}


def all_errors(root: type[ServiceError] = ServiceError) -> set[type[ServiceError]]:
    below = {found for found in root.__subclasses__() if found.__module__ == errors.__name__}
    return below.union(*(all_errors(found) for found in below))


def by_name(kinds: set[type[ServiceError]]) -> list[type[ServiceError]]:
    return sorted(kinds, key=lambda kind: kind.__name__)


def made(kind: type[Kind]) -> Kind:
    """An error of `kind`, whatever its constructor takes."""
    needed = [
        parameter
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    words: list[Any] = ["x"] * len(needed)
    return kind(*words)


def api() -> Flask:
    """An app that raises what it is told to and reads what it is sent."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10_000
    install(app)

    @app.get("/raise/<name>")
    def raises(name: str) -> str:
        raise made(getattr(errors, name))

    @app.get("/fails")
    def fails() -> str:
        raise LookupError(MARK)

    @app.get("/stored")
    def stored() -> str:
        ModelManifest.model_validate({"name": MARK})  # what a newer release has written, say
        return "ok"

    @app.get("/aborts/<int:status>")
    def aborts(status: int) -> str:
        abort(status)

    @app.post("/submit")
    def submit() -> str:
        body_as(SubmitRequest, request.get_data())
        return "ok"

    @app.post("/bulk")
    def bulk() -> str:
        body_as(BulkRequest, request.get_data())
        return "ok"

    @app.get("/jobs")
    def jobs() -> str:
        query_as(JobQuery)
        return "ok"

    @app.get("/events")
    def events() -> str:
        query_as(EventQuery)
        return "ok"

    return app


API = api()


@pytest.fixture
def client() -> FlaskClient:
    return API.test_client()


def problem(response: TestResponse) -> dict[str, Any]:
    assert response.mimetype == PROBLEM_TYPE
    found: dict[str, Any] = response.get_json(force=True)
    assert found["status"] == response.status_code
    assert found["type"] == f"urn:medqueue:problem:{found['code']}"
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize("kind", by_name(all_errors() - OURS))
def test_what_a_caller_can_cause_has_a_status_that_says_so(kind: type[ServiceError]) -> None:
    assert STATUS[kind] in CODES


@pytest.mark.parametrize("kind", by_name(OURS))
def test_what_no_caller_can_cause_has_no_status(kind: type[ServiceError]) -> None:
    assert kind not in STATUS


def test_every_code_belongs_to_one_error() -> None:
    codes = [kind.code for kind in all_errors()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("kind", by_name(all_errors()))
def test_an_error_has_a_code_and_a_message_of_its_own(kind: type[ServiceError]) -> None:
    assert "code" in vars(kind)
    assert kind.__doc__ != (kind.__base__ and kind.__base__.__doc__)
    assert str(made(kind)).endswith(".")


@pytest.mark.parametrize("kind", by_name(all_errors() - OURS))
def test_a_callers_fault_is_answered_with_its_code_and_what_to_change(
    kind: type[ServiceError], client: FlaskClient
) -> None:
    response = client.get(f"/raise/{kind.__name__}")
    assert response.status_code == STATUS[kind]
    found = problem(response)
    assert (found["code"], found["detail"]) == (kind.code, made(kind).detail)


@pytest.mark.parametrize(
    "path", ["/fails", "/stored", *(f"/raise/{kind.__name__}" for kind in by_name(OURS))]
)
def test_a_fault_of_ours_tells_nothing(path: str, client: FlaskClient) -> None:
    response = client.get(path)
    assert response.status_code == 500
    found = problem(response)
    assert found["code"] == "internal_error"
    assert MARK not in response.text
    assert set(found) == {"type", "title", "status", "code", "detail"}


def test_a_fault_outside_of_a_view_is_logged_and_tells_nothing() -> None:
    app = Flask("test")
    install(app)
    app.get("/well")(lambda: "well")

    @app.after_request
    def fail(_: Response) -> Response:
        if request.path == "/well":
            raise ValueError(MARK)
        return _

    with capture_logs() as logged:
        response = app.test_client().get("/well", headers={"X": "y"})
    assert response.status_code == 500
    assert MARK not in response.text
    assert [entry["code"] for entry in logged] == ["internal_error"]


def test_a_fault_of_ours_tells_nothing_even_with_words_and_fields_of_its_own() -> None:
    fault = errors.PayloadUnreadable(MARK, (FieldError("/x", OtherCode("y"), MARK),))
    assert MARK not in json.dumps(problem_of(fault))


def test_field_errors_are_listed_with_pointer_code_and_advice() -> None:
    fault = errors.InputInvalid(errors=(FieldError("/input/a~1b", FieldCode.OUT_OF_RANGE, "1 to 2 mm"),))
    assert problem_of(fault)["errors"] == [
        {"pointer": "/input/a~1b", "code": "out_of_range", "detail": "1 to 2 mm"}
    ]


def test_field_errors_are_listed_up_to_a_bound() -> None:
    fault = errors.InputInvalid(errors=(FieldError("/x", OtherCode("y"), "z"),) * (MAX_FIELD_ERRORS + 1))
    listed = problem_of(fault)["errors"]
    assert isinstance(listed, list)
    assert len(listed) == MAX_FIELD_ERRORS


def test_who_sends_no_key_is_told_how(client: FlaskClient) -> None:
    assert client.get("/raise/KeyMissing").headers["WWW-Authenticate"] == "Bearer"


def test_who_comes_while_a_server_is_away_is_told_when_to_come_back(client: FlaskClient) -> None:
    assert int(client.get("/raise/DatabaseUnavailable").headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", [errors.QueueFull, errors.TenantQueueFull])
def test_who_is_refused_for_want_of_room_is_told_when_there_may_be_some(
    kind: type[errors.QueueFull], client: FlaskClient
) -> None:
    assert client.get(f"/raise/{kind.__name__}").headers["Retry-After"] == str(made(kind).retry_after_s)


def test_a_refusal_for_want_of_room_is_not_logged_each_time(client: FlaskClient) -> None:
    with capture_logs() as lines:
        client.get("/raise/QueueFull")
        client.get("/raise/ServerBusy")
    assert [line["code"] for line in lines] == ["server_busy"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/fails", 405), ("GET", "/aborts/429", 429)]
)  # fmt: skip
def test_what_flask_refuses_is_a_problem_too(
    method: str, path: str, status: int, client: FlaskClient
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    problem(response)


def test_a_refused_method_names_the_allowed_ones(client: FlaskClient) -> None:
    assert "GET" in client.put("/fails").headers["Allow"]


def test_an_unknown_address_is_answered_with_where_the_addresses_are(client: FlaskClient) -> None:
    found = problem(client.get("/v1/job"))
    assert (found["code"], found["status"]) == ("not_found", 404)
    assert found["detail"].startswith("Nothing is at this address. /openapi.json lists the addresses")


def test_a_refused_method_is_answered_with_what_to_send_instead(client: FlaskClient) -> None:
    found = problem(client.put("/submit"))
    assert found["code"] == "method_not_allowed"
    assert found["detail"] == "This address does not take PUT. It takes OPTIONS, POST."


def advice(response: TestResponse) -> dict[str, str]:
    """What to change by pointer."""
    return {field["pointer"]: field["detail"] for field in problem(response)["errors"]}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Priority", "priority"), ("callbackUrl", "callback_url"), ("dead_line", "deadline"), ("colour", None)],
)
def test_an_unknown_field_is_answered_with_the_name_it_resembles(
    name: str, meant: str | None, client: FlaskClient
) -> None:
    hint = "" if meant is None else f" Did you mean {meant}?"
    words = f"Nothing here has this name: remove it.{hint}"
    assert advice(client.post("/submit", json=GOOD | {name: 1})) == {f"/{name}": words}


def test_an_unknown_parameter_is_answered_with_the_name_it_resembles(client: FlaskClient) -> None:
    words = "Nothing here has this name: remove it. Did you mean limit?"
    assert advice(client.get("/jobs?limits=5")) == {"/limits": words}


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id_column: str = ""


class Outer(BaseModel):
    source: Inner | None = None
    several: list[Inner] = []
    other: str = ""


@pytest.mark.parametrize(
    ("place", "meant"),
    [
        (("source", "idcolumn"), " Did you mean id_column?"),
        (("several", 3, "id-column"), " Did you mean id_column?"),
        (("sources",), " Did you mean source?"),
        (("other", "id_columns"), ""),
        (("nothing", "id_columns"), ""),
    ],
)
def test_an_unknown_name_inside_is_compared_with_those_of_its_place(
    place: tuple[int | str, ...], meant: str
) -> None:
    assert unknown_name(Outer, place) == f"Nothing here has this name: remove it.{meant}"


def test_a_body_past_the_limit_is_refused_with_our_code(client: FlaskClient) -> None:
    response = client.post("/submit", data=b" " * 10_001)
    assert (response.status_code, problem(response)["code"]) == (413, "body_too_large")


BAD_JSON: list[bytes] = [
    b"", b"{", b'{"a":}', b"{'model': 'a'}", b"\xff\xfe", b'{"model": "\xff"}', b"[" * 5000,
    b'{"model":"a","input":"\\ud800"}', b"nul", b'{"model":"a","input":1} x',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/submit", "/bulk"])
@pytest.mark.parametrize("body", BAD_JSON, ids=lambda body: repr(body[:20]))
def test_a_body_that_is_not_json_says_so(path: str, body: bytes, client: FlaskClient) -> None:
    response = client.post(path, data=body)
    assert (response.status_code, problem(response)["code"]) == (400, "body_not_json")


GOOD: dict[str, Any] = {"model": "a", "input": {}}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model": f"{MARK} {MARK}"}, "/model"),
        ({"model": {MARK: MARK}}, "/model"),
        ({"priority": MARK}, "/priority"),
        ({"priority": [MARK]}, "/priority"),
        ({"deadline": MARK}, "/deadline"),
        ({"deadline": f"2030-01-01T00:00:00{MARK}"}, "/deadline"),
        ({"explain": MARK}, "/explain"),
        ({"subject": MARK * 20}, "/subject"),
        ({"subject": {"x": MARK}}, "/subject"),
        ({"metadata": MARK}, "/metadata"),
        ({"metadata": {"ward": MARK * 50}}, "/metadata/ward"),
        ({"metadata": {"ward": [MARK]}}, "/metadata/ward"),
        ({"colour": MARK}, "/colour"),
    ],
)
def test_a_wrong_field_is_pointed_to_and_its_value_never_comes_back(
    change: dict[str, Any], pointer: str, client: FlaskClient
) -> None:
    response = client.post("/submit", json=GOOD | change)
    assert response.status_code == 422
    found = problem(response)
    assert found["code"] == "request_invalid"
    assert [field["pointer"] for field in found["errors"]] == [pointer]
    assert MARK not in response.text


@pytest.mark.parametrize("name", ["state", "limit", "created_after", "created_before", "kind", "model"])
def test_a_wrong_query_parameter_is_pointed_to_and_its_value_never_comes_back(
    name: str, client: FlaskClient
) -> None:
    response = client.get("/jobs", query_string={name: f"{MARK} {MARK}"})
    assert response.status_code == 422
    assert [field["pointer"] for field in problem(response)["errors"]] == [f"/{name}"]
    assert MARK not in response.text


@pytest.mark.parametrize("limit", ["0", "201", "1.5", "", "1e3"])
@pytest.mark.parametrize("path", ["/jobs", "/events"])
def test_a_page_size_out_of_bounds_is_refused(path: str, limit: str, client: FlaskClient) -> None:
    assert client.get(path, query_string={"limit": limit}).status_code == 422


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(MARK),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c"]), values, max_size=2),
    max_leaves=6,
)  # fmt: skip
fields = st.sampled_from([name for name in SubmitRequest.model_fields if name != "input"])


@given(st.dictionaries(fields, json_values, min_size=1))
def test_no_combination_of_wrong_fields_gives_a_value_back(change: dict[str, Any]) -> None:
    try:
        SubmitRequest.model_validate_json(json.dumps(GOOD | change))
    except ValidationError as error:
        fault = request_invalid(error, SubmitRequest)
        assert isinstance(fault, errors.RequestInvalid | errors.BodyNotJson)
        assert MARK not in json.dumps(problem_of(fault))


def test_a_name_with_a_slash_is_escaped_in_its_pointer() -> None:
    with pytest.raises(ValidationError) as caught:
        SubmitRequest.model_validate(GOOD | {"metadata": {"a/b~c": 1}})
    assert [field.pointer for field in request_invalid(caught.value, SubmitRequest).errors] == [
        "/metadata/a~1b~0c"
    ]


def test_a_bulk_request_of_too_many_items_is_refused(client: FlaskClient) -> None:
    response = client.post("/bulk", data=b'{"jobs": [' + b",".join([b"1"] * 1001) + b"]}")
    assert [field["pointer"] for field in problem(response)["errors"]] == ["/jobs"]
