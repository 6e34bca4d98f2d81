"""Migrations that broke off half-way, and processes that migrate at the same time."""

import threading
import time

import sqlalchemy as sa
from alembic.migration import MigrationContext

from migrations.check import drift
from service.revision import needed_revision
from service.schema import MIGRATION_LOCK, migrate, migration_engine, schema_revisions, unmigrate

LOCK = sa.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
BROKEN_INDEXES = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
SNAPSHOTS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
"""


def answer(url: str, statement: str) -> object:
    """What a lone statement answers, or None."""
    with migration_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        found = connection.execute(sa.text(statement))
        return found.scalar() if found.returns_rows else None


def test_every_step_back_can_be_taken_forward_again(database_url: str) -> None:
    for revision in ("0003", "0001", "base"):
        unmigrate(database_url, revision)
        migrate(database_url)
        assert drift(database_url) == []


def test_the_needed_revision_is_the_newest_that_alembic_knows(database_url: str) -> None:
    with migration_engine(database_url).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    assert heads == (needed_revision(),)


def test_a_migration_that_broke_off_while_it_built_an_index_is_taken_up_again(database_url: str) -> None:
    answer(database_url, "UPDATE alembic_version SET version_num = '0001'")
    answer(
        database_url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_job_promise'::regclass"
    )
    migrate(database_url)
    current, needed = schema_revisions(database_url)
    assert current == needed
    assert answer(database_url, BROKEN_INDEXES) == 0
    assert drift(database_url) == []


def test_whoever_waits_to_migrate_holds_up_no_index_that_is_being_built(database_url: str) -> None:
    """Building an index concurrently waits for every snapshot; a waiting statement would hold one."""
    second = threading.Thread(target=migrate, args=(database_url,))
    with migration_engine(database_url).connect() as first:
        first.execute(LOCK)
        first.commit()
        second.start()
        seen = []
        until = time.monotonic() + 1
        while time.monotonic() < until:
            seen.append(answer(database_url, SNAPSHOTS))
            time.sleep(0.02)
        assert second.is_alive()
    second.join(timeout=10)
    assert not second.is_alive()
    assert seen.count(0) > len(seen) / 2
