"""Takes cases in: one transaction of job and audit event, answered once, however often it is sent."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic_core import to_json
from uuid_utils.compat import uuid7

from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import binding
from service.db import UnitOfWork
from service.errors import IdempotencyKeyReused
from service.lifecycle import PRIORITY_HEADSTART_S, Priority
from service.queue import score_wake_up

HEADSTARTS = [PRIORITY_HEADSTART_S[priority] for priority in Priority]

SUBMIT = """
WITH given AS (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::smallint[], %s::timestamptz[], %s::uuid[],
                         %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[])
        AS given (id, model_version_id, model, priority, deadline_at, upload_id,
                  payload, context, subject_digest, idempotency_digest, request_digest)
), fresh AS (
    INSERT INTO job (id, tenant_id, submitted_by, model_version_id, priority, rank_at, deadline_at, upload_id,
                     payload, context, subject_digest, idempotency_digest, request_digest)
    SELECT id, %s, %s, model_version_id, priority, now() + make_interval(secs => (%s::int[])[priority + 1]), deadline_at,
           upload_id, payload, context, subject_digest, idempotency_digest, request_digest
    FROM given
    ON CONFLICT (tenant_id, idempotency_digest) WHERE idempotency_digest IS NOT NULL DO NOTHING
    RETURNING id, created_at
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, object)
    SELECT %s, fresh.id, %s, 'job.submitted', given.model FROM fresh JOIN given USING (id)
)
SELECT id, created_at FROM fresh
"""

FIRST_ANSWERS = """
SELECT idempotency_digest, request_digest, id, created_at, model_version_id FROM job
WHERE tenant_id = %s AND idempotency_digest = ANY(%s::bytea[])
"""


@dataclass(frozen=True)
class NewJob:
    """A checked case on its way in. `payload` is the pipeline's canonical input, or `upload_id` names the file."""

    model: PublishedModel
    payload: bytes | None = None
    upload_id: UUID | None = None
    priority: Priority = Priority.ROUTINE
    deadline_at: datetime | None = None
    subject: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IdempotencyKey:
    """The caller's key for a request, and the digest of that request's body."""

    key: str
    request_digest: bytes

    def of_item(self, index: int) -> bytes:
        """32 bytes that stand for this key and one item of the request."""
        return hashlib.sha256(f"{index}|{self.key}".encode()).digest()


@dataclass(frozen=True)
class Accepted:
    """A job that is stored: this answer is the same however often the request is repeated."""

    id: UUID
    created_at: datetime
    model_version_id: UUID
    replayed: bool = False


def submit(
    work: UnitOfWork,
    principal: Principal,
    new_jobs: Sequence[NewJob],
    idempotency: IdempotencyKey | None = None,
) -> list[Accepted]:
    """Store jobs, queued, and wake their workers; the answers are in the order given.

    With an idempotency key `work` must be a transaction of several statements, so that a refused repetition stores
    nothing. Raises IdempotencyKeyReused when the key came with another body before.
    """
    ids = [uuid7() for _ in new_jobs]
    digests = [idempotency.of_item(index) if idempotency else None for index in range(len(ids))]
    rows = work.execute(
        SUBMIT,
        (
            *_columns(principal, ids, new_jobs),
            digests,
            [idempotency.request_digest if idempotency else None] * len(ids),
            principal.tenant_id,
            principal.key_id,
            HEADSTARTS,
            principal.tenant_id,
            principal.actor,
        ),
    )
    created = {row[0]: row[1] for row in rows}
    for version_id in {job.model.id for job in new_jobs}:
        work.wake(score_wake_up(version_id))
    if len(created) < len(ids):
        return _first_answers(work, principal, digests, idempotency)
    return [
        Accepted(job_id, created[job_id], job.model.id) for job_id, job in zip(ids, new_jobs, strict=True)
    ]


def _columns(
    principal: Principal, ids: list[UUID], new_jobs: Sequence[NewJob]
) -> tuple[Sequence[object], ...]:
    """The nine columns that a job brings along, as arrays; payload and context sealed."""
    cipher, tenant_id = principal.cipher, principal.tenant_id
    payloads, contexts, subjects = [], [], []
    for job_id, job in zip(ids, new_jobs, strict=True):
        payloads.append(
            None
            if job.payload is None
            else cipher.seal(job.payload, binding("job.payload", tenant_id, job_id))
        )
        contexts.append(_sealed_context(principal, job_id, job))
        subjects.append(cipher.blind_index(job.subject) if job.subject is not None else None)
    return (
        ids,
        [job.model.id for job in new_jobs],
        [f"model:{job.model.name}@{job.model.version}" for job in new_jobs],
        [int(job.priority) for job in new_jobs],
        [job.deadline_at for job in new_jobs],
        [job.upload_id for job in new_jobs],
        payloads,
        contexts,
        subjects,
    )


def _sealed_context(principal: Principal, job_id: UUID, job: NewJob) -> bytes | None:
    if job.subject is None and not job.metadata:
        return None
    content = to_json({"subject": job.subject, "metadata": job.metadata})
    return principal.cipher.seal(content, binding("job.context", principal.tenant_id, job_id))


def _first_answers(
    work: UnitOfWork,
    principal: Principal,
    digests: Sequence[bytes | None],
    idempotency: IdempotencyKey | None,
) -> list[Accepted]:
    """The answers that this key got the first time."""
    found = {row[0]: row[1:] for row in work.execute(FIRST_ANSWERS, (principal.tenant_id, list(digests)))}
    if idempotency is None or any(
        digest not in found or found[digest][0] != idempotency.request_digest for digest in digests
    ):
        raise IdempotencyKeyReused
    first = [found[digest] for digest in digests]
    return [Accepted(row[1], row[2], row[3], replayed=True) for row in first]
