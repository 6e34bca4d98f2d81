"""Mapped classes: the whole schema on one page. Holds no rules and runs no queries.

What SQLAlchemy cannot express (triggers, storage settings) is in the migrations.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.lifecycle import (
    ENDED_BATCH_STATES,
    ENDED_STATES,
    FINAL_STATES,
    PUBLISHED_BEFORE_FLAG,
    BatchState,
    ChunkState,
    DeliveryState,
    JobState,
    Origin,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
NOW = text("now()")
NEW_ID = text("uuidv7()")


ENDED_BATCH = ", ".join(f"'{state}'" for state in BatchState if state in ENDED_BATCH_STATES)


def _quoted(states: frozenset[JobState]) -> str:
    return ", ".join(f"'{state}'" for state in JobState if state in states)


class Row(DeclarativeBase):
    """Base of all mapped classes."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as declared
        datetime: DateTime(timezone=True),
        str: Text,
        bytes: LargeBinary,
        UUID: Uuid,
        dict[str, Any]: JSONB,
    }


NOT_READ_BACK = {"eager_defaults": False}  # rows are stored before a migration has added a column, too


class Tenant(Row):
    """An organisation whose jobs, keys and data are kept apart from all others.

    `weight` is how many of its jobs a worker takes in each turn, when several tenants have some queued for a model.
    """

    __tablename__ = "tenant"
    __table_args__ = (CheckConstraint("weight BETWEEN 1 AND 100", name="weight"),)
    __mapper_args__ = NOT_READ_BACK

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(unique=True)
    data_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    weight: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))


