"""Jobs that wait for other jobs, and for a time, as their caller sees them."""

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import actions, ended, job_of, read, submit

HOUR = timedelta(hours=1)
NOBODY = "01a20178-34e2-71dd-924c-9e5807b634d9"


def in_an_hour() -> str:
    return (datetime.now(UTC) + HOUR).isoformat()


def test_a_chain_of_three_and_a_job_that_waits_for_four_are_scored_in_order(http: httpx.Client) -> None:
    first = submit(http)
    second = submit(http, after=[first["id"]])
    assert (second["state"], second["after"]) == ("waiting", [first["id"]])
    third = submit(http, after=[second["id"]])
    group = [submit(http)["id"] for _ in range(3)] + [third["id"]]
    last = ended(http, submit(http, after=group)["id"])
    assert (last["state"], last["after"]) == ("succeeded", group)
    times = [ended(http, job_id) for job_id in (first["id"], second["id"], third["id"], last["id"])]
    for before, after in itertools.pairwise(times):
        assert before["finished_at"] <= after["started_at"]
    assert actions(http, last["id"])[:3] == ["job.submitted", "job.ready", "job.claimed"]


def test_a_repeated_submit_is_answered_as_it_was_at_first(http: httpx.Client) -> None:
    first = submit(http)
    ended(http, first["id"])
    body, headers = cases.submission() | {"after": [first["id"]]}, {"Idempotency-Key": f"chain-{first['id']}"}
    answers = [http.post("/v1/jobs", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["state"] == "waiting"
    assert ended(http, answers[0].json()["id"])["state"] == "succeeded"


def test_who_waits_is_answered_when_a_predecessor_is_canceled(http: httpx.Client) -> None:
    first = submit(http, not_before=in_an_hour())
    job = submit(http, after=[first["id"]])
    http.post(f"/v1/jobs/{first['id']}/cancel")
    failed = job_of(http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=10"}))
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "predecessor_failed")
    assert first["id"] in failed["problem"]["detail"]


def test_a_waiting_job_is_listed_by_its_state_and_can_be_canceled(http: httpx.Client) -> None:
    job = submit(http, not_before=in_an_hour())
    listed = http.get("/v1/jobs", params={"state": "waiting", "limit": 200}).json()["items"]
    assert job["id"] in {each["id"] for each in listed}
    assert job_of(http.post(f"/v1/jobs/{job['id']}/cancel"))["state"] == "canceled"


def test_a_job_is_not_begun_before_its_time(http: httpx.Client) -> None:
    not_before = datetime.now(UTC) + timedelta(seconds=1)
    job = submit(http, not_before=not_before.isoformat())
    assert job["state"] == "waiting"
    done = ended(http, job["id"])
    assert datetime.fromisoformat(done["started_at"]) >= not_before
    assert datetime.fromisoformat(done["not_before"]) == not_before


def test_what_a_job_cannot_wait_for_is_named(http: httpx.Client) -> None:
    canceled = submit(http, not_before=in_an_hour())
    http.post(f"/v1/jobs/{canceled['id']}/cancel")
    good = submit(http)
    answer = http.post("/v1/jobs", json=cases.submission() | {"after": [good["id"], canceled["id"], NOBODY]})
    assert (answer.status_code, answer.json()["code"]) == (422, "after_unsuitable")
    faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert faults == [("/after/1", "predecessor_unfit"), ("/after/2", "job_not_found")]


def test_one_that_cannot_wait_does_not_hold_up_the_others_of_a_bulk_request(http: httpx.Client) -> None:
    first = submit(http)
    jobs = [
        cases.submission() | {"after": [first["id"]]},
        cases.submission() | {"after": [NOBODY]},
        cases.submission(),
    ]
    items = http.post("/v1/jobs/bulk", json={"jobs": jobs}, headers={"Prefer": "wait=30"}).json()["items"]
    assert [item.get("state", item.get("code")) for item in items] == [
        "succeeded",
        "after_unsuitable",
        "succeeded",
    ]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"after": [NOBODY, NOBODY]}, "/after/1"),
        ({"after": [NOBODY] * 17}, "/after"),
        ({"after": ["x"]}, "/after/0"),
        ({"after": NOBODY}, "/after"),
        ({"not_before": 7}, "/not_before"),
        ({"not_before": "9999-01-01T00:00:00Z"}, "/not_before"),
        ({"not_before": "2090-01-02T00:00:00Z", "deadline": "2090-01-01T00:00:00Z"}, "/not_before"),
        ({"options": {"top": 3}}, "/options/top"),
        ({"options": []}, "/options"),
        ({"origin": "replay"}, "/origin"),
    ],
)
def test_a_bad_field_is_named(http: httpx.Client, fields: dict[str, object], pointer: str) -> None:
    answer = http.post("/v1/jobs", json=cases.submission() | fields)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


def test_no_options_are_options_that_every_model_takes(http: httpx.Client) -> None:
    job = submit(http, options={})
    assert UUID(job["id"])
    assert read(http, job["id"])["origin"] == "caller"
