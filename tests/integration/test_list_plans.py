"""Pages of lists at 250,000 ended jobs: by each filter, and by those that a runbook puts together, one page is read.

What is looked for is rare, old, and not spread alike over tenants: a walk from the newest on would read everything.
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from service.accounts import Principal
from service.batches import queries as batches
from service.batches.queries import BatchFilter
from service.crypto import Keyring
from service.db import Database
from service.jobs import queries as jobs
from service.jobs.queries import JobFilter
from service.lifecycle import BatchState, DeliveryState, JobState
from service.webhooks import history
from service.webhooks.history import DeliveryFilter
from tests import factories
from tests.conftest import TEMPLATE, fresh_database

PAGE = 51
BLOCKS = 2_000  # of 8 KiB; all of the jobs are many times as many

# The rarest things are the oldest. `n` counts from the oldest on, a second each.
JOBS = """
INSERT INTO job (id, tenant_id, model_version_id, created_at, rank_at, priority, submitted_by, payload, attempt, fence, state,
                 started_at, finished_at, lease_expires_at, lease_owner, subject_digest)
SELECT lpad(to_hex(%(first)s + n), 32, '0')::uuid, %(tenant)s,
       CASE WHEN n < 5 THEN %(rare_model)s::uuid ELSE %(model)s::uuid END,
       %(begin)s::timestamptz + n * interval '1 s', now(), 1, 'test', '', 1, 1, state, now(),
       CASE WHEN state NOT IN ('waiting', 'queued', 'running') THEN now() END, CASE state WHEN 'running' THEN now() END,
       CASE state WHEN 'running' THEN 'w1' END, CASE WHEN n %% 100000 = 7 THEN %(subject)s::bytea END
FROM (SELECT n, CASE WHEN n < 60 THEN (enum_range(NULL::job_state))[1 + n %% 8] ELSE %(state)s::job_state END AS state
      FROM generate_series(0, %(count)s - 1) AS n) AS numbered
"""
BATCHED = """
INSERT INTO batch (id, tenant_id, model_version_id, state, created_at, finished_at, open_from, submitted_by, request, data_key,
                   schedule_id, scheduled_for, rerun_of, rows_total, chunks_total)
SELECT lpad(to_hex(n), 32, '0')::uuid, %(tenant)s, %(model)s, state, %(begin)s::timestamptz + n * interval '1 s',
       CASE WHEN state IN ('completed', 'failed', 'canceled', 'expired') THEN now() END, now(), 'test', '', '',
       CASE WHEN n < 5 THEN %(schedule)s::uuid END, CASE WHEN n < 5 THEN now() + n * interval '1 day' END,
       CASE WHEN n BETWEEN 5 AND 8 THEN lpad('1', 32, '0')::uuid END, 0, 0
FROM (SELECT n, CASE WHEN n < 60 THEN (enum_range(NULL::batch_state))[1 + n %% 10] ELSE 'completed' END AS state
      FROM generate_series(0, %(count)s - 1) AS n) AS numbered
"""
DELIVERED = """
INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, event_id, event_type, job_id, batch_id, created_at, state,
                              finished_at, lease_expires_at, lease_owner)
SELECT lpad(to_hex(n), 32, '0')::uuid, %(tenant)s, CASE WHEN n %% 50000 = 3 THEN %(quiet)s::uuid ELSE %(busy)s::uuid END,
       lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n < 40 THEN 'batch.failed' ELSE 'job.succeeded' END,
       lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n < 40 THEN lpad('1', 32, '0')::uuid END,
       %(begin)s::timestamptz + n * interval '1 s', state, CASE WHEN state IN ('delivered', 'dead') THEN now() END,
       CASE state WHEN 'running' THEN now() END, CASE state WHEN 'running' THEN 'w1' END
FROM (SELECT n, CASE WHEN n < 60 THEN (enum_range(NULL::delivery_state))[1 + n %% 4] ELSE 'delivered' END AS state
      FROM generate_series(0, %(count)s - 1) AS n) AS numbered
"""
READ = """
SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint FROM pg_statio_user_tables
WHERE relname IN ('job', 'batch', 'webhook_delivery', 'model_version', 'webhook_endpoint')
"""
REPORT = "SELECT pg_stat_force_next_flush()"  # what this session has read so far
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY ('{job,batch,webhook_delivery}'::regclass[]) AND NOT indisprimary
"""
SUBJECT = "case-2041"


@dataclass(frozen=True)
class Sizes:
    """How long the lists are."""

    ended: int
    others: int
    deliveries: int
    batches: int


