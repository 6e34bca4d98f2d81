"""One job as an operator sees it: who holds it, how often it crashed, and what happens to it next.

Opens nothing that is sealed: no payload, subject or result. Reads across tenants, so it must not be used by the API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import rows
from service.db import UnitOfWork
from service.errors import JobNotFound
from service.jobs import delays
from service.jobs.predecessors import PREDECESSORS
from service.lifecycle import JobState
from service.problem_codes import JobProblem
from service.refusals import Refusal

# Scalar subqueries rather than joins: each finds its row by key, whatever the plan.
INSPECT = f"""
SELECT id, (SELECT name FROM tenant WHERE tenant.id = job.tenant_id) AS tenant, model_version_id,
       (SELECT name FROM model_version WHERE model_version.id = job.model_version_id) AS model,
       (SELECT version FROM model_version WHERE model_version.id = job.model_version_id) AS model_version,
       state::text AS state, fence, attempt, crash_count, claim_size, lease_owner,
       extract(epoch FROM lease_expires_at - now())::float AS lease_remaining_s,
       available_at, extract(epoch FROM available_at - now())::float AS available_in_s,
       deadline_at AS deadline, coalesce(deadline_at <= now(), false) AS deadline_passed, problem->>'code' AS problem,
       {PREDECESSORS} AS after,
       (SELECT count(*) FROM job_result WHERE job_id = job.id) AS results,
       (SELECT count(*) FROM audit_event WHERE audit_event.job_id = job.id) AS events
