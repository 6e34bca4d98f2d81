"""Jobs past their promised time, on real Postgres: each is recorded once, and goes on as if nothing had happened."""

from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import UUID

import pytest

from service.accounts import Principal
from service.audit import AuditEvent
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs import execution, queries, submission, sweeps
from service.jobs.execution import Ending, Problem
from service.jobs.sweeps import OverdueJob
from service.lifecycle import JobState
from service.queue import score_wake_up
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import counted
from workers.process.parts import Parts
from workers.process.tasks import sweeps_of


@dataclass
class Promises:
    """One model, one caller, and the sweep."""

    database: Database
    model: PublishedModel
    caller: Principal

    def submit(self, count: int = 1, **values: Any) -> list[UUID]:
        """Jobs whose promise has just been given."""
        return factories.submitted(self.database, self.caller, self.model, count, **values)

    def submit_late(self, count: int = 1, **values: Any) -> list[UUID]:
        """Jobs whose promised time has passed."""
        ids = self.submit(count, **values)
        self.rows("UPDATE job SET promise_at = now() - interval '5 s' WHERE id = ANY(%s)", ids)
        return ids

    def sweep(self) -> list[UUID]:
        """The jobs that a sweep records as overdue."""
        with self.database.statement() as work:
            return [job.id for job in sweeps.overdue(work)]

    def trail(self, job_id: UUID) -> list[AuditEvent]:
        """What was recorded of a job."""
        with self.database.transaction() as work:
            return queries.events(work, self.caller, job_id, after=None, limit=100)

    def actions(self, job_id: UUID) -> list[str]:
        """The actions of its trail."""
        return [event.action for event in self.trail(job_id)]

    def tag(self, job_id: UUID) -> str:
        """The entity tag that a caller sees."""
        with self.database.statement() as work:
            (view,) = queries.read(work, [queries.Reading(self.caller, job_id)])
        assert isinstance(view, queries.JobView)
        return view.tag

    def rows(self, query: str, *params: object) -> list[Any]:
        """What Postgres answers."""
        with self.database.statement() as work:
            return work.execute(query, params)


@pytest.fixture
def promises(database: Database, blobs: MemoryBlobStore, keyring: Keyring) -> Promises:
    return Promises(database, factories.published(database, blobs), factories.principal(database, keyring))


def fail(promises: Promises, job: execution.ClaimedJob) -> set[UUID]:
    ending = Ending(job.lease, problem=Problem("x", "y"))
    with promises.database.statement() as work:
        return execution.end(work, [ending], owner="w1", runtime="r", provider="p")


def promising(model: PublishedModel, promised_s: float) -> PublishedModel:
    """The same model with another promise."""
    runtime = model.manifest.runtime.model_copy(update={"promised_s": promised_s})
    return replace(model, manifest=model.manifest.model_copy(update={"runtime": runtime}))


@pytest.mark.parametrize("promised_s", [[30.0], [0.25], [30.0, 0.25, 86_400.0]])
def test_a_job_is_promised_what_its_model_promises_alone_or_in_company(
    promises: Promises, promised_s: list[float]
) -> None:
    jobs = [factories.new_job(promises.caller, promising(promises.model, each)) for each in promised_s]
    with promises.database.statement() as work:
        ids = [job.id for job in submission.submit(work, jobs)]
    found = promises.rows(
        "SELECT id, extract(epoch FROM promise_at - created_at)::float FROM job WHERE id = ANY(%s)", ids
    )
    assert dict(found) == dict(zip(ids, promised_s, strict=True))


def test_a_job_within_its_promise_is_not_overdue(promises: Promises) -> None:
    promises.submit(2)
    factories.claimed(promises.database, promises.model, limit=1)
    assert promises.sweep() == []