LARGE = Sizes(ended=250_000, others=50_000, deliveries=100_000, batches=20_000)
SMALL = Sizes(ended=300, others=100, deliveries=200, batches=150)


@dataclass(frozen=True)
class Archive:
    """A database whose lists are long, and what is rare in it."""

    sizes: Sizes
    database: Database
    opened: "psycopg.Connection[Any]"
    caller: Principal
    other: Principal
    begin: datetime
    model: UUID
    rare_model: UUID
    quiet: UUID
    busy: UUID
    schedule: UUID

    def blocks(self, statement: str, params: dict[str, object]) -> int:
        """Blocks that a statement reads, by the plan that its session keeps."""
        before = self._read()
        with self.database.statement() as work:
            work.execute(statement, params)
        with self.database.statement() as work:
            work.execute(REPORT)
        return self._read() - before

    def _read(self) -> int:
        found = self.opened.execute(READ).fetchone()
        assert found is not None
        return int(found[0])


def filled(archive: Archive) -> None:
    """Fill the tables; their indexes are built afterwards, which is quicker."""
    opened = archive.opened
    indexes = opened.execute(INDEXES).fetchall()
    for name, _ in indexes:
        opened.execute(f"DROP INDEX {name}".encode())
    for table in ("job", "batch", "webhook_delivery"):
        opened.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
    opened.execute("SET session_replication_role = replica")
    opened.execute("SET maintenance_work_mem = '256MB'")
    shared = {"begin": archive.begin, "model": archive.model, "rare_model": archive.rare_model}
    mine = shared | {"tenant": archive.caller.tenant_id}
    digest = archive.caller.cipher.blind_index(SUBJECT)
    opened.execute(
        JOBS, mine | {"first": 0, "count": archive.sizes.ended, "state": "succeeded", "subject": digest}
    )
    theirs = {
        "tenant": archive.other.tenant_id,
        "first": archive.sizes.ended,
        "count": archive.sizes.others,
        "state": "failed",
    }
    opened.execute(JOBS, shared | theirs | {"subject": None})
    opened.execute(BATCHED, mine | {"count": archive.sizes.batches, "schedule": archive.schedule})
    opened.execute(
        DELIVERED, mine | {"count": archive.sizes.deliveries, "quiet": archive.quiet, "busy": archive.busy}
    )
    for _, definition in indexes:
        opened.execute(definition.encode())
    opened.execute(REPORT)


@contextmanager
def archive_of(template: Any, sizes: Sizes) -> Iterator[Archive]:
    """Filled, and without statistics of what was filled in."""
    with fresh_database(template, TEMPLATE) as url:
        others_database, keyring = Database(url), Keyring(factories.MASTER_KEY)
        caller = factories.principal(others_database, keyring)
        other = factories.principal(others_database, keyring, tenant="other")
        others_database.close()
        database = Database(url, pool_size=1)  # each connection reports for itself what it read
        direct = url
        with psycopg.connect(direct, autocommit=True) as opened:
            found = opened.execute("SELECT now() - interval '20 days'").fetchone()
            assert found is not None
            made = Archive(sizes, database, opened, caller, other, found[0], *(uuid7() for _ in range(5)))
            opened.execute("SET session_replication_role = replica")
            for version, name in ((made.model, "usual"), (made.rare_model, "rare")):
                values = (version, name, name)
                opened.execute(
                    "INSERT INTO model_version (id, name, version, digest, kind, manifest, card)"
                    " VALUES (%s, %s, '1.0.0', %s, 'diagnosis', '{}', '')",
                    values,
                )
            for endpoint in (made.quiet, made.busy):
                opened.execute(
                    "INSERT INTO webhook_endpoint (id, tenant_id, kind, url, event_types)"
                    " VALUES (%s, %s, 'registered', 'https://x.test', '{}')",
                    (endpoint, caller.tenant_id),
                )
            filled(made)
            yield made
        database.close()


@pytest.fixture(scope="module")
def archive(template: Any) -> Iterator[Archive]:
    """One with long lists."""
    with archive_of(template, LARGE) as made:
        yield made


def times(archive: Archive, count: int) -> list[dict[str, Any]]:
    """No bounds of time, the oldest minutes, and a time in the middle."""
    middle = archive.begin + timedelta(seconds=count / 2)
    return [
        {},
        {"created_before": archive.begin + timedelta(seconds=90)},
        {"created_after": middle, "created_before": middle + timedelta(seconds=20)},
    ]


