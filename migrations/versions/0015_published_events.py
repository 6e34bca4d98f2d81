"""Which events callers are notified of is a flag of the event, so that a new type of event needs no new index.

The trigger that seals an event sets the flag from a list: a later type is added to the list. Events of before keep what they
are, sealed and not rewritten: the index accepts their types by name. It leads with the type, for readers of rare types.
Works while the previous release runs: its events get the flag too, and the new index serves its feed. Safe to run again after
it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None

BEFORE, AFTER = "ix_audit_event_published", "ix_audit_event_feed"
PUBLISHED = (
    "action IN ('job.succeeded', 'job.failed', 'job.canceled', 'job.expired', 'job.quarantined', 'job.overdue', "
    "'batch.started', 'batch.progressed', 'batch.at_risk', 'batch.completed', 'batch.failed', 'batch.canceled', "
    "'batch.expired')"
)
SEAL_EVENT = r"""
CREATE OR REPLACE FUNCTION audit_event_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.occurred_at := clock_timestamp();{flag}
    NEW.canon := convert_to(
        '{{"action":' || to_json(NEW.action)::text
        || ',"actor":' || to_json(NEW.actor)::text
        || coalesce(',"batch_id":"' || NEW.batch_id::text || '"', '')
        || ',"detail":' || NEW.detail::text
        || ',"id":"' || NEW.id::text
        || '","job_id":' || coalesce('"' || NEW.job_id::text || '"', 'null')
        || ',"object":' || coalesce(to_json(NEW.object)::text, 'null')
        || ',"occurred_at":"' || to_char(NEW.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","tenant_id":' || coalesce('"' || NEW.tenant_id::text || '"', 'null') || '}}', 'UTF8');
    NEW.leaf := sha256('\x00'::bytea || NEW.canon);
    RETURN NEW;
END $$;
"""
FLAG = f"""
    NEW.published := NEW.{PUBLISHED};"""


def upgrade() -> None:
    """Add the flag, have it set, and exchange the index of the feed."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    flag: sa.Column[bool] = sa.Column(
        "published", sa.Boolean(), server_default=sa.text("false"), nullable=False
    )
    op.add_column("audit_event", flag, if_not_exists=True)
    op.execute(SEAL_EVENT.format(flag=FLAG))
    _exchange_index(BEFORE, AFTER, ["tenant_id", "action", "xact_id", "id"], f"published OR {PUBLISHED}")


def downgrade() -> None:
    """Go back to the index of before. The flag is forgotten."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(SEAL_EVENT.format(flag=""))
    _exchange_index(AFTER, BEFORE, ["tenant_id", "xact_id", "id"], PUBLISHED)
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("audit_event", "published", if_exists=True)


def _exchange_index(before: str, after: str, columns: list[str], where: str) -> None:
    with op.get_context().autocommit_block():
        op.drop_index(after, "audit_event", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            after, "audit_event", columns, postgresql_where=sa.text(where), postgresql_concurrently=True
        )
        op.drop_index(before, "audit_event", postgresql_concurrently=True, if_exists=True)
