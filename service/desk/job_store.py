"""Stores checked cases as jobs, while the queue has room: lone ones together with those of other requests."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from service import failpoints
from service.accounts import Principal
from service.combining import Combiner
from service.db import Database
from service.errors import AfterUnsuitable, DatabaseUnavailable
from service.failpoints import Point
from service.jobs import submission
from service.jobs.admission import Admission, Room
from service.jobs.submission import Accepted, IdempotencyKey, NewJob
from service.metrics import JOBS_SUBMITTED

COMBINED = 64


class JobStore:
    """Takes checked cases into the queue."""

    def __init__(self, database: Database, admission: Admission) -> None:
        self._database = database
        self._admission = admission
        self._submits = Combiner(
            partial(_submit_all, database), limit=COMBINED, for_all=(DatabaseUnavailable,)
        )

    def one(self, job: NewJob) -> Accepted:
        """Store a lone case, in one transaction with concurrent ones. Raises TenantQueueFull or QueueFull."""
        with self.room(job.principal, 1):
            accepted = self._submits.run(job)
        JOBS_SUBMITTED.labels(job.model.name).inc()
        return accepted

    def room(self, principal: Principal, jobs: int) -> AbstractContextManager[Room]:
        """Room in the queue for the cases of one request, to be reserved before work is done for them.

        Raises TenantQueueFull or QueueFull.
        """
        return self._admission.room(principal.tenant_id, jobs)

    def all(self, jobs: list[NewJob], idempotency: IdempotencyKey | None) -> list[Accepted | AfterUnsuitable]:
        """Store the cases of one request, for which there is room: all or none but those that wait for what they cannot.

        Raises PredecessorBusy.
        """
        waits = any(job.predecessors for job in jobs)
        several = idempotency or waits or any(job.parts for job in jobs)
        unit = self._database.transaction() if several else self._database.statement()
        store = submission.submit_after if waits else submission.submit
        failpoints.reach(Point.SUBMIT_BEFORE)
        with unit as work:
            stored = [*store(work, jobs, idempotency)]
        failpoints.reach(Point.SUBMIT_AFTER)
        fresh = Counter(
            job.model.name
            for job, each in zip(jobs, stored, strict=True)
            if isinstance(each, Accepted) and not each.replayed
        )
        for name, count in fresh.items():
            JOBS_SUBMITTED.labels(name).inc(count)
        return stored

    def earlier(
        self, principal: Principal, idempotency: IdempotencyKey | None, *, count: int
    ) -> dict[int, Accepted]:
        """What this key stored before, by position in the request: looked up first, since checks may fail that passed then."""
        if idempotency is None:
            return {}
        with self._database.statement() as work:
            return submission.earlier(work, principal, idempotency, count=count)


def _submit_all(database: Database, new_jobs: Sequence[NewJob]) -> list[Accepted]:
    """Store the cases of several requests in one transaction."""
    failpoints.reach(Point.SUBMIT_BEFORE)
    with database.statement() as work:
        accepted = submission.submit(work, new_jobs)
    failpoints.reach(Point.SUBMIT_AFTER)
    return accepted
