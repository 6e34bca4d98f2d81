"""Parts of a job's input that are stored apart: files beside it, and results of other jobs.

Works while the previous release runs: it submits no job with parts, and its workers are not to meet one before they are gone.
Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None

# The previous release would score them without their parts.
END_WITH_PARTS = """
WITH canceled AS (
    UPDATE job SET state = 'canceled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL, blocked = false
    WHERE state IN ('waiting', 'queued', 'running') AND id IN (SELECT job_id FROM job_input)
    RETURNING id, tenant_id, attempt, fence
)
INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
SELECT tenant_id, id, 'operator:downgrade', 'job.canceled', jsonb_build_object('attempt', attempt, 'fence', fence) FROM canceled
"""


def upgrade() -> None:
    """Add the table."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "job_input",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("upload_id", sa.Uuid()),
        sa.Column("source_job_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_job_input"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_job_input_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name="fk_job_input_upload_id"),
        sa.CheckConstraint(
            "num_nonnulls(payload, upload_id, source_job_id) = 1", name="ck_job_input_one_source"
        ),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Cancel the jobs that have parts and have not ended, and drop the table."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(END_WITH_PARTS)
    op.drop_table("job_input", if_exists=True)
