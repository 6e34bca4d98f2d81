"""Whatever a client sends: a 4xx problem that says what to change, no queue slot, and a healthy server."""

import json
import re
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.bad_requests import ALL, BODY_LIMIT_BYTES, JSON, VALUE, Bad, in_parts
from tests.acceptance.calls import assert_problem, scored
from tests.acceptance.conftest import QUICK_TO_TEST
from tests.acceptance.stack import Stack


@pytest.fixture(scope="module")
def clumsy(stack: Stack) -> Iterator[httpx.Client]:
    """A client of a tenant of its own."""
    with stack.client(stack.new_key("clumsy")) as client:
        yield client


@pytest.fixture
def _no_trace(clumsy: httpx.Client) -> Iterator[None]:
    """After the test there is no new job, and the server is well."""
    before = newest(clumsy)
    yield
    assert newest(clumsy) == before
    began = time.monotonic()
    assert clumsy.get("/healthz").json() == {"status": "ok"}
    assert time.monotonic() - began < 2


def newest(http: httpx.Client) -> list[str]:
    """The id of the newest job of the caller's tenant, if it has one."""
    answer = http.get("/v1/jobs", params={"limit": 1})
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["items"]]


@pytest.fixture(scope="module")
def documented(stack: Stack) -> dict[str, dict[str, set[int]]]:
    """Path as a pattern -> method -> the statuses of which /openapi.json tells."""
    with httpx.Client(base_url=stack.url) as client:
        paths = client.get("/openapi.json").json()["paths"]
    return {
        re.sub(r"\{\w+_id\}", "[0-9a-f-]{36}", path).replace("{reference}", "[^/]+"): {
            method.upper(): set(map(int, operation["responses"])) for method, operation in methods.items()
        }
        for path, methods in paths.items()
    }


@pytest.mark.usefixtures("_no_trace")
@pytest.mark.parametrize("bad", ALL, ids=[bad.name for bad in ALL])
def test_a_bad_request_is_refused_and_told_what_to_change(
    clumsy: httpx.Client, documented: dict[str, dict[str, set[int]]], bad: Bad
) -> None:
    answer = clumsy.request(bad.method, bad.path, content=bad.content, headers=bad.headers)
    problem = assert_problem(answer, bad.status, bad.code)
    for pattern, methods in documented.items():
        if re.fullmatch(pattern, answer.request.url.path) and bad.code != "not_found":
            assert bad.status in methods.get(bad.method, {405}), "the document does not tell of this status"
    faults = problem.get("errors", [])
    if bad.pointer is not None:
        assert bad.pointer in {fault["pointer"] for fault in faults}, problem
    for words in bad.says:
        assert words in answer.text
    assert all(fault["code"] and len(fault["detail"]) > 5 for fault in faults)
    assert str(VALUE) not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "mq_0123456789ab_" + "x" * 43,
        "Bearer mq_0123456789ab_" + "x" * 43,
        "Bearer mq_0123456789ab_short",
        "Bearer " + "x" * 8000,
        "Bearer \xff",
        "Basic bXE6c2VjcmV0",
        "Token {key}",
        "Bearer {key}x",
        "Bearer {key},{key}",
        "Bearer {other_secret}",
    ],
)
@pytest.mark.usefixtures("_no_trace")
def test_a_malformed_or_wrong_key_is_refused(stack: Stack, header: str) -> None:
    key = stack.admin_key
    other_secret = key[:-1] + ("A" if key[-1] != "A" else "B")
    sent = header.format(key=key, other_secret=other_secret).encode("latin-1")
    with httpx.Client(base_url=stack.url) as client:
        answer = client.post("/v1/jobs", json=cases.submission(), headers={b"Authorization": sent})
    assert answer.json()["code"] in {"key_missing", "key_invalid"}
    assert_problem(answer, 401, answer.json()["code"])
    assert other_secret not in answer.text


