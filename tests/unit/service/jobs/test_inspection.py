"""What is said of a job's future: the same as the code will do."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.jobs.inspection import Inspection, next_steps
from service.lifecycle import JobState
from service.refusals import Refusal

QUEUED = Inspection(
    id=UUID(int=7), tenant="ward", model_version_id=UUID(int=1), model="m", model_version="1.0.0",
    state=JobState.QUEUED, fence=0, attempt=0, crash_count=0, claim_size=0, lease_owner=None,
    lease_remaining_s=None, available_at=datetime(2026, 1, 1, tzinfo=UTC), available_in_s=-5.0, deadline=None,
    deadline_passed=False, problem=None, after=(), results=0, events=1,
)  # fmt: skip
CLAIMED_BEFORE = replace(QUEUED, attempt=1, fence=1, claim_size=1)
RUNNING = replace(
    CLAIMED_BEFORE, state=JobState.RUNNING, lease_owner="worker-1@host:7", lease_remaining_s=9.0
)
FIRST, ASIDE = UUID(int=11), UUID(int=12)
WAITING = replace(
    QUEUED,
    state=JobState.WAITING,
    after=({"id": str(FIRST), "state": "running"}, {"id": str(UUID(int=13)), "state": "succeeded"}),
)
BEHIND_QUARANTINED = replace(WAITING, after=({"id": str(ASIDE), "state": "quarantined"},))
TIMED = replace(WAITING, after=(), available_in_s=90.0)
LAPSED = replace(RUNNING, lease_remaining_s=-1.0)


def said_of(job: Inspection, *, wake_up_waits: bool | None = True, max_crashes: int = 3) -> str:
    return next_steps(job, wake_up_waits=wake_up_waits, max_crashes=max_crashes).next


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (QUEUED, "together with others"),
        (CLAIMED_BEFORE, "claims the job in its turn, alone"),
        (replace(CLAIMED_BEFORE, available_in_s=42.0), "put off: a worker claims it alone in 42 s"),
        (replace(QUEUED, deadline_passed=True), "the scheduler expires it"),
        (replace(CLAIMED_BEFORE, crash_count=1), "crashed once while scoring it alone; 2 more crashes set it aside"),
        (replace(CLAIMED_BEFORE, crash_count=2), "crashed 2 times while scoring it alone; one more crash sets it"),
        (WAITING, f"It waits for job {FIRST}, which is running. It is queued once the last"),
        (replace(WAITING, deadline_passed=True), "the scheduler expires it"),
        (TIMED, "The scheduler queues it in 90 s"),
        (RUNNING, "renews the lease"),
        (LAPSED, "counts a crash and queues it again"),
        (replace(LAPSED, crash_count=2), "the scheduler sets it aside within seconds"),
        (replace(LAPSED, claim_size=8, crash_count=2), "queues it again within seconds, to be claimed alone"),
        (replace(QUEUED, state=JobState.QUARANTINED), "until an operator requeues it"),
        (replace(QUEUED, state=JobState.SUCCEEDED), "has its result"),
        (replace(QUEUED, state=JobState.CANCELED), "final"),
    ],
)  # fmt: skip
def test_what_happens_next_is_said(job: Inspection, words: str) -> None:
    assert words in said_of(job)


def test_a_wake_up_that_is_missing_is_said() -> None:
    assert "A wake-up is waiting" in said_of(QUEUED, wake_up_waits=True)
    assert "No wake-up is waiting" in said_of(QUEUED, wake_up_waits=False)
    assert "Redis does not answer" in said_of(QUEUED, wake_up_waits=None)


@pytest.mark.parametrize("state", JobState)
def test_only_what_would_be_carried_out_is_advised(state: JobState) -> None:
    advice = next_steps(replace(QUEUED, state=state), wake_up_waits=True, max_crashes=3).advice
    assert ("jobs cancel" in advice) == (state in {JobState.WAITING, JobState.QUEUED, JobState.RUNNING})
    assert ("jobs requeue" in advice) == (state is JobState.QUARANTINED)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("upload_gone", "Restore its upload"),
        ("blob_unavailable", "blob store reachable"),
        ("input_unreadable", "master key"),
        ("worker_crashed", "workers' logs"),
    ],
)
def test_what_to_mend_before_a_job_is_queued_again_is_said(problem: str, words: str) -> None:
    job = replace(QUEUED, state=JobState.QUARANTINED, problem=problem)
    assert words in next_steps(job, wake_up_waits=True, max_crashes=3).advice


def test_where_to_look_for_what_a_model_failed_of_is_said() -> None:
    failed = replace(QUEUED, state=JobState.FAILED)
    for problem, words in (
        ("model_failed", "`pipeline_failed`"),
        ("prediction_invalid", "`pipeline_failed`"),
        ("deadline_passed", "Its caller may submit"),
    ):
        advice = next_steps(replace(failed, problem=problem), wake_up_waits=True, max_crashes=3).advice
        assert words in advice


def test_what_keeps_a_job_waiting_until_an_operator_decides_is_named_first() -> None:
    advice = next_steps(BEHIND_QUARANTINED, wake_up_waits=None, max_crashes=3).advice
    assert advice.startswith(f"`medqueue jobs inspect {ASIDE}` says what to fix")


def test_a_job_whose_model_every_worker_refuses_says_why_it_waits_and_what_to_do() -> None:
    refusal = Refusal("it cannot be loaded", "Start another worker.")
    told = next_steps(QUEUED, wake_up_waits=False, max_crashes=3, refusal=refusal)
    assert "every worker refuses m 1.0.0 (it cannot be loaded)" in told.next
    assert told.advice.startswith("Start another worker. `medqueue jobs cancel")
    late = replace(QUEUED, deadline_passed=True)
    assert "expires it" in next_steps(late, wake_up_waits=False, max_crashes=3, refusal=refusal).next
