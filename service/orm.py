"""Mapped classes: the whole schema on one page. Holds no rules and runs no queries.

What SQLAlchemy cannot say (triggers, storage settings) stands in the migrations.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
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

from service.lifecycle import ENDED_STATES, FINAL_STATES, PUBLISHED_ACTIONS, DeliveryState, JobState

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
NOW = text("now()")
NEW_ID = text("uuidv7()")


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


class Tenant(Row):
    """An organisation whose jobs, keys and data are kept apart from all others."""

    __tablename__ = "tenant"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(unique=True)
    data_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


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
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="size"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), index=True)
    location: Mapped[str]
    data_key: Mapped[bytes]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Job(Row):
    """One case to score. `payload` and `context` are sealed by service.crypto.

    Tenants and model versions are never deleted, which a trigger sees to. So rows written at the rate of jobs carry no
    foreign keys to them: those cost a third of a submit (docs/decisions/0007).

    `rank_at` orders the queue (see lifecycle.PRIORITY_HEADSTART_S); `claim_size` is the number of jobs in the claim
    that holds or last held this one. `promise_at` is when its result is promised, empty for jobs of releases that did
    not record it; `overdue_at` is when a sweep found that this time had passed.
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
            "ix_job_fresh",
            "model_version_id",
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
        Index("ix_job_newest", "tenant_id", text("id DESC")),
        Index(
            "ix_job_subject",
            "tenant_id",
            "subject_digest",
            text("id DESC"),
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
    context: Mapped[bytes | None]
    subject_digest: Mapped[bytes | None]
    idempotency_digest: Mapped[bytes | None]
    request_digest: Mapped[bytes | None]
    problem: Mapped[dict[str, Any] | None]
    callback_endpoint_id: Mapped[UUID | None]
    callback: Mapped[bytes | None]
    traceparent: Mapped[str | None]


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


class AuditEvent(Row):
    """One line of the audit trail. Rows are only ever added; a trigger fills `occurred_at`, `canon` and `leaf`.

    `canon` is the event as JSON bytes, `leaf` the RFC 9162 leaf hash SHA-256(0x00 | canon). `xact_id` is the transaction
    that wrote the event: events become visible transaction by transaction, and a reader that has seen all of those before
    the oldest one in progress misses none. Events of releases that did not record it are in no feed.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_job", "job_id", "id", postgresql_where=text("job_id IS NOT NULL")),
        Index(
            "ix_audit_event_feed",
            "tenant_id",
            "xact_id",
            "id",
            postgresql_where=text(
                "action IN ({})".format(", ".join(f"'{action}'" for action in PUBLISHED_ACTIONS))
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
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    occurred_at: Mapped[datetime]
    tenant_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    canon: Mapped[bytes]
    leaf: Mapped[bytes]
    xact_id: Mapped[int | None] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )


class WebhookEndpoint(Row):
    """Where a tenant wants to be told. A registered one has a URL of its own; a `callback` one stands for the origin of
    jobs' callback URLs, so that health is kept by receiver. `closed_until` is when it may be tried again.
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
        Index("ix_webhook_delivery_newest", "tenant_id", text("id DESC")),
        Index("ix_webhook_delivery_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    tenant_id: Mapped[UUID]
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoint.id"))
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    job_id: Mapped[UUID | None]
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
