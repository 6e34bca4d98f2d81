"""The count of queued jobs on real Postgres: right, by index, and no fault of its own."""

from typing import Any

import psycopg

from service.crypto import Keyring
from service.db import Database
from service.jobs import admission, execution, queries
from tests import factories
from tests.conftest import TEMPLATE, fresh_database
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.reading import rows_read
from tests.integration.test_query_plans import FILL

ENDED = 20_000
WAITING = 30


def tally(database: Database) -> admission.Tally:
    with database.statement() as work:
        return admission.queued(work)


def test_an_empty_queue_counts_nothing(database: Database) -> None:
    assert tally(database) == {None: 0}


def test_queued_jobs_are_counted_by_tenant_and_in_all(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model = factories.published(database, blobs)
    first, second = (factories.principal(database, keyring, tenant=name) for name in ("first", "second"))
    factories.submitted(database, first, model, 5)
    (running, put_off) = factories.claimed(database, model, limit=2)
    (canceled, *_) = factories.submitted(database, second, model, 2)
    with database.statement() as work:
        execution.retry(work, [put_off.lease], [600.0], owner="w1", code="x")
    with database.transaction() as work:
        queries.cancel(work, second, canceled)
    assert running.tenant_id == put_off.tenant_id == first.tenant_id
    assert tally(database) == {first.tenant_id: 4, second.tenant_id: 1, None: 5}


def test_a_count_reads_none_of_the_jobs_that_have_ended_whenever_it_was_planned(template: Any) -> None:
    """Its plan is kept from the time when the table was empty."""
    with fresh_database(template, TEMPLATE) as url:
        database = Database(url, queue=FakeTaskQueue(), pool_size=1)
        others = Database(url)
        caller = factories.principal(others, Keyring(factories.MASTER_KEY))
        model = factories.published(others, MemoryBlobStore())
        with psycopg.connect(url, autocommit=True) as opened:
            opened.execute("ALTER TABLE job SET (autovacuum_enabled = false)")
            for _ in range(8):  # psycopg prepares a statement that it has seen five times
                tally(database)
            opened.execute("SET session_replication_role = replica")
            filled = {"tenant": caller.tenant_id, "model": model.id, "attempt": 0, "delay": "0 s"}
            opened.execute(
                "ALTER TABLE job ALTER state SET DEFAULT 'canceled', ALTER finished_at SET DEFAULT now()"
            )
            opened.execute(FILL, filled | {"count": ENDED})
            opened.execute("ALTER TABLE job ALTER state SET DEFAULT 'queued', ALTER finished_at DROP DEFAULT")
            factories.submitted(others, caller, model, WAITING)
            others.close()
            before = rows_read(opened, "job")["job"]
            assert tally(database)[None] == WAITING
            database.close()  # ends the session, which reports what it read
            assert rows_read(opened, "job")["job"] - before < 2 * WAITING
