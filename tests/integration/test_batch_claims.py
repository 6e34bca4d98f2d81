"""Who gets which chunk when: windows, jobs that go first, fairness, leases that lapse, claimants side by side."""

from uuid import uuid4

import pytest

from service import leases
from service.batches.steps import StepKind
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BatchState
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import ROWS, Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


# Jobs go first


@pytest.mark.parametrize("attempted", [False, True])
def test_a_job_that_waits_goes_before_every_chunk(nights: Nights, attempted: bool) -> None:
    nights.planned(2)
    (job_id,) = factories.submitted(nights.database, nights.caller, nights.model)
    if attempted:
        nights.rows("UPDATE job SET attempt = 1, fence = 1 WHERE id = %s", job_id)
    assert nights.claim() is None
    assert factories.claimed(nights.database, nights.model)
    assert nights.claim() is not None, "a job that is being scored is in nobody's way"


def test_a_job_that_is_put_off_lets_chunks_go_first(nights: Nights) -> None:
    nights.planned(1)
    (job_id,) = factories.submitted(nights.database, nights.caller, nights.model)
    nights.rows(
        "UPDATE job SET attempt = 1, fence = 1, available_at = now() + interval '1 h' WHERE id = %s", job_id
    )
    assert nights.claim() is not None


def test_a_worker_looks_at_the_models_that_it_could_score(
    nights: Nights, blobs: MemoryBlobStore, database: Database
) -> None:
    other = factories.published(database, blobs, factories.PNEUMONIA)
    nights.planned(2)
    factories.submitted(database, nights.caller, nights.model)
    nights.planned(1, model_version_id=other.id)
    assert nights.claim() is None
    assert nights.claim(scorable=[nights.model.id]) is None
    assert nights.claim(scorable=[]) is None
    chunk = nights.claim(scorable=[other.id])
    assert chunk is not None
    assert chunk.model_version_id == other.id


# Fairness


def test_the_oldest_batch_of_a_tenant_goes_first(nights: Nights) -> None:
    first, second = nights.planned(2), nights.planned(2)
    assert [nights.claimed().batch_id for _ in range(4)] == [first, first, second, second]


def test_tenants_take_turns_whoever_came_first(nights: Nights) -> None:
    stranger = nights.of_other_tenant()
    ours, theirs = nights.planned(20), stranger.planned(20)
    nights.planned(20)
    assert [nights.claimed().batch_id for _ in range(6)] == [ours, theirs] * 3


def test_tenants_take_turns_when_there_is_one_worker_only(nights: Nights) -> None:
    stranger = nights.of_other_tenant()
    nights.planned(20), stranger.planned(20)
    turns = []
    for _ in range(6):
        chunk = nights.claimed()
        turns.append(chunk.tenant_id)
        nights.finish(chunk)
    assert turns == [nights.caller.tenant_id, stranger.caller.tenant_id] * 3


def test_a_batch_whose_chunks_are_all_put_off_is_in_nobodys_way(nights: Nights) -> None:
    first, second = nights.planned(1), nights.planned(1)
    held = nights.claimed()
    assert held.batch_id == first
    assert nights.put_off(held)
    assert nights.claimed().batch_id == second
    assert nights.claim() is None
    nights.rows("UPDATE batch_chunk SET available_at = now()")
    again = nights.claimed()
    assert (again.lease.id, again.attempt) == (held.lease.id, 2)
    assert nights.detail(first, "batch.chunk_put_off") == {
        "chunk": 0,
        "attempt": 1,
        "code": "blob_unavailable",
    }


def test_workers_begin_apart_and_go_on_where_they_are_in_the_file(nights: Nights) -> None:
    batch_id = nights.planned(6)
    first, second = nights.claimed(), nights.claimed()
    assert (first.number, second.number) == (0, 3)
    taken = []
    for chunk in (first, second) * 2:
        nights.finish(chunk)
    for place in (1, 4, 2, 5):
        found = nights.claim(places={batch_id: place, uuid4(): 9})
        assert found is not None
        taken.append(found.number)
    assert taken == [1, 4, 2, 5]


