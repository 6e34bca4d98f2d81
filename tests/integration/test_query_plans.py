"""The hot statements at 250,000 queued jobs: each reads what it returns and no more."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from models.pipelines import Artifact
from service import leases, probes
from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database, UnitOfWork
from service.jobs import artifacts, delays, execution, inputs, predecessors, queries, submission, sweeps
from service.jobs.artifacts import ArtifactStore
from service.leases import Lease
from tests import factories
from tests.conftest import TEMPLATE, fresh_database
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.reading import rows_read

QUEUED = 250_000
DELAYED = 5_000
LIMIT = 64
FIRST_IN_LINE = 100
NEWEST_EVENTS = 20_000
PARAMETER = re.compile(r"%\((\w+)\)[sb]")
ROW_COUNTS = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")

FILL = """
INSERT INTO job (id, tenant_id, model_version_id, created_at, rank_at, available_at, priority, submitted_by, payload,
                 attempt, fence, promise_at)
SELECT uuidv7(make_interval(secs => -0.01 * (%(count)s - n))), %(tenant)s, %(model)s, now(),
       now() + make_interval(secs => n * 0.001), now() + %(delay)s, n %% 4, 'test', '\\x00', %(attempt)s, %(attempt)s,
       now() + '1 day'
FROM generate_series(1, %(count)s) AS n
"""
FOLLOWERS = 20_000
ADD_FOLLOWERS = """
WITH waiting AS (
    INSERT INTO job (id, tenant_id, model_version_id, rank_at, priority, submitted_by, payload, state, blocked, depth)
    SELECT uuidv7(), %(tenant)s, %(model)s, now(), 3, 'test', '\\x00', 'waiting', true, 1
    FROM generate_series(1, %(count)s) RETURNING id
)
INSERT INTO job_after (job_id, predecessor_id, position) SELECT id, uuidv7(), 0 FROM waiting
"""
ADD_EVENTS = """
INSERT INTO audit_event (id, occurred_at, actor, action, canon, leaf)
SELECT uuidv7(make_interval(secs => n * -0.0001)), now(), 'test', 'job.submitted', '', '' FROM generate_series(1, %s) AS n
"""


@pytest.fixture(scope="module")
def full(template: Any) -> Iterator[tuple[Database, Principal, PublishedModel]]:
    """A database with many fresh jobs, and some thousands put off into the future."""
    with fresh_database(template, TEMPLATE) as url:
        database = Database(url, queue=FakeTaskQueue())
        caller = factories.principal(database, Keyring(factories.MASTER_KEY))
        model = factories.published(database, MemoryBlobStore())
        with psycopg.connect(url, autocommit=True) as opened:
            opened.execute("SET session_replication_role = replica")
            same = {"tenant": caller.tenant_id, "model": model.id}
            opened.execute(FILL, same | {"count": QUEUED, "attempt": 0, "delay": "0 s"})
            opened.execute(FILL, same | {"count": DELAYED, "attempt": 1, "delay": "1 hour"})
            opened.execute("VACUUM ANALYZE job")
        yield database, caller, model
        database.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_touched(
    database: Database, statement: str, params: dict[str, Any] | None = None, *, table: str = "job"
) -> float:
    """Rows that the scans of `table` read, kept or thrown away, when the statement really runs; nothing is kept.

    The worse of two plans: the one made for these parameters, and the one that a prepared statement settles on.
    """
    given = params or {}
    with database.transaction() as work:
        (made_for_these,) = work.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, given)[0][0]
        work.session.rollback()
    with database.transaction() as work:
        work.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        names = list(dict.fromkeys(PARAMETER.findall(statement)))
        work.execute(
            "PREPARE hot AS " + PARAMETER.sub(lambda found: f"${1 + names.index(found[1])}", statement)
        )
        values = f"({', '.join(f'%({name})s' for name in names)})" if names else ""
        (settled,) = _literally(work, "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot" + values, given)
        work.execute("DEALLOCATE hot")
        work.session.rollback()
    return max(_rows_of(plan["Plan"], table) for plan in (made_for_these, settled))


def _literally(work: UnitOfWork, statement: str, params: dict[str, Any]) -> Any:
    """EXECUTE takes no bound parameters: they are written into the statement."""
    connection = work.session.connection().connection.driver_connection
    with psycopg.ClientCursor(connection) as cursor:  # type: ignore[arg-type]
        return cursor.execute(statement.encode(), params).fetchone()[0]  # type: ignore[index]


def _rows_of(plan: dict[str, Any], table: str) -> float:
    scans = [
        node for node in nodes(plan) if node.get("Relation Name") == table and "Scan" in node["Node Type"]
    ]
    assert scans, f"the plan does not read {table}"
    return max(
        float(node["Actual Loops"]) * sum(float(node.get(count, 0)) for count in ROW_COUNTS) for node in scans
    )


def test_a_claim_touches_no_more_rows_than_it_claims(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, _, model = full
    for retries_first in (True, False):
        params = {"retries_first": retries_first, "model_version_id": model.id, "limit": LIMIT, "beside": 0}
        claimant = {"owner": "w1", "lease_s": 30.0, "actor": "worker:w1", "after": execution.FIRST_IN_RING}
        assert rows_touched(database, execution.CLAIM, params | claimant) <= LIMIT


def test_the_models_last_asked_for_are_found_among_the_newest_jobs_alone(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, _, model = full
    assert rows_touched(database, execution.RECENT, {"most": 1000}) <= 1000
    with database.statement() as work:
        assert execution.recently_asked_for(work, most=1000) == [model.id]


ADD_PARTS = """
INSERT INTO job_input (job_id, name, tenant_id, source_job_id)
SELECT id, name, tenant_id, id FROM job, (VALUES ('scan'), ('finding')) AS part (name) LIMIT 100000
"""
WITH_PARTS = "SELECT DISTINCT job_id FROM job_input LIMIT %(limit)s"
ADD_RESULTS = """
INSERT INTO job_result (job_id, tenant_id, fence, runtime, provider, payload)
SELECT DISTINCT job_id, tenant_id, 1, 'r', 'p', '\\x00'::bytea FROM job_input
"""


def test_the_parts_of_a_claim_are_read_by_their_jobs(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, _, _ = full
    with database.transaction() as work:
        work.execute("SET LOCAL enable_seqscan = on")
        work.execute(ADD_PARTS)
        work.execute(ADD_RESULTS)
    with database.statement() as work:
        ids = [row.job_id for row in work.execute(WITH_PARTS, {"limit": LIMIT})]
    try:
        params = {"job_ids": ids}
        assert rows_touched(database, inputs.READ, params, table="job_input") <= 2 * LIMIT
        assert rows_touched(database, inputs.READ, params, table="job_result") <= 2 * LIMIT
    finally:
        with database.statement() as work:
            work.execute("TRUNCATE job_input, job_result")


def test_ending_a_batch_touches_its_jobs_only(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, _, model = full
    held = [job.lease for job in factories.claimed(database, model, limit=LIMIT)]
    assert len(held) == LIMIT
    params = {
        **leases.columns(held),
        "states": ["failed"] * LIMIT,
        "problems": [Jsonb({"code": "x"})] * LIMIT,
        "payloads": [None] * LIMIT,
        "abstained": [None] * LIMIT,
        "runtime": "r",
        "provider": "p",
        "actor": "worker:w1",
    }
    assert rows_touched(database, execution.END, params) <= LIMIT


def test_ending_a_batch_with_artifacts_touches_its_jobs_only(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, caller, model = full
    held = [job.lease for job in factories.claimed(database, model, limit=LIMIT)]
    params = {
        **leases.columns(held),
        "states": ["succeeded"] * LIMIT,
        "problems": [None] * LIMIT,
        "payloads": [b"x"] * LIMIT,
        "abstained": [None] * LIMIT,
        "runtime": "r",
        "provider": "p",
        "actor": "worker:w1",
    }
    store = ArtifactStore(MemoryBlobStore(), Keyring(factories.MASTER_KEY))
    files = [Artifact("mask.png", "image/png", bytes(artifacts.INLINE_BYTES + 1))]
    made = [new for lease in held for new in store.prepare(caller.cipher, caller.tenant_id, lease, files)]
    with database.statement() as work:
        artifacts.note(work, made)
    given = params | artifacts.published_params(made)
    assert (
        rows_touched(database, execution.END_WITH_ARTIFACTS, given) <= 2 * LIMIT
    )  # and once each for the foreign key


def test_a_sweep_of_blobs_touches_the_jobs_of_those_that_are_due(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, _, _ = full
    with database.transaction() as work:
        work.execute(
            "INSERT INTO blob_removal SELECT 'artifacts/' || id, id, 1, now() + '1 day' FROM job LIMIT 50000"
        )
        work.execute(
            "UPDATE blob_removal SET due_at = now() WHERE location IN (SELECT location FROM blob_removal LIMIT 500)"
        )
    assert rows_touched(database, artifacts.DUE, {"limit": LIMIT}) <= LIMIT
    with database.statement() as work:
        work.execute("TRUNCATE blob_removal")


def test_a_heartbeat_touches_its_jobs_only(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, _, model = full
    held: list[Lease] = [job.lease for job in factories.claimed(database, model, limit=LIMIT)]
    params = {**leases.columns(held), "lease_s": 30.0}
    assert rows_touched(database, leases.RENEW.format(t="job"), params) <= LIMIT


def test_reading_a_job_touches_one_row(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, caller, model = full
    job_id = factories.submitted(database, caller, model)[0]
    params = {
        "numbers": [0],
        "job_ids": [job_id],
        "tenant_ids": [caller.tenant_id],
        "actors": [caller.actor],
        "known_tags": [None],
    }
    assert rows_touched(database, queries.READ, params) == 1


def test_a_place_in_the_queue_is_counted_so_far(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, caller, _ = full
    with database.statement() as work:
        [last] = work.execute("SELECT id FROM job WHERE attempt = 0 ORDER BY rank_at DESC LIMIT 1")
    assert rows_touched(database, delays.PENDING, {"id": last.id, "tenant_id": caller.tenant_id}) <= 1001


def test_plans_made_on_an_empty_table_are_good_when_it_is_large(template: Any) -> None:
    """The plan of a prepared statement stays when its table grows, until statistics are gathered again."""
    with fresh_database(template, TEMPLATE) as url:
        database, others_database = Database(url, queue=FakeTaskQueue(), pool_size=1), Database(url)
        caller = factories.principal(others_database, Keyring(factories.MASTER_KEY))
        model = factories.published(others_database, MemoryBlobStore())
        others_database.close()
        with psycopg.connect(url, autocommit=True) as opened:
            opened.execute("ALTER TABLE job SET (autovacuum_enabled = false)")
            for _ in range(8):  # psycopg prepares a statement that it has seen five times
                live_through_a_job(database, caller, model)
            opened.execute("SET session_replication_role = replica")
            others = {"tenant": caller.tenant_id, "model": UUID(int=1), "count": 20_000}
            opened.execute(FILL, others | {"attempt": 0, "delay": "0 s"})
            before = rows_read(opened, "job")["job"]
            live_through_a_job(database, caller, model)
            database.close()  # ends the session, which reports what it read
            assert rows_read(opened, "job")["job"] - before < 100


def live_through_a_job(database: Database, caller: Principal, model: PublishedModel) -> None:
    """Every statement of a job's life, once."""
    (job_id,) = factories.submitted(database, caller, model)
    (held,) = factories.claimed(database, model, limit=1)
    with database.statement() as work:
        leases.renew(work, "job", [held.lease], 30.0)
    with database.statement() as work:
        ending = execution.Ending(held.lease, problem=execution.Problem("x", "y"))
        assert execution.end(work, [ending], owner="w1", runtime="r", provider="p") == {job_id}
    with database.statement() as work:
        assert queries.read(work, [queries.Reading(caller, job_id)])[0]


