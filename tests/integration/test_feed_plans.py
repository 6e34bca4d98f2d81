"""Pages of the feed at 250,000 events of which a third is flagged: of any types, one page is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from service.accounts import Principal
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import PUBLISHED_ACTIONS
from service.webhooks import endpoints, feed, history
from service.webhooks.feed import NOWHERE, Place
from tests import factories
from tests.conftest import TEMPLATE, fresh_database

EVENTS, FEW = 250_000, 3_000
PAGE = 100
BLOCKS = 1_000  # of 8 KiB; all of the events are five times as many
# A type that is published by its flag alone, as all later ones are.
LATER = "job.later"

# Three events a transaction, as long ago as there are. What is frequent is interleaved; failed batches are the oldest, and
# expired jobs the newest. The first half is of before there was a flag.
FILL = """
INSERT INTO audit_event (id, occurred_at, tenant_id, actor, action, canon, leaf, xact_id, published)
SELECT lpad(to_hex(n), 32, '0')::uuid, now(), CASE WHEN n %% 100 = 50 THEN %(other)s::uuid ELSE %(tenant)s::uuid END,
       'test', action, '', '', n / 3 - 5000000,
       n > %(count)s / 2 AND action = ANY ('{job.succeeded,job.later,job.expired}')
FROM (SELECT n, CASE WHEN n < 5 THEN 'batch.failed' WHEN n > %(count)s - 5 THEN 'job.expired'
                     WHEN n > %(count)s / 2 AND n %% 1000 = 9 THEN %(later)s
                     WHEN n %% 3 = 0 THEN 'job.succeeded' WHEN n %% 3 = 1 THEN 'job.submitted' ELSE 'job.claimed' END AS action
      FROM generate_series(0, %(count)s - 1) AS n) AS numbered
"""
READ = """
SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint FROM pg_statio_user_tables
WHERE relname = 'audit_event'
"""
# A session may keep what it read to itself for a while; what filled the trail would then be counted as a page's.
REPORT = "SELECT pg_stat_force_next_flush()"
PLAIN = """
SELECT id FROM audit_event WHERE tenant_id = %s AND action = ANY (%s) AND (xact_id, id) > (%s, %s)
ORDER BY xact_id, id LIMIT %s
"""
TYPES: tuple[tuple[str, ...], ...] = (
    *((action,) for action in (*PUBLISHED_ACTIONS, LATER)),
    ("batch.failed", "job.expired"),
    (*PUBLISHED_ACTIONS, LATER),
)


@dataclass(frozen=True)
class Trail:
    """A database with a long trail, and who reads its feed."""

    count: int
    database: Database
    opened: "psycopg.Connection[Any]"
    caller: Principal
    other: Principal

    def pages(self) -> Iterator[tuple[Principal, Place, tuple[str, ...]]]:
        """Every page that is looked at: of these types, from the start, the middle and the end."""
        for place in (0, self.count // 2, self.count - 2):
            for types in TYPES:
                for caller in (self.caller, self.other):
                    yield caller, Place(place // 3 - 5_000_000, NOWHERE), types

    def page(self, caller: Principal, after: Place, types: tuple[str, ...]) -> list[UUID]:
        """The ids of a page of the feed."""
        with self.database.statement() as work:
            return [event.id for event in feed.read(work, caller, after, types=types, limit=PAGE)[0]]

    def blocks(self, call: Callable[[], object]) -> int:
        """Blocks of the trail that a call reads, by the plans that its session keeps."""
        before = self._read()
        call()
        with self.database.statement() as work:
            work.execute(REPORT)
        return self._read() - before

    def _read(self) -> int:
        found = self.opened.execute(READ).fetchone()
        assert found is not None
        return int(found[0])


@contextmanager
def trail_of(template: Any, count: int) -> Iterator[Trail]:
    """Filled, and without statistics of what was filled in."""
    with fresh_database(template, TEMPLATE) as url, psycopg.connect(url, autocommit=True) as opened:
        others_database, keyring = Database(url), Keyring(factories.MASTER_KEY)
        caller = factories.principal(others_database, keyring)
        other = factories.principal(others_database, keyring, tenant="other")
        others_database.close()
        opened.execute("ALTER TABLE audit_event SET (autovacuum_enabled = false)")
        opened.execute("SET session_replication_role = replica")
        who = {"tenant": caller.tenant_id, "other": other.tenant_id}
        opened.execute(FILL, who | {"count": count, "later": LATER})
        opened.execute(REPORT)
        database = Database(url, pool_size=1)  # each connection reports for itself what it read
        yield Trail(count, database, opened, caller, other)
        database.close()


@pytest.fixture(scope="module")
def trail(template: Any) -> Iterator[Trail]:
    """A long one."""
    with trail_of(template, EVENTS) as made:
        yield made


def dearest(trail: Trail) -> tuple[int, str]:
    """The most blocks that any page reads, and which it is."""
    return max((trail.blocks(partial(trail.page, *page)), str(page[1:])) for page in trail.pages())


def test_a_page_of_any_types_reads_a_page_by_plans_made_without_statistics(trail: Trail) -> None:
    blocks, page = dearest(trail)
    assert blocks <= BLOCKS, page


def test_a_page_of_any_types_reads_a_page_by_plans_made_with_statistics(trail: Trail) -> None:
    trail.opened.execute("VACUUM ANALYZE audit_event")
    trail.opened.execute(REPORT)
    blocks, page = dearest(trail)
    assert blocks <= BLOCKS, page


def test_a_replay_reads_events_of_the_types_that_the_endpoint_asks_for(trail: Trail) -> None:
    now = datetime.now(UTC)
    with trail.database.transaction() as work:
        endpoint, _ = endpoints.create(
            work, trail.caller, url="https://here.test/", event_types=("batch.failed",), description=""
        )
    trail.opened.execute("UPDATE webhook_endpoint SET created_at = %s", (now - timedelta(days=1),))

    def replay() -> None:
        with trail.database.transaction() as work:
            assert history.replay_range(
                work, trail.caller, endpoint.id, since=now - timedelta(days=1), until=now, states=[]
            ) == (0, 5)

    assert trail.blocks(replay) <= BLOCKS


def test_the_pages_of_the_feed_are_what_a_plain_search_finds(template: Any) -> None:
    with trail_of(template, FEW) as trail:
        for caller, after, types in trail.pages():
            wanted = caller.tenant_id, list(types), after.xact_id, after.event_id, PAGE
            found = trail.opened.execute(PLAIN, wanted).fetchall()
            assert trail.page(caller, after, types) == [row[0] for row in found], types
