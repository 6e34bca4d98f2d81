"""What webhooks cost the statements that end jobs and those that send: what is read is what is sent, not what there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from service import backlog
from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs import execution
from service.webhooks import deliveries, endpoints, feed
from tests import factories
from tests.acceptance.stack import JOB_EVENTS
from tests.conftest import TEMPLATE, fresh_database
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.reading import rows_read

OTHER_ENDPOINTS = 3_000
BACKLOG = 100_000
BATCH = 64
TABLES = ("webhook_endpoint", "webhook_delivery", "webhook_secret", "audit_event", "job")

FILL_ENDPOINTS = """
INSERT INTO webhook_endpoint (tenant_id, kind, url, event_types)
SELECT %s, 'registered', 'https://elsewhere.test/' || n, '{job.failed}' FROM generate_series(1, %s) AS n
"""
FILL_EVENTS = """
INSERT INTO audit_event (id, occurred_at, tenant_id, actor, action, canon, leaf)
SELECT uuidv7(make_interval(secs => n * -0.0001)), now(), %s, 'test', 'job.failed', '', '' FROM generate_series(1, %s) AS n
"""
FILL_DELIVERIES = """
INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, state, finished_at)
SELECT tenant_id, %s, id, action, %s::delivery_state, CASE %s WHEN 'delivered' THEN now() END
FROM audit_event WHERE action = 'job.failed' AND tenant_id = %s
"""


@dataclass
class Crowd:
    """A tenant with two endpoints, one of them with a long backlog, among thousands of others'."""

    database: Database
    opened: "psycopg.Connection[Any]"
    caller: Principal
    model: PublishedModel
    slow: UUID
    quick: UUID


@pytest.fixture(scope="module")
def crowd(template: Any) -> Iterator[Crowd]:
    with fresh_database(template, TEMPLATE) as url:
        database, keyring = Database(url, queue=FakeTaskQueue()), Keyring(factories.MASTER_KEY)
        caller = factories.principal(database, keyring)
        other = factories.principal(database, keyring, tenant="other")
        model = factories.published(database, MemoryBlobStore())
        with database.transaction() as work:
            ids = [
                endpoints.create(
                    work, caller, url=f"https://here.test/{n}", event_types=JOB_EVENTS, description=""
                )[0].id
                for n in range(2)
            ]
        direct = url
        with psycopg.connect(direct, autocommit=True) as opened:
            for table in TABLES:
                opened.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
            opened.execute(FILL_ENDPOINTS, (other.tenant_id, OTHER_ENDPOINTS))
            opened.execute("SET session_replication_role = replica")
            opened.execute(FILL_EVENTS, (caller.tenant_id, BACKLOG))
            for endpoint_id, state in zip(ids, ("queued", "delivered"), strict=True):
                opened.execute(FILL_DELIVERIES, (endpoint_id, state, state, caller.tenant_id))
            yield Crowd(database, opened, caller, model, *ids)
        database.close()


def cost(crowd: Crowd, call: Any) -> dict[str, int]:
    """Rows read of each table by `call`, which runs in a session of its own."""
    before = rows_read(crowd.opened, *TABLES)
    call()
    crowd.database.close()  # ends the session, which reports what it read
    after = rows_read(crowd.opened, *TABLES)
    return {table: after[table] - before[table] for table in TABLES}


def test_ending_jobs_reads_the_endpoints_of_their_tenant_only(crowd: Crowd) -> None:
    factories.submitted(crowd.database, crowd.caller, crowd.model, BATCH)
    held = [job.lease for job in factories.claimed(crowd.database, crowd.model, limit=BATCH)]

    def end() -> None:
        endings = [execution.Ending(lease, problem=execution.Problem("x", "y")) for lease in held]
        with crowd.database.statement() as work:
            assert len(execution.end(work, endings, owner="w1", runtime="r", provider="p")) == BATCH

    read = cost(crowd, end)
    assert read["webhook_endpoint"] <= 2 + 2 * BATCH  # and the foreign key of each delivery
    assert read["webhook_delivery"] == 0


def test_a_claim_reads_what_it_claims(crowd: Crowd) -> None:
    def claim() -> None:
        with crowd.database.statement() as work:
            claimed = deliveries.claim(
                work, limit=BATCH, free=256, busy={}, per_endpoint=16, owner="w1", lease_s=30.0
            )
        assert len(claimed) >= 16

    read = cost(crowd, claim)
    assert read["webhook_delivery"] <= 8 * BATCH
    assert read["webhook_endpoint"] <= 8
    assert read["audit_event"] <= BATCH
    assert read["webhook_secret"] <= 2 * BATCH


def test_the_sweeps_read_nothing_of_the_backlog(crowd: Crowd) -> None:
    def sweep() -> None:
        with crowd.database.statement() as work:
            deliveries.rescue(work)
        with crowd.database.statement() as work:
            deliveries.bury(work)
        with crowd.database.statement() as work:
            assert deliveries.due(work)

    read = cost(crowd, sweep)
    assert read["webhook_delivery"] <= 40
    assert read["webhook_endpoint"] <= 16


def test_the_metrics_count_up_to_a_bound_and_look_at_one_delivery_of_each_endpoint(crowd: Crowd) -> None:
    read = cost(crowd, lambda: backlog.exposition(crowd.database, "redis://127.0.0.1:1/0"))
    assert read["webhook_delivery"] <= backlog.COUNTED + 40
    assert read["webhook_endpoint"] <= 16


def test_a_page_of_the_feed_reads_a_page(crowd: Crowd) -> None:
    start = feed.Place(0, feed.NOWHERE)

    def page() -> None:
        with crowd.database.statement() as work:
            events, _ = feed.read(work, crowd.caller, start, types=("job.failed",), limit=50)
        assert len(events) == 50

    assert cost(crowd, page)["audit_event"] <= 51
