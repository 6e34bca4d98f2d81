"""Webhooks: endpoints, their secrets, deliveries and tries; the order in which events became visible.

Works while the previous release runs: it fills `xact_id` through its default and plans no deliveries. Safe to run again
after it broke off.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("uuidv7()")
FEED = "ix_audit_event_feed"
PUBLISHED = (
    "'job.succeeded', 'job.failed', 'job.canceled', 'job.expired', 'job.quarantined', 'job.overdue', "
    "'batch.started', 'batch.progressed', 'batch.completed', 'batch.failed', 'batch.at_risk'"
)
STATES = ("queued", "running", "delivered", "dead")


def upgrade() -> None:
    """Add the tables, what a job says of its callback, and the feed of events."""
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table("webhook_endpoint"):
        _create_endpoints()
        _create_deliveries()
    for name, kind in (
        ("callback_endpoint_id", sa.Uuid()),
        ("callback", sa.LargeBinary()),
        ("traceparent", sa.Text()),
    ):
        op.add_column("job", sa.Column(name, kind), if_not_exists=True)
    # Without a default first: rows that exist are not rewritten, and stay out of the feed.
    op.add_column("audit_event", sa.Column("xact_id", sa.BigInteger()), if_not_exists=True)
    op.alter_column("audit_event", "xact_id", server_default=sa.text("pg_current_xact_id()::text::bigint"))
    with op.get_context().autocommit_block():
        op.drop_index(FEED, "audit_event", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            FEED,
            "audit_event",
            ["tenant_id", "xact_id", "id"],
            postgresql_where=sa.text(f"action IN ({PUBLISHED})"),
            postgresql_concurrently=True,
        )


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'enabled'"), nullable=False),
        sa.Column("disabled_because", sa.Text()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", TIME),
        sa.Column("closed_until", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_webhook_endpoint_tenant_id"),
        sa.CheckConstraint("kind IN ('registered', 'callback')", name="ck_webhook_endpoint_kind"),
        sa.CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="ck_webhook_endpoint_state"),
        sa.CheckConstraint(
            "(failures > 0) = (failing_since IS NOT NULL)", name="ck_webhook_endpoint_failing"
        ),
    )
    op.create_index("ix_webhook_endpoint_tenant", "webhook_endpoint", ["tenant_id", sa.text("id DESC")])
    op.create_index(
        "uq_webhook_endpoint_callback",
        "webhook_endpoint",
        ["tenant_id", "url"],
        unique=True,
        postgresql_where=sa.text("kind = 'callback'"),
    )
    op.create_table(
        "webhook_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid()),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("expires_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_secret"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_webhook_secret_tenant_id"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoint.id"], name="fk_webhook_secret_endpoint_id"
        ),
    )
    op.create_index("ix_webhook_secret_owner", "webhook_secret", ["tenant_id", "endpoint_id", "created_at"])


def _create_deliveries() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("available_at", TIME, server_default=NOW, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("lease_expires_at", TIME),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "state",
            postgresql.ENUM(*STATES, name="delivery_state"),
            server_default=sa.text("'queued'"),
            nullable=False,
        ),
        sa.Column("lease_owner", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoint.id"], name="fk_webhook_delivery_endpoint_id"
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_expires_at IS NOT NULL)",
            name="ck_webhook_delivery_lease_while_running",
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_owner IS NOT NULL)", name="ck_webhook_delivery_owner_while_running"
        ),
        sa.CheckConstraint(
            "(state IN ('delivered', 'dead')) = (finished_at IS NOT NULL)",
            name="ck_webhook_delivery_finished_when_ended",
        ),
    )
    op.create_index("uq_webhook_delivery_once", "webhook_delivery", ["endpoint_id", "event_id"], unique=True)
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint_id", "available_at"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_webhook_delivery_lease",
        "webhook_delivery",
        ["lease_expires_at"],
        postgresql_where=sa.text("lease_expires_at IS NOT NULL"),
    )
    op.create_index("ix_webhook_delivery_newest", "webhook_delivery", ["tenant_id", sa.text("id DESC")])
    op.create_index(
        "ix_webhook_delivery_job",
        "webhook_delivery",
        ["job_id"],
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_table(
        "webhook_try",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("excerpt", sa.Text()),
        sa.PrimaryKeyConstraint("delivery_id", "fence", name="pk_webhook_try"),
        sa.ForeignKeyConstraint(["delivery_id"], ["webhook_delivery.id"], name="fk_webhook_try_delivery_id"),
        sa.CheckConstraint("(status IS NULL) <> (error IS NULL)", name="ck_webhook_try_one_outcome"),
    )


def downgrade() -> None:
    """Forget webhooks; events of the audit trail stay."""
    with op.get_context().autocommit_block():
        op.drop_index(FEED, "audit_event", postgresql_concurrently=True, if_exists=True)
    op.drop_column("audit_event", "xact_id", if_exists=True)
    for name in ("callback_endpoint_id", "callback", "traceparent"):
        op.drop_column("job", name, if_exists=True)
    for table in ("webhook_try", "webhook_delivery", "webhook_secret", "webhook_endpoint"):
        op.drop_table(table, if_exists=True)
    op.execute("DROP TYPE IF EXISTS delivery_state")
