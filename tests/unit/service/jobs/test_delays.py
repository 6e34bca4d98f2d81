"""Why a job has not started: what is said of each cause. What the database knows of it: integration."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.jobs.delays import MOST_COUNTED, Delay, DelayCode, Pending, delay
from service.lifecycle import JobState
from service.refusals import Refusal

MODEL = "dose-effect 1.0.0"
QUEUED = Pending(
    JobState.QUEUED,
    UUID(int=1),
    attempt=0,
    available_at=datetime(2026, 11, 22, 4, tzinfo=UTC),
    available_in_s=-1.0,
    deadline_passed=False,
    ahead=0,
    after=(),
)
REFUSES = {MODEL: Refusal("its golden cases come out differently on CPU")}


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, "of your jobs of its model it is the next"),
        (1, "1 of your jobs of its model is before it"),
        (12, "12 of your jobs of its model are before it"),
        (MOST_COUNTED, "at least 1,000 of your jobs of its model are before it"),
    ],
)
def test_a_queued_job_is_told_its_place(ahead: int, words: str) -> None:
    told = delay(replace(QUEUED, ahead=ahead), MODEL, [{}])
    assert (told.code, told.ahead) == (DelayCode.QUEUE, ahead)
    assert words in str(told.detail)
    assert delay(replace(QUEUED, ahead=ahead), MODEL, None) == told


def test_without_a_worker_that_is_the_reason() -> None:
    told = delay(QUEUED, MODEL, [])
    assert (told.code, told.ahead) == (DelayCode.NO_WORKER, 0)
    assert "no worker is running" in str(told.detail)


def test_a_model_that_every_worker_refuses_is_the_reason_with_theirs() -> None:
    told = delay(QUEUED, MODEL, [REFUSES, REFUSES])
    assert told.code is DelayCode.MODEL_REFUSED
    assert "every worker refuses dose-effect 1.0.0 (its golden cases come out differently" in str(told.detail)
    assert delay(QUEUED, MODEL, [REFUSES, {}]).code is DelayCode.QUEUE
    assert delay(QUEUED, "another 1.0.0", [REFUSES]).code is DelayCode.QUEUE


def test_a_job_that_was_claimed_before_is_told_when_it_is_claimed_again() -> None:
    again = replace(QUEUED, attempt=1, available_in_s=12.4, ahead=None)
    told = delay(again, MODEL, [{}])
    assert (told.code, told.ahead) == (DelayCode.RETRY, None)
    assert "in 12 s or later" in str(told.detail)
    assert "in 0 s or later" in str(delay(replace(again, available_in_s=-3.0), MODEL, None).detail)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.WAITING])
def test_a_deadline_that_has_passed_comes_before_every_other_reason(state: JobState) -> None:
    late = replace(QUEUED, state=state, deadline_passed=True)
    assert delay(late, MODEL, []).code is DelayCode.DEADLINE_PASSED


@pytest.mark.parametrize("state", sorted({*JobState} - {JobState.QUEUED, JobState.WAITING}))
def test_a_job_that_has_started_or_ended_has_no_delay(state: JobState) -> None:
    assert delay(replace(QUEUED, state=state, deadline_passed=True), MODEL, []) == Delay(state)


def test_a_waiting_job_names_only_the_jobs_that_have_not_succeeded() -> None:
    after = ({"id": "a", "state": "succeeded"}, {"id": "b", "state": "quarantined"})
    told = delay(replace(QUEUED, state=JobState.WAITING, after=after), MODEL, [])
    assert (told.code, told.after) == (DelayCode.PREDECESSORS, [after[1]])
    assert "job b, which is quarantined" in str(told.detail)
    assert "job a" not in str(told.detail)


def test_a_job_whose_predecessors_have_succeeded_waits_for_its_start_time() -> None:
    after = ({"id": "a", "state": "succeeded"},)
    told = delay(replace(QUEUED, state=JobState.WAITING, after=after), MODEL, None)
    assert (told.code, told.after) == (DelayCode.START_TIME, ())
    assert "2026-11-22T04:00:00+00:00" in str(told.detail)
