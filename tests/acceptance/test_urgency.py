"""Priorities and deadlines: what goes first, and what is not worth starting any more."""

from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import actions, all_ended, ended, read, submit, submit_many, time_of
from tests.acceptance.stack import Stack, eventually

# More than one claim of the image model takes: else all would be claimed together, and none could overtake.
ROUTINE = 700


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_stat_job_overtakes_the_routine_jobs_before_it(stack: Stack) -> None:
    with stack.client(stack.new_key("urgent")) as http:
        picture = cases.image_submission(cases.image(28))
        with stack.workers_paused():
            routine = [job["id"] for job in submit_many(http, [picture] * ROUTINE)]
            stat = submit(http, picture | {"priority": "stat"})["id"]
        found = all_ended(http, [*routine, stat], within_s=60)
        started = {job_id: time_of(job["started_at"]) for job_id, job in found.items()}
        assert min(started.values()) == started[stat]
        later = sum(started[job_id] > started[stat] for job_id in routine)
        assert later >= 300, "the stat job was claimed with nearly all others: nothing shown"


@pytest.mark.parametrize("priority", ["stat", "asap", "urgent", "routine"])
def test_each_priority_of_fhir_is_taken_and_shown(http: httpx.Client, priority: str) -> None:
    job = submit(http, priority=priority)
    assert (job["priority"], ended(http, job["id"])["priority"]) == (priority, priority)


def test_a_job_that_nobody_started_before_its_deadline_expires(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        job_id = submit(http, deadline=in_s(1.5))["id"]
        eventually(lambda: read(http, job_id)["state"] == "expired", within_s=20)
    job = read(http, job_id)
    assert (job["attempt"], job["started_at"], job["problem"]["code"]) == (0, None, "deadline_passed")
    assert time_of(job["finished_at"]) >= time_of(job["deadline"])
    assert "result" not in job
    assert actions(http, job_id) == ["job.submitted", "job.expired"]


def test_an_expired_job_is_not_scored_when_a_worker_is_free_again(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        late = submit(http, deadline=in_s(0.5))["id"]
        eventually(lambda: datetime.now(UTC) > time_of(read(http, late)["deadline"]), within_s=5)
    assert ended(http, late)["state"] == "expired"
    assert "job.claimed" not in actions(http, late)


def test_one_who_waits_is_told_that_the_job_expired(stack: Stack, http: httpx.Client) -> None:
    with stack.workers_paused():
        body = cases.submission(deadline=in_s(1.5))
        answer = http.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["state"]) == (200, "expired")


def test_a_job_with_a_deadline_to_come_is_scored(http: httpx.Client) -> None:
    assert ended(http, submit(http, deadline=in_s(600))["id"])["state"] == "succeeded"


@pytest.mark.parametrize(
    "deadline",
    [
        datetime(2101, 2, 3, 4, 5, 6, 789012, timezone(timedelta(hours=5, minutes=45))).isoformat(),
        "8999-12-31T23:59:59.999999Z",
        "8999-12-31T23:59:59-12:00",
    ],
)
def test_a_deadline_comes_back_as_the_same_moment(http: httpx.Client, deadline: str) -> None:
    job = submit(http, deadline=deadline)
    for shown in (job, read(http, job["id"])):
        assert time_of(shown["deadline"]) == datetime.fromisoformat(deadline)
