"""A job's journey as its caller sees it: submit, wait or poll, result, audit trail, cancel."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import (
    CLOSING_ACTIONS,
    actions,
    ended,
    job_of,
    pages,
    read,
    scored,
    side_by_side,
    submit,
    submit_many,
    time_of,
)
from tests.acceptance.stack import Stack

FIELDS_OF_EVERY_JOB = {
    "id", "model", "model_version", "model_digest", "kind", "state", "priority", "created_at", "started_at",
    "finished_at", "deadline", "not_before", "after", "origin", "attempt", "subject", "metadata",
}  # fmt: skip


def test_a_submit_is_accepted_and_says_where_to_poll(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=cases.submission())
    job = job_of(answer)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert job.keys() == FIELDS_OF_EVERY_JOB
    assert (job["state"], job["attempt"], job["started_at"], job["finished_at"]) == ("queued", 0, None, None)


def test_polling_a_job_leads_to_its_result(http: httpx.Client) -> None:
    location = http.post("/v1/jobs", json=cases.submission()).headers["location"]
    until = time.monotonic() + 30
    while (job := job_of(http.get(location)))["state"] in {"queued", "running"}:
        assert time.monotonic() < until, job
        time.sleep(0.05)
    assert job.keys() == FIELDS_OF_EVERY_JOB | {"result"}
    assert (job["state"], job["kind"], job["priority"], job["attempt"]) == (
        "succeeded", "diagnosis", "routine", 1,
    )  # fmt: skip


@pytest.mark.parametrize("index", range(5))
def test_the_result_is_the_one_the_model_was_published_with(http: httpx.Client, index: int) -> None:
    expected = cases.golden(index)["expected"]
    result = scored(http, cases.submission(index))["result"]
    assert result["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
    assert {key: result[key] for key in expected if key != "probabilities"} == {
        key: value for key, value in expected.items() if key != "probabilities"
    }


def test_the_result_says_what_computed_it(http: httpx.Client) -> None:
    job = scored(http)
    assert job["result"]["model_digest"] == job["model_digest"]
    assert job["model_digest"].startswith("sha256:")
    assert job["result"]["runtime"].startswith("onnxruntime")
    assert job["result"]["provider"] in {"CPUExecutionProvider", "CUDAExecutionProvider"}


def test_the_times_of_a_job_are_in_order(http: httpx.Client) -> None:
    job = scored(http)
    times = [time_of(job[name]) for name in ("created_at", "started_at", "finished_at")]
    assert times == sorted(times)
    assert {moment.utcoffset() for moment in times} == {timedelta(0)}


def test_a_submit_that_waits_is_answered_with_the_result(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=cases.submission(), headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["preference-applied"] == "wait=30"
    assert job_of(answer)["result"]["type"] == "classification"


def test_a_wait_that_is_too_short_is_answered_with_the_queued_job(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        began = time.monotonic()
        answer = http.post("/v1/jobs", json=cases.submission(), headers={"Prefer": "wait=1"})
        took_s = time.monotonic() - began
    job = job_of(answer)
    assert (answer.status_code, job["state"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert 0.9 < took_s < 5
    assert ended(http, job["id"])["state"] == "succeeded"


def test_a_read_that_waits_returns_as_soon_as_the_job_has_ended(stack: Stack, http: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        with stack.workers_paused():
            job_id = submit(http)["id"]
            reading = pool.submit(http.get, f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})
            time.sleep(0.5)  # it waits by then
        began = time.monotonic()
        answer = reading.result()
    assert job_of(answer)["state"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=60"
    assert time.monotonic() - began < 20


def test_a_read_waits_no_longer_than_it_asked(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        job_id = submit(http)["id"]
        began = time.monotonic()
        answer = http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "respond-async, wait=1"})
        took_s = time.monotonic() - began
    assert (answer.status_code, job_of(answer)["state"]) == (200, "queued")
    assert "retry-after" in answer.headers
    assert 0.9 < took_s < 5


def test_an_unchanged_job_is_not_sent_again(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        path = f"/v1/jobs/{submit(http)['id']}"
        queued = http.get(path).headers["etag"]
        assert http.get(path, headers={"If-None-Match": queued}).status_code == 304
    ended(http, path.rpartition("/")[2])
    changed = http.get(path, headers={"If-None-Match": queued})
    assert (changed.status_code, job_of(changed)["state"]) == (200, "succeeded")
    again = http.get(path, headers={"If-None-Match": changed.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", changed.headers["etag"])


@pytest.mark.parametrize("form", ["*", '"other", {tag}', "W/{tag}"])
def test_every_form_of_if_none_match_is_understood(http: httpx.Client, form: str) -> None:
    path = f"/v1/jobs/{scored(http)['id']}"
    tag = http.get(path).headers["etag"]
    assert http.get(path, headers={"If-None-Match": form.format(tag=tag)}).status_code == 304


@pytest.mark.parametrize("form", ['"*"', 'W/"*"', '"other"', '"x,{inner},y"', '"{inner}x"'])
def test_a_tag_that_is_not_the_jobs_hides_no_result(http: httpx.Client, form: str) -> None:
    path = f"/v1/jobs/{scored(http)['id']}"
    inner = http.get(path).headers["etag"].strip('"')
    answer = http.get(path, headers={"If-None-Match": form.format(inner=inner)})
    assert (answer.status_code, job_of(answer)["state"]) == (200, "succeeded")
    assert job_of(answer)["result"]


def test_the_trail_tells_what_happened_in_order(http: httpx.Client) -> None:
    job_id = scored(http)["id"]
    events = list(pages(http, f"/v1/jobs/{job_id}/events"))
    assert [event["action"] for event in events] == [
        "job.submitted", "job.claimed", "job.succeeded", "result.read",
    ]  # fmt: skip
    times = [time_of(event["occurred_at"]) for event in events]
    assert times == sorted(times)
    assert [event["actor"].partition(":")[0] for event in events] == ["key", "worker", "worker", "key"]
    assert all(len(event["leaf"]) == 64 for event in events)


def test_every_read_of_a_result_is_recorded_and_an_unchanged_one_is_none(http: httpx.Client) -> None:
    job_id = scored(http)["id"]
    tag = http.get(f"/v1/jobs/{job_id}").headers["etag"]
    http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
    assert actions(http, job_id).count("result.read") == 2


def test_the_trail_comes_in_pages(http: httpx.Client) -> None:
    job_id = scored(http)["id"]
    for _ in range(3):
        read(http, job_id)
    whole = http.get(f"/v1/jobs/{job_id}/events").json()["items"]
    assert list(pages(http, f"/v1/jobs/{job_id}/events", limit=2)) == whole


def test_a_queued_job_can_be_canceled(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        job_id = submit(http)["id"]
        answer = http.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, job_of(answer)["state"]) == (200, "canceled")
    assert job_of(answer)["finished_at"]
    assert "result" not in read(http, job_id)
    assert actions(http, job_id) == ["job.submitted", "job.canceled"]


def test_canceling_twice_changes_nothing(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        job_id = submit(http)["id"]
        first, second = (http.post(f"/v1/jobs/{job_id}/cancel") for _ in range(2))
    assert (second.status_code, job_of(second)) == (200, job_of(first))
    assert actions(http, job_id).count("job.canceled") == 1


def test_canceling_a_scored_job_says_that_it_has_succeeded(http: httpx.Client) -> None:
    job_id = scored(http)["id"]
    answer = http.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, job_of(answer)["state"]) == (200, "succeeded")
    assert "job.canceled" not in actions(http, job_id)


def test_a_cancel_that_races_with_the_worker_tells_the_truth(http: httpx.Client) -> None:
    ids = [job["id"] for job in submit_many(http, [cases.submission()] * 200)]
    said = side_by_side(lambda job_id: job_of(http.post(f"/v1/jobs/{job_id}/cancel"))["state"], ids)
    assert set(said) <= {"canceled", "succeeded"}
    for job_id, state in zip(ids, said, strict=True):
        job = read(http, job_id)
        assert job["state"] == state
        assert ("result" in job) == (state == "succeeded")
        assert len(CLOSING_ACTIONS.intersection(actions(http, job_id))) == 1


def test_subject_and_metadata_come_back_as_they_were_sent(http: httpx.Client) -> None:
    subject = "MRN 4711 / Ærøskøbing \N{HOSPITAL} \x00"
    metadata = {"ward": "7 Süd", "k" * 64: "v" * 512, "empty": "", **{f"key-{n}": str(n) for n in range(13)}}
    job = submit(http, subject=subject, metadata=metadata)
    for shown in (job, ended(http, job["id"])):
        assert (shown["subject"], shown["metadata"]) == (subject, metadata)


def test_an_image_in_the_request_is_scored(http: httpx.Client) -> None:
    for content in (cases.image(64, "PNG"), cases.image(300, "JPEG")):
        job = scored(http, cases.image_submission(content))
        assert job["model"] == cases.PNEUMONIA
        assert sum(job["result"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