class KeyCheck(Row):
    """The one row that says which master key this database belongs to: a known text, sealed under that key."""

    __tablename__ = "key_check"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProcessFault(Row):
    """Why a process of any host does not take work. Rows that are not reported again are stale."""

    __tablename__ = "process_fault"

    process: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    setting: Mapped[str]
    cause: Mapped[str]
    advice: Mapped[str]
    reported_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKey(Row):
    """A caller's credential: the id is public, of the secret only a digest is kept."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), index=True)
    name: Mapped[str]
    secret_digest: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class ModelVersion(Row):
    """A published bundle. Its rows never change."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    name: Mapped[str]
    version: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    card: Mapped[str]
    published_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ModelAlias(Row):
    """A movable name of a model version, such as `stable`."""

    __tablename__ = "model_alias"

    name: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Upload(Row):
    """A file in the encrypted blob store, with its own data key wrapped by the master key."""

    __tablename__ = "upload"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_upload_sizes", "tenant_id", "created_at", postgresql_include=["size_bytes"]),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    location: Mapped[str]
    data_key: Mapped[bytes]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Job(Row):
    """One case to score. `payload`, `options` and `context` are sealed by service.crypto.

    Tenants and model versions are never deleted, which a trigger enforces. So rows written at the rate of jobs carry no
    foreign keys to them: those cost a third of a submit (docs/decisions/0007).

    `rank_at` orders the queue (see lifecycle.PRIORITY_HEADSTART_S); `claim_size` is the number of jobs in the claim
    that holds or last held this one. `promise_at` is when its result is promised, empty for jobs of releases that did
    not record it; `overdue_at` is when a sweep found that this time had passed.

    A waiting job is `blocked` while a job that it waits for has not succeeded (JobAfter). `followed` says that others wait
    for this one, `depth` is 0 for a job that waits for none, else greater than that of each unended one that it waits for:
    the trigger `job_ended` locks rows in this order. `abstained` says of a success whether its model gave no answer; empty
    for results of releases that did not record it.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_while_running"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="owner_while_running"),
        CheckConstraint(
            f"(state IN ({_quoted(ENDED_STATES)})) = (finished_at IS NOT NULL)", name="finished_when_ended"
        ),
        CheckConstraint("(payload IS NULL) <> (upload_id IS NULL)", name="one_input"),
        CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
        CheckConstraint("attempt >= 0 AND crash_count >= 0 AND fence >= attempt", name="counters"),
        CheckConstraint("(idempotency_digest IS NULL) = (request_digest IS NULL)", name="idempotency"),
        Index(
            "ix_job_fresh_of_tenant",
            "model_version_id",
            "tenant_id",
            "rank_at",
            "id",
            postgresql_where=text("state = 'queued' AND attempt = 0"),
        ),
        Index(
            "ix_job_retry",
            "model_version_id",
            "available_at",
            postgresql_where=text("state = 'queued' AND attempt > 0"),
        ),
        Index("ix_job_due", "available_at", postgresql_where=text("state = 'waiting' AND NOT blocked")),
        Index("ix_job_waiting", "deadline_at", "tenant_id", postgresql_where=text("state = 'waiting'")),
        Index("ix_job_lease", "lease_expires_at", postgresql_where=text("lease_expires_at IS NOT NULL")),
        Index(
            "ix_job_deadline",
            "deadline_at",
            postgresql_where=text("state = 'queued' AND deadline_at IS NOT NULL"),
        ),
        Index(
            "ix_job_promise",
            "promise_at",
            postgresql_where=text("state = 'queued' AND overdue_at IS NULL"),
        ),
        # Without those that run, so that a claim adds no entry.
        Index("ix_job_newest", "tenant_id", "created_at", "id", postgresql_where=text("state <> 'running'")),
        Index(
            *("ix_job_listed", "tenant_id", "model_version_id", "state", "created_at", "id"),
            postgresql_where=text("state <> 'running'"),
        ),
        Index(
            *("ix_job_subject_created", "tenant_id", "subject_digest", "created_at", "id"),
            postgresql_where=text("subject_digest IS NOT NULL"),
        ),
        Index(
            "uq_job_idempotency",
            "tenant_id",
            "idempotency_digest",
            unique=True,
            postgresql_where=text("idempotency_digest IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    model_version_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    rank_at: Mapped[datetime]
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deadline_at: Mapped[datetime | None]
    promise_at: Mapped[datetime | None]
    overdue_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    crash_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    claim_size: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    state: Mapped[JobState] = mapped_column(
        Enum(JobState, name="job_state", values_callable=lambda states: [state.value for state in states]),
        server_default=text("'queued'"),
    )
    priority: Mapped[int] = mapped_column(SmallInteger)
    submitted_by: Mapped[str]
    lease_owner: Mapped[str | None]
    upload_id: Mapped[UUID | None] = mapped_column(ForeignKey("upload.id"))
    payload: Mapped[bytes | None]
    options: Mapped[bytes | None]
    context: Mapped[bytes | None]
    subject_digest: Mapped[bytes | None]
    idempotency_digest: Mapped[bytes | None]
    request_digest: Mapped[bytes | None]
    problem: Mapped[dict[str, Any] | None]
    callback_endpoint_id: Mapped[UUID | None]
    callback: Mapped[bytes | None]
    traceparent: Mapped[str | None]
    depth: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    followed: Mapped[bool] = mapped_column(server_default=text("false"))
    abstained: Mapped[bool | None]
    not_before: Mapped[datetime | None]
    origin: Mapped[Origin] = mapped_column(
        Enum(Origin, name="job_origin", values_callable=lambda origins: [origin.value for origin in origins]),
        server_default=text("'caller'"),
    )


class JobAfter(Row):
    """A job and one of those that it waits for, in the order in which they were given. Rows stay."""

    __tablename__ = "job_after"
    __table_args__ = (Index("ix_job_after_predecessor", "predecessor_id", "job_id"),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    predecessor_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)


class JobInput(Row):
    """A part of a job's input that is stored apart: a file, sealed or an upload, or the job whose result it is. Rows stay.

    Only jobs of models whose pipeline has parts have such rows; `payload` is sealed by service.crypto.
    """

    __tablename__ = "job_input"
    __table_args__ = (
        CheckConstraint("num_nonnulls(payload, upload_id, source_job_id) = 1", name="one_source"),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    payload: Mapped[bytes | None]
    upload_id: Mapped[UUID | None] = mapped_column(ForeignKey("upload.id"))
    source_job_id: Mapped[UUID | None]


class JobResult(Row):
    """What a job answered; at most one row a job. `payload` is sealed by service.crypto."""

    __tablename__ = "job_result"

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    fence: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    runtime: Mapped[str]
    provider: Mapped[str]
    payload: Mapped[bytes]


class JobPartialText(Row):
    """What a running job has written so far, sealed by service.crypto; see service.jobs.partial_texts. Not logged."""

    __tablename__ = "job_partial_text"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[bytes]


class Artifact(Row):
    """A file of a job's result: a small one is `content`, sealed by service.crypto, another a blob with a data key of its own.

    The foreign key refuses to remove a job whose artifacts are still there: see service.jobs.artifacts.
    """

    __tablename__ = "artifact"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint(
            "(content IS NULL) = (location IS NOT NULL) AND (content IS NULL) = (data_key IS NOT NULL)",
            name="one_place",
        ),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    fence: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    content: Mapped[bytes | None]
    location: Mapped[str | None]
    data_key: Mapped[bytes | None]


class BlobRemoval(Row):
    """A blob to remove from the store once it is due, unless its job is still held under the fence that wrote it."""

    __tablename__ = "blob_removal"
    __table_args__ = (Index("ix_blob_removal_due_at", "due_at"),)

    location: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    fence: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[datetime]


class AuditEvent(Row):
    """One line of the audit trail. Rows are only ever added; a trigger fills `occurred_at`, `canon` and `leaf`.

    `canon` is the event as JSON bytes, `leaf` the RFC 9162 leaf hash SHA-256(0x00 | canon). `xact_id` is the transaction
    that wrote the event: events become visible transaction by transaction, and a reader that has seen all of those before
    the oldest one in progress misses none. Events of releases that did not record it are in no feed. `published` says that
    callers are notified of the event: the trigger sets it by the action, and of older events only the action says so.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_job", "job_id", "id", postgresql_where=text("job_id IS NOT NULL")),
        Index(
            "ix_audit_event_feed",
            "tenant_id",
            "action",
            "xact_id",
            "id",
            postgresql_where=text(
                "published OR action IN ({})".format(
                    ", ".join(f"'{action}'" for action in PUBLISHED_BEFORE_FLAG)
                )
            ),
        ),
        Index(
            "uq_audit_event_closing",
            "job_id",
            unique=True,
            postgresql_where=text(
                "action IN ({})".format(
                    ", ".join(f"'job.{state}'" for state in JobState if state in FINAL_STATES)
                )
            ),
        ),
        Index("ix_audit_event_batch", "batch_id", "id", postgresql_where=text("batch_id IS NOT NULL")),
        Index(
            "uq_audit_event_batch_closing",
            "batch_id",
            unique=True,
            postgresql_where=text(
                "action IN ({})".format(
                    ", ".join(f"'batch.{state}'" for state in BatchState if state in ENDED_BATCH_STATES)
                )
            ),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    occurred_at: Mapped[datetime]
    tenant_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    batch_id: Mapped[UUID | None]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    canon: Mapped[bytes]
    leaf: Mapped[bytes]
    xact_id: Mapped[int | None] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    published: Mapped[bool] = mapped_column(server_default=text("false"))


class LastSweep(Row):
    """One row: when a scheduler last ended all its sweeps without a fault, which one, and how often it means to."""

    __tablename__ = "last_sweep"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    swept_at: Mapped[datetime]
    swept_by: Mapped[str]
    every_s: Mapped[float] = mapped_column(Double)


class WebhookEndpoint(Row):
    """Where a tenant wants to be notified. A registered one has a URL of its own; a `callback` one stands for the origin of
    jobs' callback URLs, so that health is kept by receiver. `closed_until` is when it may be tried again, `subscribed_at` since
    when it asks for an event type, where that was not from the beginning.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint("kind IN ('registered', 'callback')", name="kind"),
        CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="state"),
        CheckConstraint("(failures > 0) = (failing_since IS NOT NULL)", name="failing"),
        Index("ix_webhook_endpoint_tenant", "tenant_id", text("id DESC")),
        Index(
            "uq_webhook_endpoint_callback",
            "tenant_id",
            "url",
            unique=True,
            postgresql_where=text("kind = 'callback'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    subscribed_at: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    state: Mapped[str] = mapped_column(server_default=text("'enabled'"))
    disabled_because: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failing_since: Mapped[datetime | None]
    closed_until: Mapped[datetime | None]


class WebhookSecret(Row):
    """A signing secret, sealed by service.crypto. Without an endpoint it signs the tenant's callbacks."""

    __tablename__ = "webhook_secret"
    __table_args__ = (Index("ix_webhook_secret_owner", "tenant_id", "endpoint_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    endpoint_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhook_endpoint.id"))
    secret: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]