def test_sweeps_touch_nothing_when_nothing_is_due(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, _, _ = full
    with database.statement() as work:
        work.execute(
            "UPDATE job SET state = 'queued', lease_owner = NULL, lease_expires_at = NULL WHERE state = 'running'"
        )
    crashed = {"max_crashes": 3, "problem": sweeps.QUARANTINE_PROBLEM}
    assert rows_touched(database, sweeps.RESCUE, crashed) == 0
    for passed in sweeps.Passed:
        expire = sweeps.EXPIRE.format(passed=passed)
        assert rows_touched(database, expire, {"problem": sweeps.EXPIRY_PROBLEM}) == 0
    assert rows_touched(database, sweeps.READY) == 0
    assert rows_touched(database, sweeps.OVERDUE) == 0
    # Versions that the tests before rolled back are read over: a handful, where a count would read a million.
    assert rows_touched(database, sweeps.WITH_WORK) <= LIMIT


def test_the_end_of_a_job_touches_those_that_wait_for_it_only(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    """Submits that name others, what their end does by itself, and whom it is told: among many that wait."""
    database, caller, model = full
    with database.transaction() as work:
        work.execute(ADD_FOLLOWERS, {"count": FOLLOWERS, "tenant": caller.tenant_id, "model": model.id})
        work.execute("ANALYZE job_after")
    before = scanned(database)
    (first,) = factories.submitted(database, caller, model)
    last = first
    for _ in range(3):
        new = factories.new_job(caller, model, after=[last])
        with database.transaction() as work:
            last = submission.submit_after(work, [new])[0].id  # type: ignore[union-attr]
    with database.transaction() as work:
        queries.cancel(work, caller, first)
    with database.statement() as work:
        found = work.execute(predecessors.REACHED, {"ended": [first]})
    assert [row.state for row in found] == ["failed"] * 3
    assert scanned(database) - before < FOLLOWERS / 10


def scanned(database: Database) -> int:
    """Rows of jobs and of whom they wait for that scans have read so far."""
    with database.statement() as work:
        work.execute("SELECT pg_sleep(1.1)")  # so long sessions keep what they counted to themselves
    with database.statement() as work:
        ((rows,),) = work.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables "
            "WHERE relname IN ('job', 'job_after')"
        )
    return int(rows)


def test_a_sweep_for_overdue_jobs_touches_those_that_are_due(
    full: tuple[Database, Principal, PublishedModel],
) -> None:
    database, caller, model = full
    with database.statement() as work:  # what other tests claimed may have grown late meanwhile
        work.execute("UPDATE job SET promise_at = now() + interval '1 day' WHERE state = 'running'")
    overdue = factories.submitted(database, caller, model, 2 * LIMIT)
    held = [job.lease.id for job in factories.claimed(database, model, limit=LIMIT, retries_first=False)]
    with database.statement() as work:
        work.execute("UPDATE job SET promise_at = now() WHERE id = ANY(%s)", (overdue + held,))
    assert rows_touched(database, sweeps.OVERDUE) == 3 * LIMIT
    with database.statement() as work:
        assert {job.id for job in sweeps.overdue(work)} == {*overdue, *held}
    assert rows_touched(database, sweeps.OVERDUE) <= LIMIT, "what runs is looked at, what waits is not"


@pytest.mark.parametrize("stalled_s", [0.0, 3600.0])
def test_whether_consumption_is_stalled_is_told_from_those_first_in_line(
    full: tuple[Database, Principal, PublishedModel], stalled_s: float
) -> None:
    database, _, _ = full
    with database.statement() as work:
        work.execute(
            "UPDATE job SET state = 'queued', lease_owner = NULL, lease_expires_at = NULL WHERE state = 'running'"
        )
    assert rows_touched(database, probes.STALLED, {"stalled_s": stalled_s}) <= FIRST_IN_LINE


def test_a_stall_is_told_by_a_plan_made_on_empty_tables_in_a_flood_of_jobs_and_events(template: Any) -> None:
    with fresh_database(template, TEMPLATE) as url:
        database, others_database = Database(url, pool_size=1), Database(url)
        caller = factories.principal(others_database, Keyring(factories.MASTER_KEY))
        model = factories.published(others_database, MemoryBlobStore())
        others_database.close()
        with psycopg.connect(url, autocommit=True) as opened:
            for table in ("job", "audit_event"):
                opened.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
            for _ in range(8):  # psycopg prepares a statement that it has seen five times
                assert probes.consumption(database, stalled_s=0.0) == "ok"
            opened.execute("SET session_replication_role = replica")
            same = {"tenant": caller.tenant_id, "model": model.id, "count": 20_000, "delay": "0 s"}
            for attempt in (0, 1):
                opened.execute(FILL, same | {"attempt": attempt})
            opened.execute(ADD_EVENTS, (3 * NEWEST_EVENTS,))
            before = rows_read(opened, "job", "audit_event")
            assert probes.consumption(database, stalled_s=0.0) == "stalled"
            database.close()  # ends the session, which reports what it read
            after = rows_read(opened, "job", "audit_event")
            assert after["job"] - before["job"] <= 2 * FIRST_IN_LINE
            assert after["audit_event"] - before["audit_event"] <= NEWEST_EVENTS


def test_first_answers_are_found_by_key(full: tuple[Database, Principal, PublishedModel]) -> None:
    database, caller, model = full
    key = submission.IdempotencyKey("k", b"digest")
    with database.transaction() as work:
        first = submission.submit(work, [factories.new_job(caller, model)], key)
    params = {"tenant_id": caller.tenant_id, "digests": [key.of_item(0)]}
    assert rows_touched(database, submission.FIRST_ANSWERS, params) == len(first)
