"""Claimants, callers and sweeps side by side: who waits for whom, and what each sees."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from service.batches.chunks import ClaimedChunk
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


# Side by side


def test_workers_side_by_side_score_every_row_once(nights: Nights) -> None:
    """Eight claimants that also crash, give back and come late; a pause, a resume and sweeps in between."""
    batch_id, other = nights.planned(60), nights.of_other_tenant().planned(40)
    stop, refused, finished = threading.Event(), Counter[bool](), Counter[UUID]()

    def work(number: int) -> None:
        turn = number
        while not stop.is_set():
            chunk = nights.claim(owner=f"w{number}")
            if chunk is None:
                continue
            turn += 1
            if turn % 7 == 0:
                nights.lapse(chunk)
                nights.rescue(max_crashes=100)
            elif turn % 11 == 0:
                nights.release(chunk)
                continue
            stored = nights.finish(chunk, turn % 2)
            refused[stored is None] += 1
            finished[chunk.lease.id] += stored is not None

    def control() -> None:
        for _ in range(10):
            nights.pause(batch_id)
            nights.resume(batch_id)

    with ThreadPoolExecutor(9) as pool:
        workers = [pool.submit(work, number) for number in range(6)]
        pool.submit(control).result(timeout=60)
        deadline = nights.now() + timedelta(seconds=100)
        while nights.rows("SELECT count(*) FROM batch WHERE state = 'finalizing'") != [(2,)]:
            assert nights.now() < deadline
        stop.set()
        for worker in workers:
            worker.result(timeout=60)
    assert set(finished.values()) <= {0, 1}
    assert sum(finished.values()) == 100
    assert refused[True] > 0
    sums = dict(
        nights.rows("SELECT batch_id, sum(rows_succeeded + rows_failed)::bigint FROM batch_chunk GROUP BY 1")
    )
    counters = dict(nights.rows("SELECT id, rows_succeeded + rows_failed FROM batch"))
    assert sums == counters == {batch_id: 600, other: 400}
    assert nights.rows("SELECT DISTINCT chunks_running, chunks_done = chunks_total FROM batch") == [(0, True)]


@pytest.fixture
def second(database_url: str) -> Any:
    """A session of somebody else, whose transaction stays open."""
    with psycopg.connect(database_url) as opened:
        yield opened


def meanwhile(
    nights: Nights,
    call: Any,
    second: "psycopg.Connection[Any]",
    statement: str,
    *params: Any,
    then: str = "SELECT",
) -> Any:
    """What `call` answers that has to wait for `statement`; somebody else goes on with `then` and commits meanwhile."""
    second.execute(statement.encode(), params)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call)
        for _ in range(500):
            if nights.rows(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                break
        else:
            pytest.fail("it did not wait")
        second.execute(then.encode())
        second.commit()
        return waiting.result(timeout=30)


def test_a_claim_that_meets_a_pause_claims_nothing(nights: Nights, second: Any) -> None:
    batch_id = nights.planned(2)
    pause = "UPDATE batch SET state = 'paused' WHERE id = %s"
    assert meanwhile(nights, nights.claim, second, pause, batch_id) is None
    assert nights.view(batch_id).chunks_running == 0


def test_a_claim_that_meets_a_cancel_goes_on_to_the_next_batch(nights: Nights, second: Any) -> None:
    first, other = nights.planned(2), nights.planned(2)
    cancel = "UPDATE batch SET state = 'canceled' WHERE id = %s"
    chunk: ClaimedChunk | None = meanwhile(nights, nights.claim, second, cancel, first)
    assert chunk is not None
    assert chunk.batch_id == other


@pytest.mark.parametrize("write", [Nights.finish, Nights.release, Nights.put_off, Nights.fail])
def test_a_write_back_that_meets_a_cancel_waits_for_it_and_is_refused(
    nights: Nights, second: Any, write: Any
) -> None:
    """Both lock the batch first and its chunks then: the other way round they would wait for each other."""
    batch_id = nights.planned(2)
    held = nights.claimed()
    cancel = "UPDATE batch SET state = 'canceled', chunks_running = 0 WHERE id = %s"
    skip = "UPDATE batch_chunk SET state = 'skipped', lease_owner = NULL, lease_expires_at = NULL"
    assert not meanwhile(nights, lambda: write(nights, held), second, cancel, batch_id, then=skip)
    assert nights.view(batch_id).rows_succeeded == 0
    assert nights.state(batch_id) is BatchState.CANCELED


def test_a_rescue_that_meets_a_cancel_waits_for_nobody(nights: Nights, second: Any) -> None:
    batch_id = nights.planned(2)
    nights.lapse(nights.claimed())
    second.execute("UPDATE batch SET state = 'canceled', chunks_running = 0 WHERE id = %s", (batch_id,))
    assert nights.rescue().queued == ()
    second.rollback()
    assert len(nights.rescue().queued) == 1


def test_a_completion_adds_to_counts_that_changed_while_it_waited(nights: Nights, second: Any) -> None:
    batch_id = nights.planned(3)
    held = nights.claimed()
    other = "UPDATE batch SET rows_succeeded = 10, chunks_done = 1 WHERE id = %s"
    assert meanwhile(nights, lambda: nights.finish(held), second, other, batch_id) == "running"
    view = nights.view(batch_id)
    assert (view.rows_succeeded, view.chunks_done, view.chunks_running) == (20, 2, 0)


def test_the_last_two_completions_side_by_side_finalize_once(nights: Nights) -> None:
    for _ in range(10):
        batch_id = nights.planned(2)
        held = [nights.claimed(), nights.claimed()]
        with ThreadPoolExecutor(2) as pool:
            states = list(pool.map(nights.finish, held))
        assert sorted(map(str, states)) == ["finalizing", "running"]
        assert nights.rows(
            "SELECT count(*) FROM batch_step WHERE batch_id = %s AND kind = 'finalize'", batch_id
        ) == [(1,)]
        nights.cancel(batch_id)
