"""Recovery of many jobs, of any tenant, that ended by no fault of their own. For operators.

Quarantined jobs are requeued. Failed jobs are final, so their stored inputs are submitted again as new jobs of the same
caller. Jobs are chosen by the code of their problem, their model and the time at which they ended.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic_core import from_json

from service import audit, rows
from service.accounts import Principal
from service.audit import Action
from service.catalog import PublishedModel
from service.crypto import Cipher, binding
from service.db import Param, UnitOfWork
from service.errors import AfterUnsuitable
from service.jobs import inputs, submission
from service.jobs.inputs import NewPart
from service.jobs.submission import Callback, IdempotencyKey, NewJob
from service.lifecycle import Origin, Priority
from service.problem_codes import JobProblem
from service.queue import score_wake_up
from service.webhooks import endpoints

AT_ONCE = 500

CONDITIONS = """
(%(code)s::text IS NULL OR problem->>'code' = %(code)s)
AND (%(model_version_ids)s::uuid[] IS NULL OR model_version_id = ANY (%(model_version_ids)s))
AND (%(ended_after)s::timestamptz IS NULL OR finished_at >= %(ended_after)s)
AND (%(ended_before)s::timestamptz IS NULL OR finished_at < %(ended_before)s)
"""
# Oldest first. A job that is locked is left to the next round.
REQUEUE = f"""
WITH chosen AS MATERIALIZED (
    SELECT id FROM job WHERE state = 'quarantined' AND {CONDITIONS} ORDER BY id LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED
), requeued AS (
    UPDATE job SET state = 'queued', crash_count = 0, finished_at = NULL, problem = NULL, available_at = now()
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id, tenant_id, model_version_id, fence
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_REQUEUED}', jsonb_build_object('fence', fence) FROM requeued
)
SELECT id, model_version_id FROM requeued ORDER BY id
"""

# Except jobs that failed while waiting: without their predecessors they would mean something else.
FAILED = f"""
SELECT id, tenant_id, submitted_by, model_version_id, priority, payload, upload_id, options, context, callback_endpoint_id,
    callback, traceparent
FROM job WHERE state = 'failed' AND problem->>'code' <> '{JobProblem.PREDECESSOR_FAILED}'
    AND id > %(after)s AND {CONDITIONS} ORDER BY id LIMIT {AT_ONCE}
"""


@dataclass(frozen=True)
class FailedJob:
    """A failed job with its stored request, still sealed."""

    id: UUID
    tenant_id: UUID
    submitted_by: str
    model_version_id: UUID
    priority: int
    payload: bytes | None
    upload_id: UUID | None
    options: bytes | None
    context: bytes | None
    callback_endpoint_id: UUID | None
    callback: bytes | None
    traceparent: str | None


@dataclass(frozen=True)
class Chosen:
    """Which ended jobs to choose; None means all. The times are those of their end."""

    code: str | None = None
    model_version_ids: Sequence[UUID] | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None

    def parameters(self) -> dict[str, Param]:
        """The values of CONDITIONS."""
        versions = None if self.model_version_ids is None else list(self.model_version_ids)
        return {**vars(self), "model_version_ids": versions}


def requeue(work: UnitOfWork, chosen: Chosen, *, actor: str) -> list[UUID]:
    """Queue quarantined jobs again and reset their crash counts, AT_ONCE at most; returns their ids. Repeat until empty."""
    requeued = work.execute(REQUEUE, {**chosen.parameters(), "actor": actor})
    for version_id in {row.model_version_id for row in requeued}:
        work.wake(score_wake_up(version_id))
    return [row.id for row in requeued]


def failed(work: UnitOfWork, chosen: Chosen, *, after: UUID) -> list[FailedJob]:
    """At most AT_ONCE failed jobs in the order of their ids, starting behind `after`."""
    found = work.execute(FAILED, {**chosen.parameters(), "after": after})
    return [rows.build(FailedJob, row) for row in found]


def resubmit(work: UnitOfWork, job: FailedJob, cipher: Cipher, model: PublishedModel, *, actor: str) -> UUID:
    """Submit the input of a failed job again; returns the id of the new job.

    Raises PayloadUnreadable, and AfterUnsuitable if a job whose result it reads cannot be waited for.

    `work` is a transaction. The new job has the caller, model version, priority, subject, metadata and callback of the old
    one, and no deadline. A job is submitted again only once, however often this is repeated.
    """
    parts = inputs.opened(work, cipher, job.tenant_id, job.id)
    once = IdempotencyKey(f"resubmit|{job.id}", hashlib.sha256(job.id.bytes).digest())
    (accepted,) = submission.submit_after(work, [_opened(job, cipher, model, parts)], once)
    if isinstance(accepted, AfterUnsuitable):
        raise accepted
    if not accepted.replayed:
        audit.append(
            work,
            Action.JOB_RESUBMITTED,
            actor=actor,
            tenant_id=job.tenant_id,
            job_id=job.id,
            detail={"resubmitted_as": str(accepted.id)},
        )
    return accepted.id


def _opened(job: FailedJob, cipher: Cipher, model: PublishedModel, parts: Sequence[NewPart]) -> NewJob:
    def opened(column: str, sealed: bytes) -> bytes:
        return cipher.open(sealed, binding(f"job.{column}", job.tenant_id, job.id))

    context = {} if job.context is None else from_json(opened("context", job.context))
    callback = None
    if job.callback is not None and job.callback_endpoint_id is not None:
        url = endpoints.open_callback(cipher, job.tenant_id, job.id, job.callback)
        callback = Callback(job.callback_endpoint_id, url)
    return NewJob(
        Principal(job.submitted_by, job.tenant_id, frozenset(), cipher),
        model,
        payload=None if job.payload is None else opened("payload", job.payload),
        options={} if job.options is None else from_json(opened("options", job.options)),
        origin=Origin.REPLAY,
        upload_id=job.upload_id,
        priority=Priority(job.priority),
        subject=context.get("subject"),
        metadata=context.get("metadata", {}),
        callback=callback,
        traceparent=job.traceparent,
        parts=parts,
    )
