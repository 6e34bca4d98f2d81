"""What a tenant has uploaded is counted in an index by tenant and time, which has the sizes.

Works while the previous release runs. Safe to run again after it broke off.
"""

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None

BEFORE, AFTER = "ix_upload_tenant_id", "ix_upload_sizes"


def upgrade() -> None:
    """Exchange the index."""
    op.execute("SET lock_timeout = '5s'")
    with op.get_context().autocommit_block():
        op.drop_index(AFTER, "upload", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            AFTER,
            "upload",
            ["tenant_id", "created_at"],
            postgresql_include=["size_bytes"],
            postgresql_concurrently=True,
        )
        op.drop_index(BEFORE, "upload", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    """Go back to the index by tenant."""
    op.execute("SET lock_timeout = '5s'")
    with op.get_context().autocommit_block():
        op.drop_index(BEFORE, "upload", postgresql_concurrently=True, if_exists=True)
        op.create_index(BEFORE, "upload", ["tenant_id"], postgresql_concurrently=True)
        op.drop_index(AFTER, "upload", postgresql_concurrently=True, if_exists=True)
