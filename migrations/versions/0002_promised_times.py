"""Promised times of jobs, and when they were found to have passed.

Works while the previous release runs: it leaves both columns empty, and a job without a promise is never overdue.
Safe to run again after it broke off: what is there stays, but for an index whose building failed.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

TIME = sa.DateTime(timezone=True)
INDEX = "ix_job_promise"


def upgrade() -> None:
    """Add promise_at and overdue_at, and the index of promises that may still be broken."""
    for name in ("promise_at", "overdue_at"):
        op.add_column("job", sa.Column(name, TIME), if_not_exists=True)
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "job", postgresql_concurrently=True, if_exists=True)
        # Of queued jobs only, so that a claim adds no entry; running ones are few and found through ix_job_lease.
        op.create_index(
            INDEX,
            "job",
            ["promise_at"],
            postgresql_where=sa.text("state = 'queued' AND overdue_at IS NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Forget promises; events of the audit trail stay."""
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "job", postgresql_concurrently=True, if_exists=True)
    for name in ("promise_at", "overdue_at"):
        op.drop_column("job", name, if_exists=True)
