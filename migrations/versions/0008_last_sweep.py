"""When the scheduler last finished its sweeps, so that the API and operators see when no scheduler runs.

Works while the previous release runs, which knows nothing of the table.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table of one row."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "last_sweep",
        sa.Column("single", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("swept_by", sa.Text(), nullable=False),
        sa.Column("every_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("single", name="pk_last_sweep"),
        sa.CheckConstraint("single", name="ck_last_sweep_single"),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("last_sweep", if_exists=True)
