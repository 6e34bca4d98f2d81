"""The version of the database's schema: reads it and brings it up to date. The only module that knows Alembic.

Apart from db, because importing Alembic takes as long as everything else that a worker needs of the database.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg import sql

from service.postgres_connection import Connection, configure_transaction, connect, engine_of
from service.revision import needed_revision

MIGRATION_LOCK = 0x6D6564710001
MIGRATION_LOCK_ASKED_EVERY_S = 0.1
# Without parameters, hence by the simple protocol: a portal would stay open, and with it the snapshot.
TAKE_TURN = sql.SQL("SELECT pg_try_advisory_xact_lock({})").format(MIGRATION_LOCK)
SETTINGS = {"lock_timeout": "5000", "idle_in_transaction_session_timeout": "0"}


def migration_engine(url: str) -> sa.Engine:
    """An engine without a pool, whose statements give up waiting for a lock after five seconds."""
    return engine_of(url, SETTINGS, poolclass=sa.NullPool)


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
    with connect(url, SETTINGS) as holder, engine.connect() as connection:
        _take_turn(holder)
        config.attributes["connection"] = connection
        yield config
        connection.commit()
    engine.dispose()


def _take_turn(holder: Connection) -> None:
    """Get the migration lock, which ends with the transaction that is left open: a pooler keeps no session.

    Polled: a statement that waits for it holds a snapshot, and an index that is built concurrently
    by its holder waits for that snapshot, so that neither would end.
    """
    holder.autocommit = False
    while True:
        configure_transaction(holder, SETTINGS)
        if holder.execute(TAKE_TURN).fetchone() == (True,):
            return
        holder.rollback()
        time.sleep(MIGRATION_LOCK_ASKED_EVERY_S)
