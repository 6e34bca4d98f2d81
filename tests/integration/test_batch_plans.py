"""What the statements on batches read among 100,000 chunks and as many queued jobs: what they change, not what there is."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from service.batches import chunks, control, queries, steps, sweeps
from service.batches.chunks import ClaimedChunk
from service.batches.steps import PlannedChunk, StepKind
from service.crypto import Keyring
from service.db import Database
from tests import factories
from tests.conftest import TEMPLATE, fresh_database
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import ROWS, Nights, validation
from tests.integration.reading import rows_read

CHUNKS = 100_000
JOBS = 100_000
OTHERS = 200
VACUUMS = 20
TABLES = ("batch", "batch_chunk", "batch_step", "job", "model_version", "audit_event", "webhook_endpoint")

FILL_CHUNKS = """
INSERT INTO batch_chunk (batch_id, number, first_row, rows, seek)
SELECT %s, n, n * 10, 10, '\\x00' FROM generate_series(0, %s - 1) AS n
"""
FILL_BATCHES = """
INSERT INTO batch (id, tenant_id, model_version_id, open_from, submitted_by, request, data_key, state, finished_at, rows_total,
                   chunks_total)
SELECT uuidv7(), %s, %s, now() + interval '1 h', 'test', '', '', state::batch_state, CASE state WHEN 'canceled' THEN now() END,
       10, 1
FROM generate_series(1, %s), unnest(ARRAY['canceled', 'scheduled', 'paused']) AS state
"""
FINISH_FIRST = """
UPDATE batch_chunk SET state = 'done', finished_at = now(), rows_succeeded = rows, lease_owner = NULL, lease_expires_at = NULL
WHERE batch_id = %s AND number < 25 AND state <> 'done'
"""
FILL_JOBS = """
INSERT INTO job (id, tenant_id, model_version_id, rank_at, priority, submitted_by, payload)
SELECT uuidv7(make_interval(secs => -0.01 * n)), %s, %s, now(), 3, 'test', '\\x00' FROM generate_series(1, %s) AS n
"""


@dataclass
class Crowd:
    """A batch with very many chunks, others of every kind, and a session beside that counts rows."""

    nights: Nights
    opened: "psycopg.Connection[Any]"
    batch_id: UUID
    aged: Nights  # one session, whose plans were made while the tables were empty

    def cost(self, call: Any) -> dict[str, int]:
        """Rows read of each table by `call`, which runs in a session of its own."""
        self.nights.database.close()
        before = self.read()
        call()
        self.nights.database.close()  # ends the session, which reports what it read
        after = self.read()
        return {table: after[table] - before[table] for table in TABLES}

    def read(self) -> dict[str, int]:
        """Rows that scans have read of each table so far."""
        return rows_read(self.opened, *TABLES)


@pytest.fixture(scope="module")
def crowd(template: Any) -> Iterator[Crowd]:
    with fresh_database(template, TEMPLATE) as url:
        database, keyring = Database(url, queue=FakeTaskQueue()), Keyring(factories.MASTER_KEY)
        nights = bench.nights(database, MemoryBlobStore(), keyring, FakeTaskQueue())
        aged = replace(nights, database=Database(url, queue=FakeTaskQueue(), pool_size=1))
        live_through_a_batch(aged, times=8)  # psycopg prepares a statement that it has seen five times
        batch_id = nights.open().id
        nights.validate(nights.step(StepKind.VALIDATE), 1)
        direct = url
        with psycopg.connect(direct, autocommit=True) as opened:
            for table in TABLES:
                opened.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
            opened.execute("DELETE FROM batch_chunk WHERE batch_id = %s", (batch_id,))
            opened.execute(FILL_CHUNKS, (batch_id, CHUNKS))
            opened.execute(FILL_CHUNKS, (uuid4(), CHUNKS))
            opened.execute(
                "UPDATE batch SET chunks_total = %s, rows_total = %s WHERE id = %s",
                (CHUNKS, CHUNKS * ROWS, batch_id),
            )
            opened.execute(FILL_BATCHES, (nights.caller.tenant_id, nights.model.id, OTHERS))
            opened.execute("SET session_replication_role = replica")
            yield Crowd(nights, opened, batch_id, aged)
        aged.database.close()
        database.close()


def live_through_a_batch(nights: Nights, *, times: int = 1) -> None:
    """Every statement of a batch's life."""
    for _ in range(times):
        batch_id = nights.planned(4)
        for write in (nights.finish, nights.put_off, nights.release, nights.fail):
            write(nights.claimed())
            nights.lapse(nights.claimed()) if write == nights.put_off else None
            nights.rescue()
        nights.view(batch_id)
        done = nights.planned(1)
        nights.score_all()
        nights.complete(nights.step(StepKind.FINALIZE), ROWS)
        nights.pause(nights.planned(1))
        nights.cancel(done)
        for sweep in (sweeps.expire, sweeps.move_openings, sweeps.tell_risks):
            nights.sweep(sweep)
        nights.rows("UPDATE batch SET state = 'canceled' WHERE state = 'paused'")


def claim(crowd: Crowd) -> ClaimedChunk:
    chunk = crowd.nights.claim()
    assert chunk is not None
    assert chunk.batch_id == crowd.batch_id
    return chunk


