"""What a job was told beside its input (`options`, sealed), and where it came from (`origin`).

Works while the previous release runs: its jobs are callers' and have no options, and its workers are not to meet options
before they are gone. Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

ORIGINS = ("caller", "batch", "shadow", "replay")


def upgrade() -> None:
    """Add the columns."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    kind = postgresql.ENUM(*ORIGINS, name="job_origin", create_type=False)
    kind.create(op.get_bind(), checkfirst=True)
    origin: sa.Column[str] = sa.Column("origin", kind, server_default=sa.text("'caller'"), nullable=False)
    op.add_column("job", origin, if_not_exists=True)
    op.add_column("job", sa.Column("options", sa.LargeBinary()), if_not_exists=True)


def downgrade() -> None:
    """Forget both."""
    op.drop_column("job", "options", if_exists=True)
    op.drop_column("job", "origin", if_exists=True)
    op.execute("DROP TYPE IF EXISTS job_origin")
