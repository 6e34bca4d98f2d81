"""Why a batch's work was put off: a step says it as chunks do, and a batch finds the chunks that say it.

Works while the previous release runs: it leaves the column empty. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

INDEX = "ix_batch_chunk_put_off"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("batch_step", sa.Column("problem", postgresql.JSONB()), if_not_exists=True)
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "batch_chunk", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            INDEX,
            "batch_chunk",
            ["batch_id", "available_at"],
            postgresql_where=sa.text("problem IS NOT NULL AND finished_at IS NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Forget why; events of the audit trail stay."""
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "batch_chunk", postgresql_concurrently=True, if_exists=True)
    op.drop_column("batch_step", "problem", if_exists=True)
