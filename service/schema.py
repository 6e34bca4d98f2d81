"""The version of the database's schema: brings it up to date, asks for it. The only module that knows Alembic.

Apart from db, for an import of Alembic takes as long as that of everything else a worker needs of the database.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from service.db import driver_url
from service.revision import needed_revision

MIGRATION_LOCK = 0x6D6564710001
MIGRATION_LOCK_ASKED_EVERY_S = 0.1


def migration_engine(url: str) -> sa.Engine:
    """An engine without a pool, whose statements give up waiting for a lock after five seconds."""
    return sa.create_engine(
        driver_url(url), poolclass=sa.NullPool, connect_args={"options": "-c lock_timeout=5000"}
    )


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Processes that start together take turns."""
    with _migrating(url) as config:
        command.upgrade(config, revision)


def unmigrate(url: str, revision: str) -> None:
    """Take the schema back to `revision`; `base` removes it all."""
    with _migrating(url) as config:
        command.downgrade(config, revision)


def schema_revisions(url: str) -> tuple[str | None, str | None]:
    """The revision that the database has and the one this code needs."""
    with migration_engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision(), needed_revision()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _migrating(url: str) -> Iterator[Config]:
    engine = migration_engine(url)
    config = _alembic_config()
    with engine.connect() as connection:
        _take_turn(connection)
        config.attributes["connection"] = connection
        try:
            yield config
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(sa.text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
            connection.commit()
    engine.dispose()


def _take_turn(connection: sa.Connection) -> None:
    """Get the migration lock, which ends with the session of whoever holds it.

    Asked for again and again: a statement that waits for it holds a snapshot, and an index that is built concurrently
    by the holder waits for that snapshot, so that neither would end.
    """
    taken = sa.text("SELECT pg_try_advisory_lock(:lock)")
    while not connection.execute(taken, {"lock": MIGRATION_LOCK}).scalar():
        connection.commit()
        time.sleep(MIGRATION_LOCK_ASKED_EVERY_S)
    connection.commit()
