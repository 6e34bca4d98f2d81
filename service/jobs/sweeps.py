"""Periodic work on jobs: lapsed leases, passed deadlines and promises, lost wake-ups. Run every few seconds.

Each sweep is safe to run twice, takes a bounded number of rows and skips locked rows.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service import leases, rows
from service.audit import Action
from service.db import UnitOfWork
from service.jobs import predecessors
from service.lifecycle import JobState
from service.problem_codes import JobProblem
from service.queue import score_wake_up
from service.webhooks import planning

SWEEP_ROWS = 1000
ACTOR = "scheduler"

# A crash counts against a job only if it was claimed alone: among several, the culprit is unknown.
CRASHED_OUT = "claim_size = 1 AND crash_count + 1 >= %(max_crashes)s"
RESCUE = f"""
WITH lapsed AS MATERIALIZED (
    SELECT id FROM job WHERE {leases.EXPIRED} ORDER BY lease_expires_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
), rescued AS (
    UPDATE job SET
        state = CASE WHEN {CRASHED_OUT} THEN 'quarantined'::job_state ELSE 'queued' END,
        finished_at = CASE WHEN {CRASHED_OUT} THEN now() END,
        problem = CASE WHEN {CRASHED_OUT} THEN %(problem)s::jsonb END,
        crash_count = crash_count + (claim_size = 1)::int, available_at = now(), {leases.RELEASE}
    WHERE job.id = ANY (ARRAY(SELECT id FROM lapsed))
    RETURNING {planning.JOB_COLUMNS}, job.model_version_id, job.state, job.fence, job.crash_count, job.problem
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, '{ACTOR}', CASE state WHEN 'queued' THEN '{Action.JOB_RESCUED}' ELSE '{Action.JOB_QUARANTINED}' END,
           jsonb_build_object('crash_count', crash_count, 'fence', fence)
           || CASE state WHEN 'queued' THEN '{{}}'::jsonb ELSE jsonb_build_object('code', problem->>'code') END
    FROM rescued RETURNING {planning.EVENT_COLUMNS}
), {planning.deliveries_of("rescued")}
SELECT id, model_version_id, state::text AS state, {planning.PLANNED} FROM rescued
"""


class Passed(StrEnum):
    """Which jobs past their deadline a sweep ends.

    Waiting jobs that have followers are taken one at a time. Their end locks the followers, which are waiting jobs too:
    locking several waiting jobs in another order than `job_follow` does could deadlock.
    """

    QUEUED = f"state = 'queued' AND deadline_at IS NOT NULL AND deadline_at <= now() ORDER BY deadline_at LIMIT {SWEEP_ROWS}"
    WAITING = (
        f"state = 'waiting' AND NOT followed AND deadline_at <= now() ORDER BY deadline_at LIMIT {SWEEP_ROWS}"
    )
    WAITING_FOLLOWED = "state = 'waiting' AND followed AND deadline_at <= now() ORDER BY deadline_at LIMIT 1"


EXPIRE = f"""
WITH passed AS MATERIALIZED (
    SELECT id FROM job WHERE {{passed}} FOR UPDATE SKIP LOCKED
), expired AS (
    UPDATE job SET state = 'expired', finished_at = now(), problem = %(problem)s::jsonb
    WHERE job.id = ANY (ARRAY(SELECT id FROM passed)) RETURNING {planning.JOB_COLUMNS}, job.attempt,
        job.followed, job.problem
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, '{ACTOR}', '{Action.JOB_EXPIRED}',
           jsonb_build_object('attempt', attempt, 'code', problem->>'code')
    FROM expired RETURNING {planning.EVENT_COLUMNS}
), {planning.deliveries_of("expired")}
SELECT id, followed, {planning.PLANNED} FROM expired
"""

# A job that waits for others is released by the end of the last of them; this sweep takes it only if its start time is
# later than that.
READY = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM job WHERE state = 'waiting' AND NOT blocked AND available_at <= now()
    ORDER BY available_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
), ready AS (
    UPDATE job SET state = 'queued' WHERE job.id = ANY (ARRAY(SELECT id FROM due)) RETURNING id, tenant_id, model_version_id
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action)
    SELECT tenant_id, id, '{ACTOR}', '{Action.JOB_READY}' FROM ready
)
SELECT id, model_version_id FROM ready
"""

# An alarm, not a transition: state and fence stay, and so do entity tags and the claimant's lease. The deadline is no
# condition: each sweep would read and skip jobs past theirs until they are expired.
OVERDUE = f"""
WITH waiting AS MATERIALIZED (
    SELECT id FROM job WHERE state = 'queued' AND overdue_at IS NULL AND promise_at <= now()
    ORDER BY promise_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
), running AS MATERIALIZED (
    SELECT id FROM job WHERE lease_expires_at IS NOT NULL AND overdue_at IS NULL AND promise_at <= now()
    ORDER BY lease_expires_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
), overdue AS (
    UPDATE job SET overdue_at = now()
    WHERE job.id = ANY (ARRAY(SELECT id FROM waiting UNION ALL SELECT id FROM running))
    RETURNING {planning.JOB_COLUMNS}, job.model_version_id, job.state, job.attempt, job.promise_at
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, '{ACTOR}', '{Action.JOB_OVERDUE}',
           jsonb_build_object('state', state, 'attempt', attempt,
                              'late_s', round(extract(epoch FROM now() - promise_at)::numeric, 3))
    FROM overdue RETURNING {planning.EVENT_COLUMNS}
), {planning.deliveries_of("overdue")}
SELECT overdue.id, version.name AS model, overdue.model_version_id, overdue.state::text AS state, {planning.PLANNED}
FROM overdue JOIN model_version AS version ON version.id = overdue.model_version_id
    AND version.id = ANY (ARRAY(SELECT model_version_id FROM overdue))
"""

