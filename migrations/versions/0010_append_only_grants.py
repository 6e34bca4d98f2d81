"""Nobody but the owner holds a right to change the audit trail, which its triggers refuse to everybody.

Works while the previous release runs, which only adds to it and reads it.
"""

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

REVOKE = """
DO $$ DECLARE holder text; BEGIN
    FOR holder IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = to_regclass('audit_event') AND grantee <> relowner
            AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
    LOOP
        EXECUTE 'REVOKE UPDATE, DELETE, TRUNCATE ON audit_event FROM ' || holder || ' CASCADE';
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Take the rights from whoever holds them."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(REVOKE)


def downgrade() -> None:
    """Nothing: no release uses them."""