def job_statements(archive: Archive) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every combination of the filters of GET /v1/jobs, from the start and from the middle of the list."""
    models = (None, [archive.model], [archive.rare_model], [archive.model, archive.rare_model])
    subjects = (None, SUBJECT)
    for caller, before in (
        (archive.caller, None),
        (archive.caller, UUID(int=archive.sizes.ended // 2)),
        (archive.other, None),
    ):
        for state, versions, subject, between in itertools.product(
            (None, *JobState), models, subjects, times(archive, archive.sizes.ended)
        ):
            wanted = replace(JobFilter(state, versions, subject), **between)
            yield (str(wanted), *jobs.list_query(caller, wanted, before=before, limit=PAGE))


def batch_statements(archive: Archive) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every combination of the filters of GET /v1/batches."""
    for state, schedule, rerun_of, between in itertools.product(
        (None, *BatchState),
        (None, archive.schedule),
        (None, UUID(int=1)),
        times(archive, archive.sizes.batches),
    ):
        wanted = replace(BatchFilter(state, schedule, rerun_of), **between)
        for before in (None, UUID(int=archive.sizes.batches // 2)):
            yield (str(wanted), *batches.list_query(archive.caller, wanted, before=before, limit=PAGE))


def delivery_statements(archive: Archive) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every combination of the filters of GET /v1/webhook-deliveries, but of a job and a batch at once."""
    for endpoint, state, kind, job, between in itertools.product(
        (None, archive.quiet, archive.busy),
        (None, *DeliveryState),
        (None, "batch.failed", "job.succeeded"),
        ({}, {"job_id": UUID(int=7)}, {"batch_id": UUID(int=1)}),
        times(archive, archive.sizes.deliveries),
    ):
        wanted = replace(DeliveryFilter(endpoint, state, kind), **job, **between)
        for before in (None, UUID(int=archive.sizes.deliveries // 2)):
            yield (str(wanted), *history.list_query(archive.caller, wanted, before=before, limit=PAGE))


STATEMENTS = {"jobs": job_statements, "batches": batch_statements, "deliveries": delivery_statements}


def dearest(archive: Archive, of: str) -> tuple[int, str]:
    """The most blocks that any of the statements of a list reads, and which it is."""
    found = [(archive.blocks(query, params), wanted) for wanted, query, params in STATEMENTS[of](archive)]
    return max(found)


@pytest.mark.parametrize("of", STATEMENTS)
def test_a_page_reads_a_page_by_plans_made_without_statistics(archive: Archive, of: str) -> None:
    blocks, wanted = dearest(archive, of)
    assert blocks <= BLOCKS, wanted


@pytest.mark.parametrize("of", STATEMENTS)
def test_a_page_reads_a_page_by_plans_made_with_statistics(archive: Archive, of: str) -> None:
    archive.opened.execute("VACUUM ANALYZE job, batch, webhook_delivery")
    archive.opened.execute(REPORT)
    blocks, wanted = dearest(archive, of)
    assert blocks <= BLOCKS, wanted


def test_the_pages_of_every_filter_are_what_a_plain_search_finds(template: Any) -> None:
    with archive_of(template, SMALL) as archive:
        for wanted, query, params in itertools.chain.from_iterable(of(archive) for of in STATEMENTS.values()):
            with archive.database.statement() as work:
                found = [row[0] for row in work.execute(query, params)]
            assert found == plainly_searched(archive, query, params), wanted


PLAIN = """SELECT id FROM {table} WHERE tenant_id = %(tenant_id)s{conditions}
    AND (%(before)s::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM {table} WHERE id = %(before)s))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s"""
OPERATORS = {"created_after": "created_at >= %(created_after)s", "created_before": "created_at < %(created_before)s",
             "versions": "model_version_id = ANY (%(versions)s)", "subject": "subject_digest = %(subject)s"}  # fmt: skip
COLUMNS = ("state", "schedule_id", "rerun_of", "endpoint_id", "event_type", "job_id", "batch_id")


def plainly_searched(archive: Archive, query: str, params: dict[str, object]) -> list[UUID]:
    """The ids that the same filters find when each is one condition of a plain SELECT."""
    table = next(
        name for name in ("webhook_delivery", "batch", "job") if f" FROM {name} WHERE id = ANY" in query
    )
    named = OPERATORS | {column: f"{column}::text = %({column})s::text" for column in COLUMNS}
    conditions = "".join(f" AND {named[name]}" for name in params if name in named)
    if table == "batch" and (state := re.search(r"state = '(\w+)'", query.partition("ANY (ARRAY")[2])):
        conditions += f" AND state = '{state[1]}'"
    statement = PLAIN.format(table=table, conditions=conditions)
    rows = archive.opened.execute(statement.encode(), {"before": None} | params).fetchall()
    return [row[0] for row in rows]
