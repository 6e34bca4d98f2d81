"""Why a job has not started: the jobs or the time that it waits for, its place in the queue, or workers that are missing.

Opens nothing that is sealed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from service import rows
from service.accounts import Principal
from service.db import UnitOfWork
from service.errors import JobNotFound
from service.jobs.predecessors import PREDECESSORS
from service.lifecycle import JobState
from service.refusals import Refusal

MOST_COUNTED: Final = 1000  # jobs before one: the count reads each of them

PENDING = f"""
SELECT state::text AS state, model_version_id, attempt, available_at,
       extract(epoch FROM available_at - now())::float AS available_in_s,
       coalesce(deadline_at <= now(), false) AS deadline_passed, {PREDECESSORS} AS after,
       CASE WHEN state = 'queued' AND attempt = 0 THEN (SELECT count(*) FROM (
           SELECT FROM job AS earlier
           WHERE earlier.model_version_id = job.model_version_id AND earlier.tenant_id = job.tenant_id
               AND earlier.state = 'queued' AND earlier.attempt = 0
               AND (earlier.rank_at, earlier.id) < (job.rank_at, job.id)
           ORDER BY earlier.rank_at, earlier.id LIMIT {MOST_COUNTED}) AS counted) END AS ahead
FROM job WHERE id = %(id)s AND tenant_id = %(tenant_id)s
"""


class DelayCode(StrEnum):
    """What keeps a job from starting."""

    PREDECESSORS = "predecessors"
    START_TIME = "start_time"
    DEADLINE_PASSED = "deadline_passed"
    MODEL_REFUSED = "model_refused"
    NO_WORKER = "no_worker"
    RETRY = "retry"
    QUEUE = "queue"


@dataclass(frozen=True)
class Pending:
    """What the database knows of a job that has not started; of any other, its state. `available_in_s` is negative when past.

    `ahead` is the number of its tenant's jobs of its model that are claimed first, at most MOST_COUNTED; None of one that was
    claimed before. Tenants take turns, so those of others are no measure of the wait.
    `after` has `id` and `state` of each job that it waits for, or waited for.
    """

    state: JobState
    model_version_id: UUID
    attempt: int
    available_at: datetime
    available_in_s: float
    deadline_passed: bool
    ahead: int | None
    after: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Delay:
    """Why a job has not started, in words; `code` and `detail` are None of one that has, or that has ended.

    `after` names the jobs that keep it waiting, with their states; `ahead` is as in Pending.
    """

    state: JobState
    code: DelayCode | None = None
    detail: str | None = None
    ahead: int | None = None
    after: Sequence[Mapping[str, str]] = ()


def pending(work: UnitOfWork, principal: Principal, job_id: UUID) -> Pending:
    """What is known of a job of the caller's tenant. Raises JobNotFound."""
    found = work.execute(PENDING, {"id": job_id, "tenant_id": principal.tenant_id})
    if not found:
        raise JobNotFound
    return rows.build(Pending, found[0], state=JobState(found[0].state))


def delay(job: Pending, model: str, workers: Sequence[Mapping[str, Refusal]] | None) -> Delay:
    """Why a job of `model` ("NAME VERSION") has not started.

    `workers` has what each live worker refuses, by model; None if that is not known.
    """
    if job.state not in (JobState.WAITING, JobState.QUEUED):
        return Delay(job.state)
    if job.deadline_passed:
        words = "Its deadline has passed: the scheduler expires it within seconds."
        return Delay(job.state, DelayCode.DEADLINE_PASSED, words)
    return _of_waiting(job) if job.state is JobState.WAITING else _of_queued(job, model, workers)


def _of_waiting(job: Pending) -> Delay:
    unended = [each for each in job.after if each["state"] != JobState.SUCCEEDED]
    if unended:
        return Delay(job.state, DelayCode.PREDECESSORS, waits_for(unended), after=unended)
    words = f"It waits for its start time, {job.available_at.isoformat(timespec='seconds')}."
    return Delay(job.state, DelayCode.START_TIME, words)


def _of_queued(job: Pending, model: str, workers: Sequence[Mapping[str, Refusal]] | None) -> Delay:
    if workers is not None and (words := _not_scored(model, workers)):
        code = DelayCode.MODEL_REFUSED if workers else DelayCode.NO_WORKER
        return Delay(job.state, code, words, job.ahead)
    if job.attempt > 0:
        seconds = max(0.0, job.available_in_s)
        words = f"It did not end the last time: a worker takes it again in {seconds:.0f} s or later."
        return Delay(job.state, DelayCode.RETRY, words)
    return Delay(job.state, DelayCode.QUEUE, _place(job.ahead or 0), job.ahead)


def waits_for(unended: Sequence[Mapping[str, str]]) -> str:
    """Which jobs a job waits for."""
    named = "; ".join(f"job {each['id']}, which is {each['state']}" for each in unended)
    return f"It waits for {named}. It is queued once the last of them has succeeded."


def refused(model: str, refusal: Refusal) -> str:
    """Why no worker scores a model."""
    return f"It waits: every worker refuses {model} ({refusal.reason}). Workers try it again every minute."


def _not_scored(model: str, workers: Sequence[Mapping[str, Refusal]]) -> str | None:
    """Why no live worker scores a model; None if one does."""
    if not workers:
        return "It waits: no worker is running. It is scored once the operator has started one."
    if all(model in refusals for refusals in workers):
        return refused(model, workers[0][model])
    return None


def _place(ahead: int) -> str:
    if ahead == 0:
        return "It is queued: of your jobs of its model it is the next that a worker takes."
    number = f"at least {ahead:,}" if ahead >= MOST_COUNTED else str(ahead)
    one = ahead == 1
    return f"It is queued: {number} of your jobs of its model {'is' if one else 'are'} before it."
