"""Proves the migrations: up, no drift against service.orm, down, up again. `python -m migrations.check`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from service.embedded import embedded_servers
from service.orm import Row
from service.schema import migrate, migration_engine, unmigrate


def drift(url: str) -> list[object]:
    """Differences between the migrated schema and the mapped classes; empty when they agree."""
    with migration_engine(url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, Row.metadata))


def leftovers(url: str) -> list[str]:
    """Tables, functions and types that a full downgrade left behind."""
    query = """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
                   AND relname <> 'alembic_version_pkc'
               UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
               UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'"""
    with migration_engine(url).connect() as connection:
        return list(connection.execute(sa.text(query)).scalars())


def check(url: str) -> list[str]:
    """Everything wrong with the migrations, on an empty database at `url`."""
    migrate(url)
    faults = [f"drift: {difference}" for difference in drift(url)]
    unmigrate(url, "base")
    faults += [f"left by downgrade: {name}" for name in leftovers(url)]
    migrate(url)
    return faults


def main() -> int:
    """Check against servers of our own; prints what is wrong."""
    with TemporaryDirectory() as folder, embedded_servers(Path(folder), fsync=False) as urls:
        faults = check(urls.database_url)
    sys.stdout.write("\n".join(faults or ["migrations: up, no drift, down, up"]) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