class WebhookDelivery(Row):
    """One event on its way to one endpoint, planned in the transaction of the event; at most one row for both."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_while_running"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="owner_while_running"),
        CheckConstraint(
            "(state IN ('delivered', 'dead')) = (finished_at IS NOT NULL)", name="finished_when_ended"
        ),
        Index("uq_webhook_delivery_once", "endpoint_id", "event_id", unique=True),
        Index(
            "ix_webhook_delivery_due",
            "endpoint_id",
            "available_at",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_webhook_delivery_lease",
            "lease_expires_at",
            postgresql_where=text("lease_expires_at IS NOT NULL"),
        ),
        Index("ix_webhook_delivery_created", "tenant_id", "created_at", "id"),
        Index(
            *("ix_webhook_delivery_listed", "endpoint_id", "event_type", "state", "created_at", "id"),
            postgresql_where=text("state <> 'running'"),
        ),
        Index("ix_webhook_delivery_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
        Index("ix_webhook_delivery_batch", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    tenant_id: Mapped[UUID]
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoint.id"))
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    job_id: Mapped[UUID | None]
    batch_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    state: Mapped[DeliveryState] = mapped_column(
        Enum(
            DeliveryState,
            name="delivery_state",
            values_callable=lambda states: [state.value for state in states],
        ),
        server_default=text("'queued'"),
    )
    lease_owner: Mapped[str | None]


class WebhookTry(Row):
    """One attempt to deliver: the receiver's status, or why there was none."""

    __tablename__ = "webhook_try"
    __table_args__ = (CheckConstraint("(status IS NULL) <> (error IS NULL)", name="one_outcome"),)

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_delivery.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tried_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    duration_ms: Mapped[int]
    status: Mapped[int | None]
    error: Mapped[str | None]
    excerpt: Mapped[str | None]


