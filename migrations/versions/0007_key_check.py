"""Which master key a database belongs to, and why processes do not take work.

Works while the previous release runs: it knows neither table. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

NOW = sa.text("now()")


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "key_check",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_key_check_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_check")),
        if_not_exists=True,
    )
    op.create_table(
        "process_fault",
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("setting", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("process", "name", name=op.f("pk_process_fault")),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_table("process_fault", if_exists=True)
    op.drop_table("key_check", if_exists=True)
