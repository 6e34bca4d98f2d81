"""Runs migrations against MEDQUEUE_DATABASE_URL, or the connection handed over by service.db."""

from alembic import context

from service.config import Settings
from service.db import migration_engine
from service.orm import Row


def run() -> None:
    """Upgrade or downgrade in one transaction; a waiting lock gives up instead of stalling the service."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        context.configure(connection=connection, target_metadata=Row.metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    with migration_engine(Settings.from_environment().database_url).begin() as opened:
        context.configure(connection=opened, target_metadata=Row.metadata, compare_server_default=True)
        context.run_migrations()


run()
