"""Every end of a batch is told of; endpoints know since when they ask for an event; schedules wait for a late source.

Works while the previous release runs: it leaves the new columns alone, and the new index serves its feed as well. Safe to
run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

BEFORE, AFTER = "ix_audit_event_feed", "ix_audit_event_published"
ENDS = (
    *("job.succeeded", "job.failed", "job.canceled", "job.expired", "job.quarantined", "job.overdue"),
    *("batch.started", "batch.progressed", "batch.at_risk", "batch.completed", "batch.failed"),
)
NEW = ("batch.canceled", "batch.expired")


def upgrade() -> None:
    """Add the columns, and exchange the index of the feed."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    since = sa.Column("subscribed_at", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'"))
    op.add_column("webhook_endpoint", since, if_not_exists=True)
    op.add_column("batch_schedule", sa.Column("wait_for_source_s", sa.Integer()), if_not_exists=True)
    op.add_column("batch", sa.Column("source_by", sa.DateTime(timezone=True)), if_not_exists=True)
    _exchange_index(BEFORE, AFTER, (*ENDS, *NEW))


def downgrade() -> None:
    """Go back to the index and the columns of before."""
    _exchange_index(AFTER, BEFORE, ENDS)
    op.drop_column("batch", "source_by", if_exists=True)
    op.drop_column("batch_schedule", "wait_for_source_s", if_exists=True)
    op.drop_column("webhook_endpoint", "subscribed_at", if_exists=True)


def _exchange_index(before: str, after: str, actions: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{action}'" for action in actions)
    with op.get_context().autocommit_block():
        op.drop_index(after, "audit_event", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            after,
            "audit_event",
            ["tenant_id", "xact_id", "id"],
            postgresql_where=sa.text(f"action IN ({listed})"),
            postgresql_concurrently=True,
        )
        op.drop_index(before, "audit_event", postgresql_concurrently=True, if_exists=True)