def test_plans_made_on_empty_tables_are_good_when_these_are_large(crowd: Crowd) -> None:
    crowd.nights.shift(crowd.batch_id, 1800, 3600)
    before = crowd.read()
    live_through_a_batch(crowd.aged)
    crowd.aged.database.close()
    after = crowd.read()
    crowd.nights.shift(crowd.batch_id, -100, 3600)
    assert after["batch_chunk"] - before["batch_chunk"] <= CHUNKS / 100
    assert after["batch"] - before["batch"] <= 16 * OTHERS


def test_a_claim_reads_its_chunk_and_the_batches_that_are_open(crowd: Crowd) -> None:
    claim(crowd)
    read = crowd.cost(lambda: claim(crowd))
    assert read["batch_chunk"] <= 8
    assert read["batch"] <= 12 + OTHERS, "the live ones whose window is closed may be read over"
    assert read["job"] == 0


@pytest.mark.parametrize("write", ["finish", "release", "put_off"])
def test_a_write_back_reads_its_chunk_and_its_batch(crowd: Crowd, write: str) -> None:
    held = claim(crowd)
    read = crowd.cost(lambda: getattr(crowd.nights, write)(held))
    assert read["batch_chunk"] <= 8
    assert read["batch"] <= 8
    assert read["job"] == 0


def test_a_rescue_reads_what_has_lapsed(crowd: Crowd) -> None:
    for _ in range(5):
        crowd.nights.lapse(claim(crowd))
    read = crowd.cost(crowd.nights.rescue)
    assert read["batch_chunk"] <= 40
    assert read["batch"] <= 16


def test_the_sweeps_read_the_batches_that_are_under_way(crowd: Crowd) -> None:
    def sweep() -> None:
        for each in (sweeps.expire, sweeps.move_openings, sweeps.tell_risks):
            crowd.nights.sweep(each)
        with crowd.nights.database.statement() as work:
            sweeps.rescue_steps(work, max_crashes=3)
        crowd.nights.rescue()

    crowd.nights.shift(crowd.batch_id, -100, 3600)
    read = crowd.cost(sweep)
    assert read["batch_chunk"] <= 80
    assert read["batch"] <= 40 + 4 * OTHERS


def test_a_view_and_a_page_read_the_newest_chunks_only(crowd: Crowd) -> None:
    for _ in range(40):
        crowd.nights.finish(claim(crowd))
    read = crowd.cost(lambda: crowd.nights.view(crowd.batch_id))
    assert read["batch_chunk"] <= queries.PACE_CHUNKS + 1 + 1  # and of those that are put off the last
    assert read["batch"] == 1


def test_a_page_of_finished_chunks_reads_a_page(crowd: Crowd) -> None:
    crowd.opened.execute(FINISH_FIRST, (crowd.batch_id,))

    def page() -> None:
        with crowd.nights.database.statement() as work:
            assert len(queries.finished_chunks(work, crowd.batch_id, limit=20)) == 20

    assert crowd.cost(page)["batch_chunk"] <= 60


def test_among_very_many_jobs_a_claim_of_a_chunk_looks_at_one_and_gives_way(crowd: Crowd) -> None:
    nights = crowd.nights
    crowd.opened.execute(FILL_JOBS, (nights.caller.tenant_id, nights.model.id, JOBS))
    read = crowd.cost(nights.claim)
    assert nights.claim() is None
    assert read["job"] <= 2
    assert read["batch_chunk"] <= 8
    crowd.opened.execute(
        "UPDATE job SET attempt = 1, fence = 1, available_at = now() + interval '1 day' WHERE id IN (SELECT id FROM job)"
    )
    crowd.opened.execute("VACUUM job")
    read = crowd.cost(lambda: claim(crowd))
    assert read["job"] <= 2, "what is put off is not read over"


def test_a_claim_where_no_batch_is_open_reads_neither_jobs_nor_chunks(crowd: Crowd) -> None:
    crowd.opened.execute(
        "UPDATE batch SET open_from = now() + interval '1 h' WHERE id = %s", (crowd.batch_id,)
    )
    crowd.opened.execute(
        "UPDATE batch SET open_from = now() + interval '1 h' WHERE state IN ('scheduled', 'running')"
    )

    def none() -> None:
        with crowd.nights.database.statement() as work:
            assert chunks.claim(work, owner="w1", lease_s=30) is None

    for _ in range(VACUUMS):  # one of the server's own processes may still look at what was changed
        crowd.opened.execute("VACUUM batch")
        read = crowd.cost(none)
        if not read["batch"]:
            break
    assert read["job"] == read["batch_chunk"] == read["model_version"] == 0
    assert read["batch"] == 0


def test_a_plan_of_fifty_thousand_chunks_is_one_statement(crowd: Crowd) -> None:
    nights = crowd.nights
    nights.open()
    step = nights.step(StepKind.VALIDATE)
    planned = [PlannedChunk(number, 40 * number, 40, b"%d" % number) for number in range(50_000)]
    began = time.perf_counter()
    with nights.database.statement() as work:
        steps.validated(work, step, validation(planned), cipher=nights.caller.cipher, owner="w1")
    assert time.perf_counter() - began < 30
    began = time.perf_counter()
    with nights.database.transaction() as work:
        control.cancel(work, nights.caller, step.batch_id)
    assert time.perf_counter() - began < 30
    assert set(nights.chunk_states(step.batch_id)) == {"skipped"}
