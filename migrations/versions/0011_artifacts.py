"""Artifacts of results, and the blobs that are to be removed.

Works while the previous release runs, which knows nothing of the tables.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the tables."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "artifact",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("location", sa.Text()),
        sa.Column("data_key", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_artifact"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_artifact_job_id"),
        sa.CheckConstraint("size_bytes >= 0", name="ck_artifact_size"),
        sa.CheckConstraint(
            "(content IS NULL) = (location IS NOT NULL) AND (content IS NULL) = (data_key IS NOT NULL)",
            name="ck_artifact_one_place",
        ),
        if_not_exists=True,
    )
    op.create_table(
        "blob_removal",
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("location", name="pk_blob_removal"),
        if_not_exists=True,
    )
    op.create_index("ix_blob_removal_due_at", "blob_removal", ["due_at"], if_not_exists=True)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("blob_removal", if_exists=True)
    op.drop_table("artifact", if_exists=True)