def test_an_out_of_range_value_is_told_with_its_unit(clumsy: httpx.Client) -> None:
    """Of the bundled features with a unit, if there is one: range and unit stand in the answer."""
    schema = clumsy.get(f"/v1/models/{cases.BREAST_CANCER}").json()["input_schema"]
    for name, feature in schema["properties"].items():
        answer = clumsy.post("/v1/jobs", json=cases.with_input(**{name: VALUE}))
        (fault,) = assert_problem(answer, 422, "input_invalid")["errors"]
        assert fault["pointer"] == f"/input/{name}"
        unit = "" if feature["unit"] == "1" else f" {feature['unit']}"
        assert f"between {feature['minimum']:g} and {feature['maximum']:g}{unit}" in fault["detail"]
        assert str(VALUE) not in answer.text


@pytest.mark.usefixtures("_no_trace")
def test_all_bad_fields_are_told_at_once(clumsy: httpx.Client) -> None:
    body = cases.with_input(mean_radius=VALUE, mean_texture="x", extra=1)
    del body["input"]["mean_area"]
    problem = assert_problem(clumsy.post("/v1/jobs", json=body), 422, "input_invalid")
    assert {fault["pointer"] for fault in problem["errors"]} == {
        f"/input/{name}" for name in ("mean_radius", "mean_texture", "mean_area", "extra")
    }


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/bulk"])
def test_a_deadline_past_the_year_9999_does_not_block_the_list(stack: Stack, path: str) -> None:
    """Written with an offset it looks like 9999, and in UTC it lies past what clients can read."""
    case = cases.submission(deadline="9999-12-31T23:59:59-12:00")
    with stack.client(stack.new_key("far-future")) as http:
        answer = http.post(path, json={"jobs": [case]} if path.endswith("bulk") else case)
        problem = answer.json()["items"][0] if answer.status_code == 200 else answer.json()
        assert (problem.get("code"), problem.get("status")) == ("request_invalid", 422)
        assert newest(http) == []


def test_a_wrong_method_is_told_which_are_right(clumsy: httpx.Client) -> None:
    allowed = clumsy.delete("/v1/jobs").headers["allow"]
    assert {"GET", "POST"} <= {method.strip() for method in allowed.split(",")}


@pytest.mark.usefixtures("_no_trace")
def test_a_body_without_a_length_is_held_to_the_limit(clumsy: httpx.Client) -> None:
    answer = clumsy.post("/v1/jobs", content=in_parts(b" " * (BODY_LIMIT_BYTES + 1)), headers=JSON)
    assert_problem(answer, 413, "body_too_large")


def test_a_good_body_without_a_length_is_accepted(http: httpx.Client) -> None:
    content = json.dumps(cases.submission()).encode()
    assert http.post("/v1/jobs", content=in_parts(content), headers=JSON).status_code == 202


def test_an_upload_is_held_to_its_limit(rough_http: httpx.Client) -> None:
    limit = int(QUICK_TO_TEST["MEDQUEUE_MAX_UPLOAD_BYTES"])
    for size, status in ((limit - 1, 201), (limit, 201), (limit + 1, 413)):
        content = bytes(size)
        answer = rough_http.post("/v1/uploads", content=content)
        assert answer.status_code == status, (size, answer.text)


def test_what_is_odd_but_allowed_is_accepted(http: httpx.Client) -> None:
    content = json.dumps(cases.submission()).encode()
    for headers in (
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "application/fhir+json"},
        JSON | {"Prefer": "respond-async"},
        JSON | {"Prefer": "handling=lenient; a=b, wait=0"},
        JSON | {"Accept": "text/html"},
        JSON | {"Expect": "100-continue"},
    ):
        assert http.post("/v1/jobs", content=content, headers=headers).status_code == 202, headers


def test_no_value_of_a_refused_case_reaches_the_logs(stack: Stack, http: httpx.Client) -> None:
    secret = f"patient-{uuid4()}"
    for body in (
        cases.submission(subject=secret * 10),
        cases.submission(metadata={secret: 7}),
        cases.submission(input=secret),
        cases.with_input(**{secret: secret}),
        cases.submission(model=secret),
    ):
        assert http.post("/v1/jobs", json=body).status_code in {404, 422}
    scored(http, cases.submission(subject=secret, metadata={"name": secret}))
    http.get("/v1/jobs", params={"subject": secret, "cursor": secret})
    for log in (stack.data / "log").iterdir():
        assert secret.encode() not in log.read_bytes(), log.name