def test_a_queued_job_past_its_promise_is_recorded_once(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    assert (promises.sweep(), promises.sweep()) == ([job_id], [])
    assert promises.actions(job_id) == ["job.submitted", "job.overdue"]


def test_the_event_says_where_the_job_stood_and_how_late_it_is(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    promises.sweep()
    event = promises.trail(job_id)[-1]
    assert event.actor == "scheduler"
    assert (event.detail["state"], event.detail["attempt"]) == ("queued", 0)
    assert 5 <= event.detail["late_s"] < 60


def test_a_running_job_past_its_promise_is_recorded_and_its_worker_still_ends_it(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    (held,) = factories.claimed(promises.database, promises.model)
    assert promises.sweep() == [job_id]
    assert fail(promises, held) == {job_id}
    assert promises.actions(job_id) == ["job.submitted", "job.claimed", "job.overdue", "job.failed"]


def test_a_job_that_was_overdue_in_the_queue_is_not_overdue_again_while_it_runs(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    assert promises.sweep() == [job_id]
    factories.claimed(promises.database, promises.model)
    assert promises.sweep() == []


def test_an_overdue_job_keeps_its_state_its_fence_and_its_entity_tag(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    before = promises.tag(job_id)
    assert promises.sweep() == [job_id]
    assert promises.tag(job_id) == before == "queued-0"


def test_a_job_that_has_ended_is_never_overdue(promises: Promises) -> None:
    failed, canceled, expired = promises.submit_late(3)
    (held,) = factories.claimed(promises.database, promises.model, limit=1)
    fail(promises, held)
    with promises.database.transaction() as work:
        queries.cancel(work, promises.caller, canceled)
    promises.rows("UPDATE job SET deadline_at = now() WHERE id = %s", expired)
    with promises.database.statement() as work:
        assert sweeps.expire(work) == [expired]
    assert held.lease.id == failed
    assert promises.sweep() == []


def test_a_job_put_off_by_a_passing_fault_is_overdue_too(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    (held,) = factories.claimed(promises.database, promises.model)
    with promises.database.statement() as work:
        execution.retry(work, [held.lease], [600.0], owner="w1", code="x")
    assert promises.sweep() == [job_id]


def test_a_job_of_a_release_that_gave_no_promise_is_never_overdue(promises: Promises) -> None:
    (job_id,) = promises.submit()
    promises.rows(
        "UPDATE job SET promise_at = NULL, created_at = now() - interval '1 day' WHERE id = %s", job_id
    )
    assert promises.sweep() == []


def test_a_job_in_other_hands_is_left_to_the_next_sweep(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    with promises.database.transaction() as work:
        work.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (job_id,))
        assert promises.sweep() == []
    assert promises.sweep() == [job_id]


def test_a_sweep_takes_the_longest_overdue_jobs_up_to_its_bound(promises: Promises) -> None:
    first = promises.submit_late(sweeps.SWEEP_ROWS)
    (last,) = promises.submit_late()
    assert set(promises.sweep()) == set(first)
    assert promises.sweep() == [last]


def test_a_claim_that_met_the_rows_of_a_sweep_is_made_up_for(
    promises: Promises, queue: FakeTaskQueue
) -> None:
    """It passed over them, as over all that others have locked, and its wake-up is spent."""
    wake_up = score_wake_up(promises.model.id)
    promises.submit_late()
    queue.take(wake_up)
    promises.sweep()
    assert queue.waiting == [wake_up]


def test_running_jobs_alone_wake_nobody(promises: Promises, queue: FakeTaskQueue) -> None:
    promises.submit_late()
    queue.take(score_wake_up(promises.model.id))
    factories.claimed(promises.database, promises.model)
    assert len(promises.sweep()) == 1
    assert queue.waiting == []


def test_the_schedulers_task_counts_overdue_jobs_by_model(promises: Promises) -> None:
    name = promises.model.name
    promises.submit_late(2)
    before = counted("medqueue_jobs_overdue_total", model=name)
    run_task(promises.database)
    run_task(promises.database)
    assert counted("medqueue_jobs_overdue_total", model=name) - before == 2


def test_an_overdue_job_comes_with_the_name_of_its_model(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    with promises.database.statement() as work:
        assert sweeps.overdue(work) == [OverdueJob(job_id, promises.model.name)]


def test_a_rescued_job_is_overdue_like_any_other(promises: Promises) -> None:
    (job_id,) = promises.submit_late()
    factories.claimed(promises.database, promises.model, lease_s=-1)
    with promises.database.statement() as work:
        assert sweeps.rescue(work, max_crashes=3).queued == (job_id,)
    assert promises.sweep() == [job_id]
    assert promises.tag(job_id) == f"{JobState.QUEUED}-1"


def run_task(database: Database) -> None:
    """What the scheduler does every few seconds."""
    unused: dict[str, Any] = dict.fromkeys([field.name for field in fields(Parts)])
    sweeps_of(Parts(**{**unused, "database": database}))["overdue"]()
