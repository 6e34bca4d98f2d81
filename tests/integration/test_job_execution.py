"""Claims, fences and endings on real Postgres."""

from service.crypto import Keyring
from service.db import Database
from service.jobs import execution, queries, sweeps
from service.jobs.execution import Ending, Problem
from service.lifecycle import JobState, Priority
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore


def test_a_job_is_claimed_scored_and_read(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model)
    (job,) = factories.claimed(database, model)
    sealed = caller.cipher.seal(
        b'{"type":"classification"}', f"job_result.payload|{caller.tenant_id}|{job_id}".encode()
    )
    with database.statement() as work:
        assert execution.end(
            work, [Ending(job.lease, payload=sealed)], owner="w1", runtime="r", provider="p"
        ) == {job_id}
    with database.statement() as work:
        view = queries.read(work, [queries.Reading(caller, job_id)])[0]
    assert isinstance(view, queries.JobView)
    assert (view.state, view.result and view.result.content) == (
        JobState.SUCCEEDED,
        {"type": "classification"},
    )
    assert queue.announced == [job_id]


def test_a_worker_that_lost_its_lease_cannot_publish(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model)
    (late,) = factories.claimed(database, model, lease_s=-1)
    with database.statement() as work:
        assert sweeps.rescue(work, max_crashes=3).queued == (job_id,)
    (second,) = factories.claimed(database, model, owner="w2")
    assert second.lease.fence == late.lease.fence + 1
    with database.statement() as work:
        refused = execution.end(
            work, [Ending(late.lease, problem=Problem("x", "y"))], owner="w1", runtime="r", provider="p"
        )
    assert refused == set()


def test_more_pressing_jobs_go_first(database: Database, blobs: MemoryBlobStore, keyring: Keyring) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    ids = [
        factories.submitted(database, caller, model, priority=priority)[0] for priority in reversed(Priority)
    ]
    assert [factories.claimed(database, model, limit=1)[0].lease.id for _ in ids] == ids[::-1]


def test_models_are_recently_asked_for_in_the_order_of_their_newest_jobs(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    caller = factories.principal(database, keyring)
    cells, genes = (
        factories.published(database, blobs, name) for name in ("breast-cancer-wisconsin", "splice-junction")
    )
    with database.statement() as work:
        assert execution.recently_asked_for(work, most=10) == []
    for model in (cells, genes, genes, cells):
        factories.submitted(database, caller, model)
    with database.transaction() as work:
        assert execution.recently_asked_for(work, most=10) == [cells.id, genes.id]
        assert execution.recently_asked_for(work, most=1) == [cells.id]
