"""The statements on texts that are being written, among many jobs: each reads what it returns and no more."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from service import leases
from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs import partial_texts
from service.leases import Lease
from tests import factories
from tests.conftest import TEMPLATE, fresh_database
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.test_query_plans import FILL, LIMIT, rows_touched

QUEUED = 20_000


@pytest.fixture
def full(template: Any) -> Iterator[tuple[Database, Principal, PublishedModel]]:
    """A database with many fresh jobs."""
    with fresh_database(template, TEMPLATE) as url:
        database = Database(url, queue=FakeTaskQueue())
        caller = factories.principal(database, Keyring(factories.MASTER_KEY))
        model = factories.published(database, MemoryBlobStore())
        with psycopg.connect(url, autocommit=True) as opened:
            opened.execute("SET session_replication_role = replica")
            same = {"tenant": caller.tenant_id, "model": model.id}
            opened.execute(FILL, same | {"count": QUEUED, "attempt": 0, "delay": "0 s"})
            opened.execute("VACUUM ANALYZE job")
        yield database, caller, model
        database.close()


def test_texts_that_are_being_written_touch_the_jobs_that_write_them(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, caller, model = full
    held = [job.lease for job in factories.claimed(database, model, limit=LIMIT, retries_first=False)]
    ended = [Lease(job_id, 1) for job_id in factories.submitted(database, caller, model, LIMIT)]
    written = leases.columns(held) | {"payloads": [b"\x00"] * LIMIT}
    with database.statement() as work:
        partial_texts.write(work, [(lease, b"\x00") for lease in held])
    with database.transaction() as work:
        for lease in ended:
            work.execute("INSERT INTO job_partial_text VALUES (%s, 1, '\\x00')", (lease.id,))
    asked = {"job_id": held[0].id, "tenant_id": caller.tenant_id, "actor": "test", "recorded": False}
    assert rows_touched(database, partial_texts.WRITE, written) == LIMIT
    assert rows_touched(database, partial_texts.READ, asked) == 1
    assert rows_touched(database, partial_texts.READ, asked, table="job_partial_text") == 1
    assert rows_touched(database, partial_texts.SWEEP) == 2 * LIMIT
    with database.statement() as work:
        partial_texts.sweep(work)
    with database.statement() as work:
        left = [row.job_id for row in work.execute("SELECT job_id FROM job_partial_text ORDER BY 1")]
    assert left == sorted(lease.id for lease in held)
