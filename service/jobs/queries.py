"""Reads jobs for their owners, cancels and requeues them. A tenant never sees another tenant's jobs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from service import audit, listing, rows
from service.accounts import Principal
from service.audit import Action
from service.crypto import binding
from service.db import UnitOfWork
from service.errors import JobNotFound, PayloadUnreadable, TransitionRefused
from service.jobs import predecessors
from service.lifecycle import ENDED_STATES, JobState, Origin, Priority
from service.queue import score_wake_up
from service.rows import Row
from service.webhooks import planning

NOT_RUNNING = listing.every("job_state", [state for state in JobState if state is not JobState.RUNNING])
TAG = re.compile(r"[a-z]+-[0-9]+")
EVERY_TAG = "*"
# Columns of a job as its owner sees it: those of JobView by name, and those that _view decrypts.
COLUMNS = """job.id, job.model_version_id, job.state::text AS state, job.priority, job.created_at, job.started_at,
    job.finished_at, job.deadline_at, job.not_before, job.origin::text AS origin,
    job.attempt, job.fence, job.claim_size, job.problem, job.context,
    CASE WHEN job.depth > 0 THEN
        ARRAY(SELECT predecessor_id FROM job_after WHERE job_id = job.id ORDER BY position) END AS after"""

# Reading a result is recorded in the same statement. A caller that sends the entity tag of what it has already read
# gets no result, so nothing is recorded.
READ = f"""
WITH asked AS (
    SELECT * FROM unnest(%(numbers)s::int[], %(job_ids)s::uuid[], %(tenant_ids)s::uuid[], %(actors)s::text[],
                         %(known_tags)s::text[])
        AS asked (number, job_id, tenant_id, actor, known_tags)
), found AS (
    SELECT asked.number, asked.actor, job.tenant_id, {COLUMNS},
           result.payload, result.runtime, result.provider
    FROM asked JOIN job ON job.id = asked.job_id AND job.tenant_id = asked.tenant_id
            AND job.id = ANY (ARRAY(SELECT job_id FROM asked))
        LEFT JOIN job_result AS result ON result.job_id = job.id
            AND result.job_id = ANY (ARRAY(SELECT job_id FROM asked))
            AND NOT coalesce(job.state || '-' || job.fence = ANY (string_to_array(asked.known_tags, ','))
                             OR asked.known_tags = '*', false)
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action)
    SELECT tenant_id, id, actor, '{Action.RESULT_READ}' FROM found WHERE payload IS NOT NULL
)
SELECT * FROM found
"""

STATE = "SELECT state::text AS state FROM job WHERE id = %(id)s AND tenant_id = %(tenant_id)s"
GET = f"SELECT {COLUMNS} FROM job WHERE id = %(id)s AND tenant_id = %(tenant_id)s"
VERSIONS = "SELECT id, model_version_id FROM job WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s"
UNENDED = """
SELECT id FROM job WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s AND state IN ('waiting', 'queued', 'running')
ORDER BY id DESC LIMIT 1
"""

CANCEL = f"""
WITH canceled AS (
    UPDATE job SET state = 'canceled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL
    WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND state IN ('waiting', 'queued', 'running')
    RETURNING {planning.JOB_COLUMNS}, job.attempt, job.fence, job.followed
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_CANCELED}', jsonb_build_object('attempt', attempt, 'fence', fence)
    FROM canceled RETURNING {planning.EVENT_COLUMNS}
), {planning.deliveries_of("canceled")}
SELECT id, followed, {planning.PLANNED} FROM canceled
"""

REQUEUE = f"""
WITH requeued AS (
    UPDATE job SET state = 'queued', crash_count = 0, finished_at = NULL, problem = NULL, available_at = now()
    WHERE id = %(id)s AND state = 'quarantined' RETURNING id, tenant_id, model_version_id, fence
), event AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_REQUEUED}', jsonb_build_object('fence', fence) FROM requeued
)
SELECT model_version_id FROM requeued
"""


@dataclass(frozen=True)
class Result:
    """A job's result, and the runtime that computed it."""

    content: dict[str, Any]
    runtime: str
    provider: str


