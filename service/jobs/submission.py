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
from service.webhooks import endpoints

# A lone case is a row of plain parameters, many are arrays: building arrays of one costs more CPU than the rest.
COLUMN_TYPES = {
    "id": "uuid",
    "tenant_id": "uuid",
    "submitted_by": "text",
    "model_version_id": "uuid",
    "model": "text",
    "priority": "smallint",
    "deadline_at": "timestamptz",
    "promised_s": "float8",
    "upload_id": "uuid",
    "payload": "bytea",
    "context": "bytea",
    "subject_digest": "bytea",
    "idempotency_digest": "bytea",
    "request_digest": "bytea",
    "callback_endpoint_id": "uuid",
    "callback": "bytea",
    "traceparent": "text",
}
ONE = "SELECT {}".format(", ".join(f"%s::{kind} AS {name}" for name, kind in COLUMN_TYPES.items()))
BINARY = {"uuid", "bytea"}  # twice as long as text
MANY = "SELECT * FROM unnest({}) AS given ({})".format(
    ", ".join(f"{'%b' if kind in BINARY else '%s'}::{kind}[]" for kind in COLUMN_TYPES.values()),
    ", ".join(COLUMN_TYPES),
)

SUBMIT = """
WITH given AS (
    {given}
), fresh AS (
    INSERT INTO job (id, tenant_id, submitted_by, model_version_id, priority, rank_at, deadline_at, promise_at,
                     upload_id, payload, context, subject_digest, idempotency_digest, request_digest,
                     callback_endpoint_id, callback, traceparent)
    SELECT id, tenant_id, submitted_by, model_version_id, priority,
           now() + make_interval(secs => (ARRAY[{headstarts}])[priority + 1]), deadline_at,
           now() + make_interval(secs => promised_s), upload_id,
           payload, context, subject_digest, idempotency_digest, request_digest,
           callback_endpoint_id, callback, traceparent
    FROM given
    ON CONFLICT (tenant_id, idempotency_digest) WHERE idempotency_digest IS NOT NULL DO NOTHING
    RETURNING id, tenant_id, submitted_by, created_at
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, object)
    SELECT fresh.tenant_id, fresh.id, 'key:' || fresh.submitted_by, 'job.submitted', given.model
    FROM fresh JOIN given USING (id)
)
SELECT id, created_at FROM fresh
"""

HEADSTARTS = ", ".join(str(PRIORITY_HEADSTART_S[priority]) for priority in Priority)
SUBMIT_ONE = SUBMIT.format(given=ONE, headstarts=HEADSTARTS)
SUBMIT_MANY = SUBMIT.format(given=MANY, headstarts=HEADSTARTS)

FIRST_ANSWERS = """
SELECT idempotency_digest, request_digest, id, created_at, model_version_id FROM job
WHERE tenant_id = %s AND idempotency_digest = ANY(%s::bytea[])
"""


@dataclass(frozen=True)
class Callback:
    """Where the caller of one job wants to be told of its end: a URL that was judged, and the endpoint of its origin."""

    endpoint_id: UUID
    url: str


@dataclass(frozen=True)
class NewJob:
    """A checked case on its way in. `payload` is the pipeline's canonical input, or `upload_id` names the file."""

    principal: Principal
    model: PublishedModel
    position: int = 0  # in the request that brought it
    payload: bytes | None = None
    upload_id: UUID | None = None
    priority: Priority = Priority.ROUTINE
    deadline_at: datetime | None = None
    subject: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    callback: Callback | None = None
    traceparent: str | None = None


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
    work: UnitOfWork, new_jobs: Sequence[NewJob], idempotency: IdempotencyKey | None = None
) -> list[Accepted]:
    """Store jobs, queued, and wake their workers; the answers are in the order given.

    The jobs may be different callers'.

    With an idempotency key, which is one caller's, `work` must be a transaction of several statements, so that a
    refused repetition stores nothing. Raises IdempotencyKeyReused when the key came with another body before.
    """
    ids = [uuid7() for _ in new_jobs]
    digests = [idempotency.of_item(job.position) if idempotency else None for job in new_jobs]
    request_digest = idempotency.request_digest if idempotency else None
    given = [
        (*_row(job_id, job), digest, request_digest if digest else None, *_callback(job_id, job))
        for job_id, job, digest in zip(ids, new_jobs, digests, strict=True)
    ]
    columns = given[0] if len(given) == 1 else [list(column) for column in zip(*given, strict=True)]
    rows = work.execute(SUBMIT_ONE if len(given) == 1 else SUBMIT_MANY, columns)
    created = {row[0]: row[1] for row in rows}
    for version_id in {job.model.id for job in new_jobs}:
        work.wake(score_wake_up(version_id))
    if len(created) < len(ids):
        return _first_answers(work, new_jobs, idempotency)
    return [
        Accepted(job_id, created[job_id], job.model.id) for job_id, job in zip(ids, new_jobs, strict=True)
    ]


def _row(job_id: UUID, job: NewJob) -> tuple[object, ...]:
    """The columns that a job brings along; payload and context sealed."""
    cipher, tenant_id = job.principal.cipher, job.principal.tenant_id
    payload = job.payload
    return (
        job_id,
        tenant_id,
        job.principal.key_id,
        job.model.id,
        f"model:{job.model.name}@{job.model.version}",
        int(job.priority),
        job.deadline_at,
        job.model.manifest.runtime.promised_s,
        job.upload_id,
        None if payload is None else cipher.seal(payload, binding("job.payload", tenant_id, job_id)),
        _sealed_context(job_id, job),
        None if job.subject is None else cipher.blind_index(job.subject),
    )


def _callback(job_id: UUID, job: NewJob) -> tuple[object, ...]:
    """Whom to tell of the end, and the trace that the submit was part of."""
    if job.callback is None:
        return None, None, job.traceparent
    sealed = endpoints.seal_callback(job.principal, job_id, job.callback.url)
    return job.callback.endpoint_id, sealed, job.traceparent


def _sealed_context(job_id: UUID, job: NewJob) -> bytes | None:
    if job.subject is None and not job.metadata:
        return None
    content = to_json({"subject": job.subject, "metadata": job.metadata})
    return job.principal.cipher.seal(content, binding("job.context", job.principal.tenant_id, job_id))


def earlier(
    work: UnitOfWork, principal: Principal, idempotency: IdempotencyKey, *, count: int
) -> dict[int, Accepted]:
    """The answers that this key got before, by position in the request, of `count` items.

    Raises IdempotencyKeyReused when it came with another body.
    """
    positions = {idempotency.of_item(position): position for position in range(count)}
    found = {}
    for digest, request_digest, *answer in work.execute(
        FIRST_ANSWERS, (principal.tenant_id, list(positions))
    ):
        if request_digest != idempotency.request_digest:
            raise IdempotencyKeyReused
        found[positions[digest]] = Accepted(answer[0], answer[1], answer[2], replayed=True)
    return found


def _first_answers(
    work: UnitOfWork, new_jobs: Sequence[NewJob], idempotency: IdempotencyKey | None
) -> list[Accepted]:
    """The answers to a request whose twin was faster."""
    assert idempotency is not None  # only its index keeps a job out
    found = earlier(work, new_jobs[0].principal, idempotency, count=1 + max(job.position for job in new_jobs))
    if any(job.position not in found for job in new_jobs):
        raise IdempotencyKeyReused
    return [found[job.position] for job in new_jobs]
