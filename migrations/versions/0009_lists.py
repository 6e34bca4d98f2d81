"""Lists of jobs, batches and deliveries by any of their filters read a page from one index, however much there is.

Works while the previous release runs: its lists, which go by id, walk the primary keys until it is gone. Safe to run again
after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None

NEWEST = ("created_at", "id")
NOT_RUNNING = "state <> 'running'"
OF_SUBJECT = "subject_digest IS NOT NULL"
# Name, table, columns, condition.
Indexes = tuple[tuple[str, str, tuple[str, ...], str | None], ...]
AFTER: Indexes = (
    ("ix_job_created", "job", ("tenant_id", *NEWEST), None),
    ("ix_job_listed", "job", ("tenant_id", "model_version_id", "state", *NEWEST), NOT_RUNNING),
    ("ix_job_subject_created", "job", ("tenant_id", "subject_digest", *NEWEST), OF_SUBJECT),
    ("ix_batch_created", "batch", ("tenant_id", *NEWEST), None),
    ("ix_batch_state", "batch", ("tenant_id", "state", *NEWEST), None),
    ("ix_webhook_delivery_created", "webhook_delivery", ("tenant_id", *NEWEST), None),
    (
        *("ix_webhook_delivery_listed", "webhook_delivery"),
        *(("endpoint_id", "event_type", "state", *NEWEST), NOT_RUNNING),
    ),
)
BEFORE: Indexes = (
    ("ix_job_newest", "job", ("tenant_id", "id DESC"), None),
    ("ix_job_subject", "job", ("tenant_id", "subject_digest", "id DESC"), OF_SUBJECT),
    ("ix_batch_newest", "batch", ("tenant_id", "id DESC"), None),
    ("ix_webhook_delivery_newest", "webhook_delivery", ("tenant_id", "id DESC"), None),
)


def upgrade() -> None:
    """Exchange the indexes."""
    _exchange(BEFORE, AFTER)


def downgrade() -> None:
    """Go back to those of before."""
    _exchange(AFTER, BEFORE)


def _exchange(before: Indexes, after: Indexes) -> None:
    with op.get_context().autocommit_block():
        for name, table, columns, where in after:
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                [sa.text(column) for column in columns],
                postgresql_where=None if where is None else sa.text(where),
                postgresql_concurrently=True,
            )
        for name, table, *_ in before:
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