class BatchSchedule(Row):
    """What opens batches repeatedly: a cron expression in a time zone. `request` is sealed by service.crypto.

    Of missed runs only the last is made up for.
    """

    __tablename__ = "batch_schedule"
    __table_args__ = (
        CheckConstraint("(window_hours IS NULL) = (window_zone IS NULL)", name="window"),
        CheckConstraint("deadline_after_s > 0", name="deadline"),
        CheckConstraint("error_limit >= 0", name="error_limit"),
        Index(
            "uq_batch_schedule_name",
            "tenant_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_batch_schedule_due",
            "next_run_at",
            postgresql_where=text("paused_at IS NULL AND deleted_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    cron: Mapped[str]
    zone: Mapped[str]
    model: Mapped[str]
    request: Mapped[bytes]
    window_hours: Mapped[str | None]
    window_zone: Mapped[str | None]
    deadline_after_s: Mapped[int | None]
    wait_for_source_s: Mapped[int | None]
    error_limit: Mapped[int | None] = mapped_column(BigInteger)
    submitted_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    paused_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    next_run_at: Mapped[datetime]
    last_run_at: Mapped[datetime | None]
    last_problem: Mapped[dict[str, Any] | None]


class Batch(Row):
    """A source to score as a whole. `request` (source, format, output, columns to carry) is sealed by service.crypto, as are
    `data_key`, under which its parts are sealed, and `layout`: what validation found out about the source.

    Chunks may be begun within [`open_from`, `open_until`), which the scheduler moves on from night to night. The counters
    are of finished chunks and kept in the transactions that finish them. With `error_limit` the batch stops once more
    rows have failed. `chunk_rows` and `run_rows` are how many rows a chunk and a micro-batch were meant to have. `told_at`
    and `told_tenths` are of the last event of progress, `at_risk_until` is the end of the opening that the last alarm was
    about.
    """

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            f"(state IN ({ENDED_BATCH})) = (finished_at IS NOT NULL)", name="finished_when_ended"
        ),
        CheckConstraint("(window_hours IS NULL) = (window_zone IS NULL)", name="window"),
        CheckConstraint("(idempotency_digest IS NULL) = (request_digest IS NULL)", name="idempotency"),
        CheckConstraint("(schedule_id IS NULL) = (scheduled_for IS NULL)", name="schedule"),
        CheckConstraint("error_limit >= 0", name="error_limit"),
        CheckConstraint(
            "chunks_running >= 0 AND chunks_done >= 0 AND chunks_running + chunks_done <= chunks_total",
            name="chunks",
        ),
        CheckConstraint(
            "rows_succeeded >= 0 AND rows_failed >= 0 AND rows_succeeded + rows_failed <= rows_total",
            name="rows",
        ),
        CheckConstraint(
            "state <> 'completed' OR (rows_succeeded + rows_failed = rows_total AND chunks_done = chunks_total)",
            name="accounted",
        ),
        CheckConstraint("state <> 'paused' OR chunks_running = 0", name="nobody_scores_while_paused"),
        Index("ix_batch_live", "open_from", postgresql_where=text("state IN ('scheduled', 'running')")),
        Index(
            "ix_batch_deadline",
            "deadline_at",
            postgresql_where=text(
                "deadline_at IS NOT NULL AND state IN ('validating', 'scheduled', 'running', 'pausing', 'paused')"
            ),
        ),
        Index("ix_batch_created", "tenant_id", "created_at", "id"),
        Index("ix_batch_state", "tenant_id", "state", "created_at", "id"),
        Index("ix_batch_rerun", "rerun_of", postgresql_where=text("rerun_of IS NOT NULL")),
        Index(
            "uq_batch_run",
            "schedule_id",
            "scheduled_for",
            unique=True,
            postgresql_where=text("schedule_id IS NOT NULL"),
        ),
        Index(
            "uq_batch_idempotency",
            "tenant_id",
            "idempotency_digest",
            unique=True,
            postgresql_where=text("idempotency_digest IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    schedule_id: Mapped[UUID | None] = mapped_column(ForeignKey("batch_schedule.id"))
    scheduled_for: Mapped[datetime | None]
    rerun_of: Mapped[UUID | None] = mapped_column(ForeignKey("batch.id"))
    state: Mapped[BatchState] = mapped_column(
        Enum(
            BatchState, name="batch_state", values_callable=lambda states: [state.value for state in states]
        ),
        server_default=text("'validating'"),
    )
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    scheduled_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    resumed_at: Mapped[datetime | None]
    pausing_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    finalizing_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    window_hours: Mapped[str | None]
    window_zone: Mapped[str | None]
    not_before: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    source_by: Mapped[datetime | None]
    open_from: Mapped[datetime]
    open_until: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    at_risk_until: Mapped[datetime | None]
    source_bytes: Mapped[int | None] = mapped_column(BigInteger)
    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    rows_succeeded: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rows_failed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    error_limit: Mapped[int | None] = mapped_column(BigInteger)
    chunk_rows: Mapped[int | None]
    run_rows: Mapped[int | None]
    chunks_total: Mapped[int | None]
    chunks_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    chunks_running: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    told_tenths: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    submitted_by: Mapped[str]
    request: Mapped[bytes]
    data_key: Mapped[bytes]
    layout: Mapped[bytes | None]
    source_sha256: Mapped[str | None]
    results: Mapped[dict[str, Any] | None]
    errors: Mapped[dict[str, Any] | None]
    idempotency_digest: Mapped[bytes | None]
    request_digest: Mapped[bytes | None]
    problem: Mapped[dict[str, Any] | None]


class _BatchWork:
    """Columns of claimed work that belongs to a batch. `problem` says why it was put off last, or set aside."""

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    batch_id: Mapped[UUID]
    state: Mapped[ChunkState] = mapped_column(
        Enum(
            ChunkState, name="chunk_state", values_callable=lambda states: [state.value for state in states]
        ),
        server_default=text("'queued'"),
    )
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    crash_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    lease_owner: Mapped[str | None]
    problem: Mapped[dict[str, Any] | None]


class BatchStep(_BatchWork, Row):
    """Work on a batch as a whole, once: to validate its source, or to join and account for what was scored."""

    __tablename__ = "batch_step"
    __table_args__ = (
        CheckConstraint("kind IN ('validate', 'finalize')", name="kind"),
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_while_running"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="owner_while_running"),
        CheckConstraint("attempt >= 0 AND crash_count >= 0 AND fence >= attempt", name="counters"),
        Index("uq_batch_step_once", "batch_id", "kind", unique=True),
        Index("ix_batch_step_due", "available_at", postgresql_where=text("state = 'queued'")),
        Index(
            "ix_batch_step_lease", "lease_expires_at", postgresql_where=text("lease_expires_at IS NOT NULL")
        ),
    )

    kind: Mapped[str]


class BatchChunk(_BatchWork, Row):
    """Some seconds' worth of a batch's rows; `seek` says where in the source they are and is sealed by service.crypto.

    `results` and `errors` are its parts in the blob store. Written at the rate of chunks, so without foreign keys. A
    quarantined one killed its worker repeatedly: all its rows count as failed, and finalizing writes their errors.
    """

    __tablename__ = "batch_chunk"
    __table_args__ = (
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_while_running"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="owner_while_running"),
        CheckConstraint(
            "(state IN ('done', 'quarantined')) = (finished_at IS NOT NULL)", name="finished_when_ended"
        ),
        CheckConstraint("attempt >= 0 AND crash_count >= 0 AND fence >= attempt", name="counters"),
        CheckConstraint("number >= 0 AND first_row >= 0 AND rows > 0", name="place"),
        CheckConstraint(
            "rows_succeeded >= 0 AND rows_failed >= 0 AND (finished_at IS NULL OR rows_succeeded + rows_failed = rows)",
            name="accounted",
        ),
        Index("uq_batch_chunk_number", "batch_id", "number", unique=True),
        Index(
            "ix_batch_chunk_due",
            "batch_id",
            "available_at",
            "number",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_batch_chunk_lease", "lease_expires_at", postgresql_where=text("lease_expires_at IS NOT NULL")
        ),
        Index(
            "ix_batch_chunk_finished",
            "batch_id",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "ix_batch_chunk_put_off",
            "batch_id",
            "available_at",
            postgresql_where=text("problem IS NOT NULL AND finished_at IS NULL"),
        ),
    )

    number: Mapped[int]
    first_row: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    rows_succeeded: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    rows_failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    seconds: Mapped[float | None]
    seek: Mapped[bytes]
    results: Mapped[dict[str, Any] | None]
    errors: Mapped[dict[str, Any] | None]
