"""Inputs with parts that are stored apart, over HTTP: a file and a bundled model's result, for a model of another package."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from tests.acceptance import cases, nights
from tests.acceptance.calls import actions, assert_problem, ended, job_of, scored, submit
from tests.acceptance.packaged import PackagedModel
from tests.integration.parts_pipeline import NAME, SCAN, file_part

ID = "01a20178-34e2-71dd-924c-9e5807b634d9"


@pytest.fixture(scope="module")
def http(clinic: PackagedModel) -> Iterator[httpx.Client]:
    with clinic.stack.client() as client:
        yield client


def body(first: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": NAME,
        "input": {"age": 61.0, "scan": file_part(SCAN), "finding": {"job": first}},
    } | fields


def test_a_second_model_goes_on_from_what_a_first_one_found(http: httpx.Client) -> None:
    first = submit(http)
    upload = nights.upload(http, b"SCAN of last year")
    case = body(first["id"])
    case["input"]["prior"] = {"upload_id": upload}
    accepted = submit(http, case)
    assert (accepted["state"], accepted["after"]) == ("waiting", [first["id"]])
    second = ended(http, accepted["id"])
    assert second["state"] == "succeeded", second
    result = second["result"]
    assert (result["scan"], result["prior"]) == (SCAN.decode(), "SCAN of last year")
    assert result["first_label"] == ended(http, first["id"])["result"]["label"]
    assert actions(http, second["id"])[:3] == ["job.submitted", "job.ready", "job.claimed"]
    assert second["after"] == [first["id"]]


def test_the_answer_is_waited_for_and_the_same_when_the_request_is_repeated(http: httpx.Client) -> None:
    first = scored(http)["id"]
    headers = {"Idempotency-Key": f"parts-{first}"}
    answers = [http.post("/v1/jobs", json=body(first), headers=headers) for _ in range(2)]
    assert answers[0].content == answers[1].content
    other = http.post("/v1/jobs", json=body(scored(http)["id"]), headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")
    waited = http.post("/v1/jobs", json=body(first), headers={"Prefer": "wait=20"})
    assert (waited.status_code, job_of(waited)["state"]) == (200, "succeeded")


def test_many_are_submitted_and_refused_each_for_itself(http: httpx.Client) -> None:
    first = scored(http)["id"]
    without_scan = body(first)
    del without_scan["input"]["scan"]
    wrong = [without_scan, body(ID), body(scored(http, body(first))["id"])]
    answer = http.post(
        "/v1/jobs/bulk", json={"jobs": [body(first), *wrong, body(first)]}, headers={"Prefer": "wait=20"}
    )
    items = answer.json()["items"]
    assert [item.get("state", item.get("code")) for item in items] == [
        "succeeded", "input_invalid", "after_unsuitable", "after_unsuitable", "succeeded"
    ]  # fmt: skip
    found = [(item["errors"][0]["pointer"], item["errors"][0]["code"]) for item in items[1:4]]
    assert found == [
        ("/input/scan", "missing_field"),
        ("/input/finding/job", "job_not_found"),
        ("/input/finding/job", "result_unfit"),
    ]


def test_a_result_is_not_read_for_another_patient(http: httpx.Client) -> None:
    first = submit(http, subject="patient-A")["id"]
    refused = http.post("/v1/jobs", json=body(first, subject="patient-C"))
    (error,) = assert_problem(refused, 422, "after_unsuitable")["errors"]
    assert (error["pointer"], error["code"]) == ("/input/finding/job", "other_subject")
    assert "patient-" not in refused.text
    for subject in ("patient-A", None):
        assert ended(http, submit(http, body(first, subject=subject))["id"])["state"] == "succeeded"
    assert submit(http, after=[first], subject="patient-C")["after"] == [first]


def test_a_first_job_that_ends_without_a_result_fails_what_would_read_it(http: httpx.Client) -> None:
    first = submit(http, not_before="2099-01-01T00:00:00Z")["id"]
    second = submit(http, body(first))["id"]
    http.post(f"/v1/jobs/{first}/cancel")
    failed = ended(http, second)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "predecessor_failed")
    refused = http.post("/v1/jobs", json=body(first))
    (error,) = assert_problem(refused, 422, "after_unsuitable")["errors"]
    assert (error["pointer"], error["code"]) == ("/input/finding/job", "predecessor_unfit")


def test_the_catalogue_tells_how_parts_are_sent(clinic: PackagedModel, http: httpx.Client) -> None:
    schema = job_of(http.get(f"/v1/models/{NAME}"))["input_schema"]
    jsonschema.validate(body(ID)["input"], schema)
    assert schema["properties"]["scan"]["oneOf"][0]["properties"]["data"]["maxLength"] > 1024
    shown = clinic.medqueue("models", "show", NAME)
    assert "scan     Scan [file: --part scan=PATH]\n" in shown
    assert "prior    Prior [file: --part prior=PATH] (optional)\n" in shown


def test_a_batch_of_such_a_model_is_refused_with_what_to_do(http: httpx.Client) -> None:
    content = b'{"custom_id": "1", "input": {"age": 61}}\n'
    wanted = nights.body(nights.upload(http, content), "ndjson", model=NAME)
    problem = assert_problem(http.post(nights.BATCHES, json=wanted), 422, "model_has_parts")
    assert "Submit each case as a job" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/model"


def test_a_file_is_submitted_from_the_command_line(clinic: PackagedModel, http: httpx.Client) -> None:
    first = scored(http)["id"]
    (clinic.folder / "case.json").write_text(json.dumps({"age": 61.0, "finding": {"job": first}}))
    (clinic.folder / "scan.dat").write_bytes(SCAN)
    (clinic.folder / "large.dat").write_bytes(b"SCAN" + b"x" * 1_100_000)
    told = clinic.medqueue(
        "submit", "case.json", "--model", NAME, "--part", "scan=scan.dat", "--part", "prior=large.dat"
    )
    assert SCAN.decode() in told
    assert told.count(cases.BREAST_CANCER) == 1, "the model whose result it reads, which this pipeline tells"
