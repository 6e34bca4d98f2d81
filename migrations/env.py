"""Runs migrations against MEDQUEUE_DATABASE_URL, or the connection handed over by service.schema."""

from alembic import context
from sqlalchemy import Connection

from service.config import Settings
from service.orm import Row
from service.schema import migration_engine


def run() -> None:
    """Upgrade or downgrade; a waiting lock gives up instead of stalling the service."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run_over(connection)
        return
    with migration_engine(Settings.from_environment().database_url).connect() as opened:
        _run_over(opened)


def _run_over(connection: Connection) -> None:
    """A transaction for each migration, which one that builds an index concurrently may leave and come back to."""
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