@dataclass(frozen=True)
class JobView:
    """A job as its owner sees it. `result` is set if the job succeeded and its result was requested."""

    id: UUID
    model_version_id: UUID
    state: JobState
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    not_before: datetime | None
    origin: Origin
    attempt: int
    fence: int
    claim_size: int
    problem: dict[str, str] | None
    subject: str | None
    metadata: dict[str, str]
    after: Sequence[UUID] = ()
    result: Result | None = None

    @property
    def tag(self) -> str:
        """The entity tag, made of state and fence: changes whenever the job does."""
        return f"{self.state}-{self.fence}"

    @property
    def ended(self) -> bool:
        """Whether no worker will change the job any more."""
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list; None means all."""

    state: JobState | None = None
    model_version_ids: Sequence[UUID] | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True)
class Reading:
    """A principal's request to read a job. If the job's current tag is among the known tags, it comes without result."""

    principal: Principal
    job_id: UUID
    known_tags: str | None = None  # with commas between, or *


def read(work: UnitOfWork, readings: Sequence[Reading]) -> list[JobView | PayloadUnreadable | None]:
    """Jobs with their results, in the order requested; None for a missing job and for another tenant's.

    A job that does not decrypt is returned as that error; the other jobs are still returned.

    Each result that is read is recorded.
    """
    found = work.execute(
        READ,
        {
            "numbers": list(range(len(readings))),
            "job_ids": [reading.job_id for reading in readings],
            "tenant_ids": [reading.principal.tenant_id for reading in readings],
            "actors": [reading.principal.actor for reading in readings],
            "known_tags": [reading.known_tags for reading in readings],
        },
    )
    views: list[JobView | PayloadUnreadable | None] = [None] * len(readings)
    for row in found:
        principal = readings[row.number].principal
        try:
            views[row.number] = _view(principal, row, result=_result(principal, row))
        except PayloadUnreadable as error:
            views[row.number] = error.without_frames()
    return views


def has_ended(work: UnitOfWork, principal: Principal, job_id: UUID) -> bool:
    """Whether a job has ended. A missing job counts as ended, so that no caller waits for it."""
    found = work.execute(STATE, {"id": job_id, "tenant_id": principal.tenant_id})
    return not found or found[0].state in ENDED_STATES


def youngest_unended(work: UnitOfWork, principal: Principal, job_ids: list[UUID]) -> UUID | None:
    """The newest of these jobs that has not ended. A missing job counts as ended."""
    found = work.execute(UNENDED, {"ids": job_ids, "tenant_id": principal.tenant_id})
    return found[0].id if found else None


def versions_of(work: UnitOfWork, principal: Principal, job_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The model version of each of these jobs that the caller's tenant has."""
    found = work.execute(VERSIONS, {"ids": list(job_ids), "tenant_id": principal.tenant_id})
    return {row.id: row.model_version_id for row in found}


def newest(
    work: UnitOfWork,
    principal: Principal,
    wanted: JobFilter,
    *,
    before: UUID | None,
    limit: int,
) -> list[JobView]:
    """Jobs newest first, older than `before`, without results."""
    query, params = list_query(principal, wanted, before=before, limit=limit)
    return [_view(principal, row) for row in work.execute(query, params)]