FROM job WHERE id = %(id)s
"""

# What an operator does before a quarantined job is queued again, by the code of its problem.
MENDED_FIRST: dict[str, str] = {
    JobProblem.UPLOAD_GONE: "Restore its upload to the blob store from a backup",
    JobProblem.SOURCE_RESULT_GONE: "Restore the result that it reads from a backup of the database",
    JobProblem.BLOB_UNAVAILABLE: "Make the blob store reachable",
    JobProblem.INPUT_UNREADABLE: "Start the workers with the master key and the blobs that it was stored under",
}
SUBMIT_AGAIN = "Its caller may submit the case again."
OF_THE_MODEL = frozenset((JobProblem.MODEL_FAILED, JobProblem.PREDICTION_INVALID))
MODEL_AT_FAULT = (
    "Look for its id in the workers' logs: `pipeline_failed` names the error and where it was raised. If the input is "
    "right, correct the model and publish a new version; then its caller may submit the case again."
)


@dataclass(frozen=True)
class Inspection:
    """A job's claim, crashes and waiting times. Remaining times are by the database's clock, negative when past."""

    id: UUID
    tenant: str
    model_version_id: UUID
    model: str
    model_version: str
    state: JobState
    fence: int
    attempt: int
    crash_count: int
    claim_size: int
    lease_owner: str | None
    lease_remaining_s: float | None
    available_at: datetime
    available_in_s: float
    deadline: datetime | None
    deadline_passed: bool
    problem: str | None
    after: Sequence[Mapping[str, str]]  # `id` and `state` of each job that it waits for, or waited for
    results: int
    events: int


@dataclass(frozen=True)
class NextSteps:
    """What happens to a job next by itself, and what an operator can do."""

    next: str
    advice: str


def inspect(work: UnitOfWork, job_id: UUID) -> Inspection:
    """A job of any tenant. Raises JobNotFound."""
    found = work.execute(INSPECT, {"id": job_id})
    if not found:
        raise JobNotFound("There is no such job in this database. Check the id.")
    return rows.build(Inspection, found[0], state=JobState(found[0].state))


def next_steps(
    job: Inspection, *, wake_up_waits: bool | None, max_crashes: int, refusal: Refusal | None = None
) -> NextSteps:
    """The next_steps of a job, in words. `wake_up_waits` is None if Redis does not answer.

    `refusal` is that of its model, if every live worker refuses it.
    """
    match job.state:
        case JobState.WAITING:
            return _steps_of_waiting(job)
        case JobState.QUEUED:
            return _steps_of_queued(job, wake_up_waits, max_crashes, refusal)
        case JobState.RUNNING:
            advice = (
                f"`medqueue jobs cancel {job.id}` with a key of its tenant ends it; a result is then refused."
            )
            return NextSteps(f"{_end_of_lease(job, max_crashes)}{_crashes(job, max_crashes)}", advice)
        case JobState.QUARANTINED:
            first = MENDED_FIRST.get(job.problem or "", "Look for the cause in the workers' logs")
            advice = f"{first}; then `medqueue jobs requeue {job.id}` queues it and resets its crash count."
            return NextSteps("Nothing: it is set aside until an operator requeues it.", advice)
        case JobState.SUCCEEDED:
            return NextSteps("Nothing: it has its result.", "Nothing needs to be done.")
        case _:
            advice = MODEL_AT_FAULT if job.problem in OF_THE_MODEL else SUBMIT_AGAIN
            return NextSteps("Nothing: this state is final.", advice)


def _steps_of_queued(
    job: Inspection, wake_up_waits: bool | None, max_crashes: int, refusal: Refusal | None
) -> NextSteps:
    """When a job is claimed, or why it is not, and what an operator can do."""
    advice = f"`medqueue jobs cancel {job.id}` with a key of its tenant ends it."
    if refusal is not None and not job.deadline_passed:
        why = delays.refused(f"{job.model} {job.model_version}", refusal)
        return NextSteps(why, f"{refusal.advice} {advice}")
    return NextSteps(f"{_claim(job, wake_up_waits)}{_crashes(job, max_crashes)}", advice)


def _steps_of_waiting(job: Inspection) -> NextSteps:
    """What a job waits for, and what an operator can do."""
    advice = (
        f"`medqueue jobs cancel {job.id}` with a key of its tenant ends it and the jobs that wait for it."
    )
    if job.deadline_passed:
        return NextSteps("Its deadline has passed: the scheduler expires it within seconds.", advice)
    unended = [each for each in job.after if each["state"] != JobState.SUCCEEDED]
    if not unended:
        return NextSteps(
            f"The scheduler queues it in {max(0.0, job.available_in_s):.0f} s, at its start time.", advice
        )
    aside = [each["id"] for each in unended if each["state"] == JobState.QUARANTINED]
    if aside:
        advice = f"`medqueue jobs inspect {aside[0]}` says what to fix before that job is requeued. {advice}"
    return NextSteps(delays.waits_for(unended), advice)


def _claim(job: Inspection, wake_up_waits: bool | None) -> str:
    """When a queued job is claimed."""
    if job.deadline_passed:
        return "Its deadline has passed: the scheduler expires it within seconds."
    company = "together with others of its model" if job.attempt == 0 else "alone"
    if job.attempt > 0 and job.available_in_s > 0:
        return f"It is put off: a worker claims it {company} in {job.available_in_s:.0f} s or later."
    if wake_up_waits is None:
        return (
            "Redis does not answer, so no worker is woken; once it does, a worker claims it " + company + "."
        )
    if wake_up_waits:
        return (
            f"A wake-up is waiting: the next free worker takes it, and claims the job in its turn, {company}."
        )
    return f"No wake-up is waiting: a worker has taken it, or the scheduler sends one within seconds; claimed {company}."


def _end_of_lease(job: Inspection, max_crashes: int) -> str:
    """What happens to a running job."""
    if job.lease_remaining_s is not None and job.lease_remaining_s > 0:
        return "Its worker renews the lease while the run makes progress, and ends the job."
    if job.claim_size > 1:
        return "Its lease has lapsed: the scheduler queues it again within seconds, to be claimed alone."
    if job.crash_count + 1 >= max_crashes:
        return "Its lease has lapsed: the scheduler sets it aside within seconds."
    return "Its lease has lapsed: the scheduler counts a crash and queues it again within seconds."


def _crashes(job: Inspection, max_crashes: int) -> str:
    """How many crashes a job is away from quarantine, if it has crashed before."""
    if job.crash_count == 0:
        return ""
    times = "once" if job.crash_count == 1 else f"{job.crash_count} times"
    left = max(1, max_crashes - job.crash_count)
    more = "one more crash sets" if left == 1 else f"{left} more crashes set"
    return f" Its worker has crashed {times} while scoring it alone; {more} it aside."
