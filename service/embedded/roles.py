"""The roles of the embedded Postgres: who may do what, made and kept at every start.

* `medqueue`, the administrator, made with the cluster. Only the stack itself uses it, to keep the other two.
* `medqueue_owner` owns the database and what is in it, and migrates it.
* `medqueue_app` is the application: it reads and writes rows, only adds to the audit trail, and owns nothing.

Clusters of releases that had the administrator alone are converted: what it owns in the database goes to the owner.
"""

from collections.abc import Mapping

import psycopg
from psycopg import sql

from service.grants import APPEND_ONLY

DATABASE = "medqueue"
ADMINISTRATOR = "medqueue"
OWNER = "medqueue_owner"
APPLICATION = "medqueue_app"

ORDINARY = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

# A sequence that belongs to a column changes owner with its table.
OWNED = """
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       format('%%I.%%I', nspname, relname)
FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
WHERE nspname = 'public' AND relowner = to_regrole(%(role)s) AND relkind IN ('r', 'p', 'S', 'v', 'm')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND relkind = 'S'
                    AND deptype IN ('a', 'i'))
UNION ALL
SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = to_regnamespace('public') AND proowner = to_regrole(%(role)s)
UNION ALL
SELECT 'TYPE', format('%%I.%%I', 'public', typname) FROM pg_type
WHERE typnamespace = to_regnamespace('public') AND typowner = to_regrole(%(role)s) AND typtype IN ('e', 'd')
"""
GRANTS = f"""
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APPLICATION};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {APPLICATION};
DO $$ BEGIN IF to_regclass('public.{APPEND_ONLY}') IS NOT NULL THEN
    REVOKE UPDATE, DELETE ON public.{APPEND_ONLY} FROM {APPLICATION}; END IF; END $$
"""  # noqa: S608 - composed of constants


def make_roles(server: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Make owner, application and the database where they are missing, and set the passwords.

    `server` is the administrator's connection to another database, each statement a transaction of its own.
    """
    for role, password in passwords.items():
        known = server.execute("SELECT FROM pg_roles WHERE rolname = %(role)s", {"role": role}).rowcount
        change = "ALTER" if known else "CREATE"
        options = sql.SQL(f"{change} ROLE {{}} {ORDINARY} PASSWORD {{}}")
        server.execute(options.format(sql.Identifier(role), sql.Literal(password)))
    if server.execute("SELECT FROM pg_database WHERE datname = %(name)s", {"name": DATABASE}).rowcount == 0:
        server.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    else:
        server.execute(f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}")


def hand_over(database: psycopg.Connection) -> None:
    """Give the owner what the administrator owns in the database, and the application its rights, in one transaction."""
    with database.transaction():
        for kind, name in database.execute(OWNED, {"role": ADMINISTRATOR}).fetchall():
            database.execute(f"ALTER {kind} {name} OWNER TO {OWNER}".encode())
        database.execute(GRANTS.encode())