WITH_WORK = """
SELECT id FROM model_version AS version
WHERE EXISTS (SELECT FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt = 0)
   OR EXISTS (SELECT FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt > 0
              AND available_at <= now())
"""

SWEPT = """
INSERT INTO last_sweep (swept_at, swept_by, every_s) VALUES (now(), %(by)s, %(every_s)s)
ON CONFLICT (single) DO UPDATE SET swept_at = excluded.swept_at, swept_by = excluded.swept_by, every_s = excluded.every_s
"""
LAST_SWEEP = """
SELECT swept_at AS at, extract(epoch FROM now() - swept_at)::float AS age_s, swept_by AS by, every_s FROM last_sweep
"""
LATE_S = 10.0
LATE_ROUNDS = 3

QUARANTINE_PROBLEM = (
    f'{{"code": "{JobProblem.WORKER_CRASHED}", "detail": "The worker died each time it scored this job alone. '
    'An operator may look into it and requeue it."}'
)
EXPIRY_PROBLEM = (
    f'{{"code": "{JobProblem.DEADLINE_PASSED}", "detail": "The deadline passed before a worker was free."}}'
)
EXPIRY_PROBLEM_OF_WAITING = (
    f'{{"code": "{JobProblem.DEADLINE_PASSED}", '
    '"detail": "The deadline passed before the job could be queued."}'
)


@dataclass(frozen=True)
class Rescued:
    """The outcome of a rescue: jobs queued again, and jobs quarantined for an operator."""

    queued: tuple[UUID, ...]
    quarantined: tuple[UUID, ...]


@dataclass(frozen=True)
class OverdueJob:
    """A job whose promised time has passed, and the name of its model."""

    id: UUID
    model: str


@dataclass(frozen=True)
class LastSweep:
    """When a scheduler last completed all its sweeps without a fault, by the database's clock."""

    at: datetime
    age_s: float
    by: str
    every_s: float

    @property
    def late(self) -> bool:
        """Whether sweeps have stopped, or fail each time."""
        return self.age_s > max(LATE_S, LATE_ROUNDS * self.every_s)


def swept(work: UnitOfWork, *, by: str, every_s: float) -> None:
    """Record that the scheduler `by` has completed a round of sweeps without a fault."""
    work.execute(SWEPT, {"by": by, "every_s": every_s})


def last_sweep(work: UnitOfWork) -> LastSweep | None:
    """The last completed round of any scheduler; None before the first."""
    found = work.execute(LAST_SWEEP)
    return rows.build(LastSweep, found[0]) if found else None


def rescue(work: UnitOfWork, *, max_crashes: int) -> Rescued:
    """Take back jobs whose lease has lapsed; those that crashed `max_crashes` times alone are quarantined."""
    lapsed = work.execute(RESCUE, {"max_crashes": max_crashes, "problem": QUARANTINE_PROBLEM})
    for version_id in {row.model_version_id for row in lapsed if row.state == JobState.QUEUED}:
        work.wake(score_wake_up(version_id))
    quarantined = tuple(row.id for row in lapsed if row.state == JobState.QUARANTINED)
    work.announce(quarantined)
    planning.wake_if_planned(work, lapsed)
    return Rescued(tuple(row.id for row in lapsed if row.state == JobState.QUEUED), quarantined)


def ready(work: UnitOfWork) -> list[UUID]:
    """Queue jobs whose start time has come and that wait for no other job, and wake their workers; returns their ids."""
    due = work.execute(READY)
    for version_id in {row.model_version_id for row in due}:
        work.wake(score_wake_up(version_id))
    return [row.id for row in due]


def expire(work: UnitOfWork, passed: Passed = Passed.QUEUED) -> list[UUID]:
    """End jobs whose deadline has passed; returns their ids."""
    problem = EXPIRY_PROBLEM if passed is Passed.QUEUED else EXPIRY_PROBLEM_OF_WAITING
    expired = work.execute(EXPIRE.format(passed=passed), {"problem": problem})
    ids = [row.id for row in expired]
    work.announce(ids)
    predecessors.tell_followers(work, [row.id for row in expired if row.followed])
    planning.wake_if_planned(work, expired)
    return ids


def overdue(work: UnitOfWork) -> list[OverdueJob]:
    """Record, once each, jobs that have not ended by their promised time; they are otherwise unchanged.

    A claim skips rows that this sweep has locked, so workers are woken for the queued ones afterwards.
    """
    late = work.execute(OVERDUE)
    for version_id in {row.model_version_id for row in late if row.state == JobState.QUEUED}:
        work.wake(score_wake_up(version_id))
    planning.wake_if_planned(work, late)
    return [rows.build(OverdueJob, row) for row in late]


def rewake(work: UnitOfWork) -> list[UUID]:
    """Send a wake-up for every model version that has claimable jobs, in case wake-ups were lost."""
    versions = with_work(work)
    for version_id in versions:
        work.wake(score_wake_up(version_id))
    return versions


def with_work(work: UnitOfWork) -> list[UUID]:
    """The model versions that have claimable jobs: two lookups in small indexes for each version."""
    return [row.id for row in work.execute(WITH_WORK)]
