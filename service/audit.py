"""The audit trail: appends events and reads them back. Sealing and proofs come on top of these rows.

Every event is added in the transaction of what it records. The database writes its time, canonical bytes and
leaf hash (see the first migration), so hot statements insert events with plain SQL. No event holds patient data.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from service import rows
from service.db import Param, UnitOfWork

LEAF_PREFIX = b"\x00"

APPEND = """
INSERT INTO audit_event (tenant_id, job_id, batch_id, actor, action, object, detail)
VALUES (%(tenant_id)s, %(job_id)s, %(batch_id)s, %(actor)s, %(action)s, %(object)s, %(detail)s)
"""
TRAIL = """
SELECT id, occurred_at, actor, action, object, detail, leaf FROM audit_event
WHERE {column} = %(subject_id)s AND tenant_id = %(tenant_id)s AND (%(after)s::uuid IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(limit)s
"""
OF_JOB = TRAIL.format(column="job_id")
OF_BATCH = TRAIL.format(column="batch_id")


class Action(StrEnum):
    """What an audit event records."""

    JOB_SUBMITTED = "job.submitted"
    JOB_READY = "job.ready"
    JOB_CLAIMED = "job.claimed"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_EXPIRED = "job.expired"
    JOB_QUARANTINED = "job.quarantined"
    JOB_RELEASED = "job.released"
    JOB_RETRIED = "job.retried"
    JOB_RESCUED = "job.rescued"
    JOB_REQUEUED = "job.requeued"
    JOB_RESUBMITTED = "job.resubmitted"
    JOB_OVERDUE = "job.overdue"
    RESULT_READ = "result.read"
    ARTIFACT_READ = "artifact.read"
    TEXT_READ = "text.read"
    BATCH_OPENED = "batch.opened"
    BATCH_VALIDATED = "batch.validated"
    BATCH_STARTED = "batch.started"
    BATCH_PROGRESSED = "batch.progressed"
    BATCH_PAUSED = "batch.paused"
    BATCH_RESUMED = "batch.resumed"
    BATCH_FINALIZING = "batch.finalizing"
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    BATCH_CANCELED = "batch.canceled"
    BATCH_EXPIRED = "batch.expired"
    BATCH_AT_RISK = "batch.at_risk"
    BATCH_OUTPUT_READ = "batch.output_read"
    CHUNK_RESCUED = "batch.chunk_rescued"
    CHUNK_QUARANTINED = "batch.chunk_quarantined"
    CHUNK_PUT_OFF = "batch.chunk_put_off"
    STEP_PUT_OFF = "batch.step_put_off"
    SOURCE_AWAITED = "batch.source_awaited"
    SCHEDULE_CREATED = "schedule.created"
    SCHEDULE_CHANGED = "schedule.changed"
    SCHEDULE_DELETED = "schedule.deleted"
    SCHEDULE_RUN_FAILED = "schedule.run_failed"
    ENDPOINT_CREATED = "webhook.endpoint_created"
    ENDPOINT_CHANGED = "webhook.endpoint_changed"
    ENDPOINT_DELETED = "webhook.endpoint_deleted"
    ENDPOINT_DISABLED = "webhook.endpoint_disabled"
    SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 - a name
    DELIVERIES_REPLAYED = "webhook.deliveries_replayed"
    PING = "webhook.ping"
    UPLOAD_STORED = "upload.stored"
    MODEL_PUBLISHED = "model.published"
    MODEL_PROMOTED = "model.promoted"
    TENANT_CREATED = "tenant.created"
    TENANT_WEIGHED = "tenant.weighed"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"


@dataclass(frozen=True)
class AuditEvent:
    """One event as read back. `leaf` is its SHA-256 leaf hash in hexadecimal."""

    id: UUID
    occurred_at: datetime
    actor: str
    action: str
    object: str | None
    detail: dict[str, Any]
    leaf: str


def append(
    work: UnitOfWork,
    action: Action,
    *,
    actor: str,
    tenant_id: UUID | None = None,
    job_id: UUID | None = None,
    batch_id: UUID | None = None,
    subject: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add one event to the transaction of `work`. `subject` names what was acted on when it is no job."""
    work.execute(
        APPEND,
        {
            "tenant_id": tenant_id,
            "job_id": job_id,
            "batch_id": batch_id,
            "actor": actor,
            "action": action,
            "object": subject,
            "detail": Jsonb(detail or {}),
        },
    )


def events_of_job(
    work: UnitOfWork,
    *,
    tenant_id: UUID,
    job_id: UUID,
    after: UUID | None = None,
    limit: int = 100,
) -> list[AuditEvent]:
    """The trail of one job, oldest first, from behind `after`."""
    return _trail(work, OF_JOB, subject_id=job_id, tenant_id=tenant_id, after=after, limit=limit)


def events_of_batch(
    work: UnitOfWork,
    *,
    tenant_id: UUID,
    batch_id: UUID,
    after: UUID | None = None,
    limit: int = 100,
) -> list[AuditEvent]:
    """The trail of one batch, oldest first, from behind `after`."""
    return _trail(work, OF_BATCH, subject_id=batch_id, tenant_id=tenant_id, after=after, limit=limit)


def _trail(work: UnitOfWork, query: str, **params: Param) -> list[AuditEvent]:
    return [rows.build(AuditEvent, row, leaf=row.leaf.hex()) for row in work.execute(query, params)]


def leaf_of(canon: bytes) -> bytes:
    """RFC 9162 leaf hash of canonical event bytes: SHA-256(0x00 | canon), 32 bytes."""
    return hashlib.sha256(LEAF_PREFIX + canon).digest()


def read_canon(canon: bytes) -> dict[str, Any]:
    """The fields that canonical event bytes state."""
    fields: dict[str, Any] = json.loads(canon)
    return fields