def test_a_place_that_is_taken_is_no_reason_to_rest(nights: Nights) -> None:
    batch_id = nights.planned(3)
    taken = [nights.claim(places={batch_id: 1}) for _ in range(4)]
    assert sorted(chunk.number for chunk in taken if chunk) == [0, 1, 2]
    assert taken[0]
    assert taken[0].number == 1
    assert taken[3] is None


def test_a_chunk_that_is_given_back_keeps_its_place_and_its_attempt(nights: Nights) -> None:
    nights.planned(3)
    first = nights.claimed()
    assert nights.release(first)
    assert not nights.release(first), "twice does nothing"
    again = nights.claimed()
    assert (again.number, again.attempt, again.lease.fence) == (0, 1, 2)


# Leases


def test_a_lost_worker_costs_its_chunk_once_more_and_never_a_row(nights: Nights) -> None:
    batch_id = nights.planned(2)
    lost = nights.claimed()
    nights.lapse(lost)
    assert nights.rescue().queued == (lost.lease.id,)
    assert nights.rescue().queued == ()
    again = nights.claimed()
    assert (again.number, again.lease.fence) == (lost.number, lost.lease.fence + 1)
    assert nights.finish(lost) is None, "a late completion is refused"
    assert nights.finish(again) == "running"
    assert nights.finish(again) is None, "a second completion does nothing"
    assert nights.finish(nights.claimed()) == "finalizing"
    assert nights.view(batch_id).rows_succeeded == 20
    assert nights.detail(batch_id, "batch.chunk_rescued") == {"chunk": 0, "crash_count": 1}


def test_a_heartbeat_keeps_a_chunk_and_tells_whether_it_is_lost(nights: Nights) -> None:
    batch_id = nights.planned(1)
    held = nights.claimed(lease_s=0.0)
    with nights.database.statement() as work:
        assert leases.renew(work, "batch_chunk", [held.lease], 30.0) == {held.lease.id}
    assert nights.rescue().queued == ()
    nights.cancel(batch_id)
    with nights.database.statement() as work:
        assert leases.renew(work, "batch_chunk", [held.lease], 30.0) == set()


def test_the_rows_of_a_chunk_that_kills_three_workers_count_as_failed(nights: Nights) -> None:
    batch_id = nights.planned(2)
    for _ in range(3):
        nights.lapse(nights.claimed())
        rescued = nights.rescue()
    assert len(rescued.quarantined) == 1
    assert nights.finish(nights.claimed()) == "finalizing"
    view = nights.view(batch_id)
    assert (view.rows_succeeded, view.rows_failed) == (ROWS, ROWS)
    assert nights.actions(batch_id).count("batch.chunk_quarantined") == 1
    assert nights.complete(nights.step(StepKind.FINALIZE), ROWS, ROWS) is BatchState.COMPLETED


def test_a_chunk_that_is_set_aside_last_finishes_the_batch(nights: Nights) -> None:
    batch_id = nights.planned(1)
    nights.lapse(nights.claimed())
    nights.rescue(max_crashes=1)
    assert nights.state(batch_id) is BatchState.FINALIZING


def test_a_chunk_that_is_set_aside_counts_against_the_limit(nights: Nights) -> None:
    batch_id = nights.planned(2, error_limit=ROWS - 1)
    nights.lapse(nights.claimed())
    nights.rescue(max_crashes=1)
    assert nights.state(batch_id) is BatchState.FAILED
    assert nights.chunk_states(batch_id) == ["quarantined", "skipped"]


def test_many_lapsed_chunks_of_several_batches_are_rescued_together(nights: Nights) -> None:
    first, second = nights.planned(3), nights.of_other_tenant().planned(3)
    held = [nights.claimed() for _ in range(6)]
    nights.pause(first)
    nights.rows("UPDATE batch_chunk SET lease_expires_at = now() - interval '1 s'")
    assert set(nights.rescue().queued) == {chunk.lease.id for chunk in held}
    assert nights.state(first) is BatchState.PAUSED
    assert nights.rows("SELECT DISTINCT chunks_running FROM batch") == [(0,)]
    assert nights.of_other_tenant().state(second) is BatchState.RUNNING
