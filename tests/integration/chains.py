"""Jobs that wait for others, over a test's own database: submitted, worked on, ended in every way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.errors import AfterUnsuitable
from service.jobs import execution, queries, submission, sweeps
from service.jobs.execution import ClaimedJob, Ending, Problem
from service.jobs.queries import JobView, Reading
from service.jobs.submission import Accepted
from service.jobs.sweeps import Passed
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore

PROBLEM = Problem("model_failed", "why")


@dataclass(frozen=True)
class Chains:
    """One caller, one model, one worker."""

    database: Database
    keyring: Keyring
    queue: FakeTaskQueue
    model: PublishedModel
    caller: Principal

    def of_other_tenant(self) -> "Chains":
        """The same for another tenant of the same database."""
        return replace(self, caller=factories.principal(self.database, self.keyring, tenant="other"))

    def submit(self, *after: UUID, **values: Any) -> UUID:
        """A job that waits for these."""
        answer = self.answer(*after, **values)
        assert isinstance(answer, Accepted), answer
        return answer.id

    def answer(self, *after: UUID, **values: Any) -> Accepted | AfterUnsuitable:
        """What a submit of a job that is to wait for these is answered."""
        job = factories.new_job(self.caller, self.model, after=after, **values)
        with self.database.transaction() as work:
            return submission.submit_after(work, [job])[0]

    def claim(self, limit: int = 64) -> list[ClaimedJob]:
        """What a worker claims."""
        return factories.claimed(self.database, self.model, limit)

    def claimable(self) -> set[UUID]:
        """The jobs that a worker would claim: it gives them back."""
        jobs = self.claim()
        with self.database.statement() as work:
            execution.release(work, [job.lease for job in jobs], owner="w1")
        return {job.lease.id for job in jobs}

    def end(self, *ids: UUID, abstained: bool = False, problem: Problem | None = None) -> None:
        """Claim these jobs, which must be all that can be claimed, and end them in one statement."""
        jobs = [job for _ in ids for job in self.claim()]
        assert {job.lease.id for job in jobs} == set(ids)
        endings = [
            Ending(job.lease, problem=problem)
            if problem
            else Ending(job.lease, payload=b"sealed", abstained=abstained)
            for job in jobs
        ]
        with self.database.statement() as work:
            assert self.write(work, endings) == set(ids)

    @staticmethod
    def write(work: Any, endings: Sequence[Ending]) -> set[UUID]:
        """Write endings back."""
        return execution.end(work, endings, owner="w1", runtime="r", provider="p")

    def succeed(self, *ids: UUID) -> None:
        """End with results."""
        self.end(*ids)

    def abstain(self, *ids: UUID) -> None:
        """End with results without an answer."""
        self.end(*ids, abstained=True)

    def fail(self, *ids: UUID) -> None:
        """End with problems."""
        self.end(*ids, problem=PROBLEM)

    def cancel(self, job_id: UUID) -> None:
        """The caller calls a job off."""
        with self.database.transaction() as work:
            queries.cancel(work, self.caller, job_id)

    def expire(self, job_id: UUID) -> None:
        """Let the deadline of a job pass and the scheduler see it."""
        self.rows("UPDATE job SET deadline_at = now() - interval '1 s' WHERE id = %s", job_id)
        expired: list[UUID] = []
        for passed in Passed:
            with self.database.statement() as work:
                expired += sweeps.expire(work, passed)
        assert job_id in expired

    def quarantine(self, job_id: UUID) -> None:
        """Let the worker of the one job that is queued die."""
        factories.claimed(self.database, self.model, lease_s=-1)
        with self.database.statement() as work:
            assert sweeps.rescue(work, max_crashes=1).quarantined == (job_id,)

    def requeue(self, job_id: UUID) -> None:
        """An operator gives a quarantined job another chance."""
        with self.database.statement() as work:
            queries.requeue(work, job_id, actor="operator:test")

    def ready(self) -> list[UUID]:
        """What the scheduler queues because its time has come."""
        with self.database.statement() as work:
            return sweeps.ready(work)

    def view(self, job_id: UUID) -> JobView:
        """A job as its caller reads it."""
        with self.database.statement() as work:
            (found,) = queries.read(work, [Reading(self.caller, job_id)])
        assert isinstance(found, JobView)
        return found

    def states(self, *ids: UUID) -> list[str]:
        """The states of jobs."""
        rows = self.rows("SELECT id, state::text FROM job WHERE id = ANY (%s)", list(ids))
        found = {row.id: row.state for row in rows}
        return [found[job_id] for job_id in ids]

    def actions(self, job_id: UUID) -> list[str]:
        """What the trail of a job records, in order."""
        return [
            row[0]
            for row in self.rows("SELECT action FROM audit_event WHERE job_id = %s ORDER BY id", job_id)
        ]

    def rows(self, query: str, *params: object) -> list[Any]:
        """What Postgres answers to one statement."""
        with self.database.statement() as work:
            return work.execute(query, params)


def chains(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Chains:
    """Jobs of the default tenant."""
    model = factories.published(database, blobs)
    return Chains(database, keyring, queue, model, factories.principal(database, keyring))
