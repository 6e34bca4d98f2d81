"""Workers take the fresh jobs of a model from one tenant after the other: an index by tenant, and each tenant's weight.

Works while the previous release runs, whose workers claim more slowly the more jobs are queued, since the index in the order
of all tenants' jobs is gone. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None

BEFORE, AFTER = "ix_job_fresh", "ix_job_fresh_of_tenant"


def upgrade() -> None:
    """Add the weights, exchange the index."""
    op.execute("SET lock_timeout = '5s'")
    op.execute(
        "ALTER TABLE tenant ADD COLUMN IF NOT EXISTS weight smallint NOT NULL DEFAULT 1 "
        "CONSTRAINT ck_tenant_weight CHECK (weight BETWEEN 1 AND 100)"
    )
    _exchange(BEFORE, AFTER, ["model_version_id", "tenant_id", "rank_at", "id"])


def downgrade() -> None:
    """Go back to one order for all."""
    op.execute("SET lock_timeout = '5s'")
    _exchange(AFTER, BEFORE, ["model_version_id", "rank_at", "id"])
    op.execute("ALTER TABLE tenant DROP COLUMN IF EXISTS weight")


def _exchange(before: str, after: str, columns: list[str]) -> None:
    with op.get_context().autocommit_block():
        op.drop_index(after, "job", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            after,
            "job",
            columns,
            postgresql_where=sa.text("state = 'queued' AND attempt = 0"),
            postgresql_concurrently=True,
        )
        op.drop_index(before, "job", postgresql_concurrently=True, if_exists=True)