def list_query(
    principal: Principal, wanted: JobFilter, *, before: UUID | None, limit: int
) -> tuple[str, dict[str, object]]:
    """The statement for a page and its parameters. It contains only the filters that are set, so that each combination
    has its own plan.

    Jobs of a subject have their own index. Otherwise one index that leads with model version and state serves both
    filters; a filter that is not set means all values. Running jobs are in neither of the last two,
    but read by their leases.
    """
    times, params = listing.within(
        "job", before=before, created_after=wanted.created_after, created_before=wanted.created_before
    )
    params |= {"tenant_id": principal.tenant_id, "limit": limit}
    shared = ["tenant_id = %(tenant_id)s", *times]
    given = []
    if wanted.state is not None:
        given, params["state"] = ["state = %(state)s"], wanted.state
    if wanted.model_version_ids is not None:
        given += ["model_version_id = ANY (%(versions)s::uuid[])"]
        params["versions"] = list(wanted.model_version_ids)
    if wanted.subject is not None:
        params["subject"] = principal.cipher.blind_index(wanted.subject)
        parts = [listing.simple("job", ["subject_digest = %(subject)s", *given, *shared])]
    else:
        parts = [listing.few("job", listing.RUNNING, [*given, *shared])]
        if wanted.state is not JobState.RUNNING:
            parts += [_not_running(wanted, given, shared)]
    return listing.page("job", COLUMNS, parts), params


def _not_running(wanted: JobFilter, given: list[str], shared: list[str]) -> str:
    """The jobs of the lists' indexes: of all, or of each model version and state."""
    if not given:
        return listing.simple("job", ["state <> 'running'", *shared])
    values = {"model_version_id": "SELECT id FROM model_version", "state": NOT_RUNNING}
    if wanted.model_version_ids is not None:
        values["model_version_id"] = "SELECT unnest(%(versions)s::uuid[])"
    if wanted.state is not None:
        values["state"] = "SELECT %(state)s::job_state"
    return listing.steps("job", values, shared)


def cancel(work: UnitOfWork, principal: Principal, job_id: UUID) -> JobView:
    """Cancel a job that has not ended; returns the job after that, without result. Raises JobNotFound.

    From then on the result of a running job is refused: `canceled` is never followed by a result.
    """
    asked = {"id": job_id, "tenant_id": principal.tenant_id}
    canceled = work.execute(CANCEL, {**asked, "actor": principal.actor})
    work.announce([row.id for row in canceled])
    predecessors.tell_followers(work, [row.id for row in canceled if row.followed])
    planning.wake_if_planned(work, canceled)
    found = work.execute(GET, asked)
    if not found:
        raise JobNotFound
    return _view(principal, found[0])


def requeue(work: UnitOfWork, job_id: UUID, *, actor: str) -> None:
    """Queue a quarantined job again and reset its crash count. Raises TransitionRefused in any other state."""
    requeued = work.execute(REQUEUE, {"id": job_id, "actor": actor})
    if not requeued:
        raise TransitionRefused("Only a quarantined job can be requeued.")
    work.wake(score_wake_up(requeued[0].model_version_id))


def events(
    work: UnitOfWork,
    principal: Principal,
    job_id: UUID,
    *,
    after: UUID | None,
    limit: int,
) -> list[audit.AuditEvent]:
    """The audit trail of a job, oldest first. Raises JobNotFound."""
    if not work.execute(STATE, {"id": job_id, "tenant_id": principal.tenant_id}):
        raise JobNotFound
    return audit.events_of_job(work, tenant_id=principal.tenant_id, job_id=job_id, after=after, limit=limit)


def _view(principal: Principal, row: Row, *, result: Result | None = None) -> JobView:
    opened: dict[str, Any] = {}
    if row.context is not None:
        bound_to = binding("job.context", principal.tenant_id, row.id)
        opened = from_json(principal.cipher.open(row.context, bound_to))
    return rows.build(
        JobView,
        row,
        state=JobState(row.state),
        priority=Priority(row.priority),
        origin=Origin(row.origin),
        subject=opened.get("subject"),
        metadata=opened.get("metadata", {}),
        after=row.after or (),
        result=result,
    )


def _result(principal: Principal, row: Row) -> Result | None:
    if row.payload is None:
        return None
    bound_to = binding("job_result.payload", principal.tenant_id, row.id)
    return rows.build(Result, row, content=from_json(principal.cipher.open(row.payload, bound_to)))
