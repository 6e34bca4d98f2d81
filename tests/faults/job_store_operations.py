"""The operations of the job store, each twice: as the product runs it, and as the model judges what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from service import leases
from service.accounts import Principal
from service.catalog import PublishedModel
from service.db import Database, UnitOfWork
from service.errors import (
    AfterUnsuitable,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    ServiceError,
    TransitionRefused,
)
from service.jobs import execution, queries, submission, sweeps
from service.jobs.execution import Ending, Problem
from service.jobs.predecessors import MOST_DEPTH
from service.jobs.submission import Accepted, IdempotencyKey, NewJob
from service.jobs.sweeps import Passed
from service.leases import Lease
from service.lifecycle import JobState, Priority
from tests.faults import job_store_followers as followers
from tests.faults import job_store_model as expected
from tests.faults.job_store_state import ABSTAINED, Change, Deadline, Store

LEASE_S = 3600.0
DELAY_S = 3600.0
PROBLEM = Problem("input_unreadable", "Send it again.")
REMAINING = {Deadline.AHEAD: timedelta(hours=1), Deadline.PASSED: timedelta(hours=-1)}


class Operation(Protocol):
    """One call of the product. `several` says that it needs a transaction of several statements."""

    several: bool

    def run(self, work: UnitOfWork) -> Any:
        """Do it; what the product answers."""

    def waits_for(self, store: Store) -> list[int]:
        """The sessions whose open transaction it must wait for."""

    def judge(self, store: Store, outcome: Any) -> Change:
        """What it must have changed. Fails when the outcome, an answer or an error's code, is not the right one."""


class Waited(AssertionError):
    """A statement waited for a lock that it must not wait for, or lost its connection."""


def outcome_of(database: Database, operation: Operation) -> Any:
    """Run an operation in a unit of work of its own: the product's answer, or the code of its refusal."""
    try:
        with database.transaction() if operation.several else database.statement() as work:
            return operation.run(work)
    except DatabaseUnavailable as error:
        raise Waited(f"{operation} was given up by Postgres") from error
    except ServiceError as error:
        return error.code


@dataclass(frozen=True)
class Submit:
    """One case with or without an idempotency key, or several without."""

    caller: Principal = field(repr=False)
    model: PublishedModel = field(repr=False)
    priority: Priority
    deadline: Deadline
    key: str | None
    body: bytes
    count: int
    several = True

    def run(self, work: UnitOfWork) -> list[Accepted]:
        """See Operation."""
        remaining = REMAINING.get(self.deadline)
        job = NewJob(
            self.caller,
            self.model,
            payload=self.body,
            priority=self.priority,
            deadline_at=None if remaining is None else datetime.now(UTC) + remaining,
        )
        idempotency = None if self.key is None else IdempotencyKey(self.key, self.body)
        return submission.submit(work, [job] * (1 if self.key else self.count), idempotency)

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        first = store.of_key(self.key)
        # Postgres looks at the row that is in the way only once it is clear which version of it stays.
        return store.sessions_submitting(self.key) if first is None else store.sessions_changing([first])

    def judge(self, store: Store, outcome: list[Accepted] | str) -> Change:
        """See Operation."""
        first = store.of_key(self.key)
        if first is None:
            assert isinstance(outcome, list), outcome
            assert not any(answer.replayed for answer in outcome)
            created = {answer.id: answer.created_at for answer in outcome}
            return expected.submitted(
                store,
                created,
                priority=self.priority,
                deadline=self.deadline,
                key=self.key,
                body=self.body,
            )
        if store.jobs[first].body != self.body:
            assert outcome == IdempotencyKeyReused.code
            return Change()
        assert isinstance(outcome, list), outcome
        assert [(answer.id, answer.replayed) for answer in outcome] == [(first, True)]
        return Change(wakes=True)


@dataclass(frozen=True)
class Follow:
    """A case that waits for others. It asks again and again for what is locked, and never waits for a lock."""

    caller: Principal = field(repr=False)
    model: PublishedModel = field(repr=False)
    after: Sequence[UUID]
    several = True

    def run(self, work: UnitOfWork) -> Accepted:
        """See Operation."""
        job = NewJob(self.caller, self.model, payload=b"one", after=self.after)
        (stored,) = submission.submit_after(work, [job])
        if isinstance(stored, AfterUnsuitable):
            raise stored
        return stored

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        return store.sessions_holding(self.after)

    def judge(self, store: Store, outcome: Accepted | str) -> Change:
        """See Operation."""
        too_deep = followers.depth_after(store, self.after) > MOST_DEPTH
        if too_deep or any(store.jobs[job_id].bad for job_id in self.after):
            assert outcome == AfterUnsuitable.code
            return Change()
        assert isinstance(outcome, Accepted), outcome
        created = {outcome.id: outcome.created_at}
        new = expected.submitted(
            store, created, priority=Priority.ROUTINE, deadline=Deadline.NONE, key=None, body=b"one"
        )
        return followers.followed(store, self.after, new)


@dataclass(frozen=True)
class Claim:
    """A claim of several fresh jobs, or of one that was claimed before."""

    model: PublishedModel = field(repr=False)
    owner: str
    limit: int
    retries_first: bool
    several = False

    def run(self, work: UnitOfWork) -> list[Lease]:
        """See Operation."""
        claim = execution.claim(
            work,
            model_version_id=self.model.id,
            limit=self.limit,
            owner=self.owner,
            lease_s=LEASE_S,
            retries_first=self.retries_first,
        )
        return [job.lease for job in claim.jobs]

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        return []

    def judge(self, store: Store, outcome: list[Lease]) -> Change:
        """See Operation."""
        fresh, any_of = expected.claimable(store, self.limit, retries_first=self.retries_first)
        ids = [lease.id for lease in outcome]
        if any_of:
            assert len(ids) == 1
            assert set(ids) <= any_of
        else:
            assert ids == fresh
        change = expected.claimed(store, ids, owner=self.owner)
        assert [lease.fence for lease in outcome] == [change.jobs[job_id].seen.fence for job_id in ids]
        return change


@dataclass(frozen=True)
class WriteBack:
    """What a claimant may do with leases that it has, or had."""

    owner: str
    leases: Sequence[Lease]
    several = False

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        return store.sessions_locking(lease.id for lease in store.held(self.leases))

    def agreed(self, outcome: set[UUID], change: Change) -> Change:
        """The change, when the product named the same jobs as still held."""
        assert outcome == change.ids
        return change


@dataclass(frozen=True)
class End(WriteBack):
    """Results and problems written back; a lease without a payload ends with a problem."""

    payloads: Mapping[Lease, bytes | None]

    def run(self, work: UnitOfWork) -> set[UUID]:
        """See Operation."""
        endings = [
            Ending(lease, problem=PROBLEM)
            if payload is None
            else Ending(lease, payload=payload, abstained=payload.startswith(ABSTAINED))
            for lease, payload in self.payloads.items()
        ]
        return execution.end(work, endings, owner=self.owner, runtime="r", provider="p")

    def waits_for(self, store: Store) -> list[int]:
        """See Operation. It waits for those who have locked what waits for its jobs as well."""
        return store.sessions_locking(self._expected(store).kept)

    def judge(self, store: Store, outcome: set[UUID]) -> Change:
        """See Operation."""
        assert outcome == {lease.id for lease in store.held(self.payloads)}
        return self._expected(store)

    def _expected(self, store: Store) -> Change:
        return expected.ended(store, self.payloads, problem=PROBLEM.code)


@dataclass(frozen=True)
class Retry(WriteBack):
    """Jobs queued again, at once or later."""

    due: bool

    def run(self, work: UnitOfWork) -> set[UUID]:
        """See Operation."""
        delays_s = [0.0 if self.due else DELAY_S] * len(self.leases)
        return execution.retry(work, self.leases, delays_s, owner=self.owner, code="model_unavailable")

    def judge(self, store: Store, outcome: set[UUID]) -> Change:
        """See Operation."""
        return self.agreed(outcome, expected.retried(store, self.leases, due=self.due))


@dataclass(frozen=True)
class Release(WriteBack):
    """Jobs given back untouched."""

    def run(self, work: UnitOfWork) -> set[UUID]:
        """See Operation."""
        return execution.release(work, self.leases, owner=self.owner)

    def judge(self, store: Store, outcome: set[UUID]) -> Change:
        """See Operation."""
        return self.agreed(outcome, expected.released(store, self.leases))


@dataclass(frozen=True)
class Renew(WriteBack):
    """A heartbeat."""

    def run(self, work: UnitOfWork) -> set[UUID]:
        """See Operation."""
        return leases.renew(work, "job", self.leases, LEASE_S)

    def judge(self, store: Store, outcome: set[UUID]) -> Change:
        """See Operation."""
        return self.agreed(outcome, expected.renewed(store, self.leases))


@dataclass(frozen=True)
class Cancel:
    """The caller calls a job off."""

    caller: Principal = field(repr=False)
    job_id: UUID
    several = True

    def run(self, work: UnitOfWork) -> JobState:
        """See Operation."""
        return queries.cancel(work, self.caller, self.job_id).state

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        return store.sessions_locking(expected.canceled(store, self.job_id).kept)

    def judge(self, store: Store, outcome: JobState) -> Change:
        """See Operation."""
        change = expected.canceled(store, self.job_id)
        assert outcome == change.jobs.get(self.job_id, store.jobs[self.job_id]).seen.state
        return change


@dataclass(frozen=True)
class Requeue:
    """An operator gives a job another chance."""

    job_id: UUID
    several = False

    def run(self, work: UnitOfWork) -> None:
        """See Operation."""
        queries.requeue(work, self.job_id, actor="operator:test")

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        aside = store.jobs[self.job_id].seen.state is JobState.QUARANTINED
        return store.sessions_locking([self.job_id]) if aside else []

    def judge(self, store: Store, outcome: str | None) -> Change:
        """See Operation."""
        change = expected.requeued(store, self.job_id)
        assert outcome == (TransitionRefused.code if change is None else None)
        return change or Change()


@dataclass(frozen=True)
class Sweep:
    """What the scheduler does; it waits for nobody."""

    several = False

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        return []


@dataclass(frozen=True)
class Rescue(Sweep):
    """Jobs whose lease has lapsed are taken back."""

    def run(self, work: UnitOfWork) -> sweeps.Rescued:
        """See Operation."""
        return sweeps.rescue(work, max_crashes=expected.MAX_CRASHES)

    def judge(self, store: Store, outcome: sweeps.Rescued) -> Change:
        """See Operation."""
        change = expected.rescued(store)
        assert set(outcome.quarantined) == set(change.announced)
        assert {*outcome.queued, *outcome.quarantined} == change.ids
        return change


@dataclass(frozen=True)
class Expire:
    """Jobs whose deadline has passed are ended. It skips those that are locked, but waits for what waits for the others."""

    passed: Passed
    several = False

    def run(self, work: UnitOfWork) -> list[UUID]:
        """See Operation."""
        return sweeps.expire(work, self.passed)

    def waits_for(self, store: Store) -> list[int]:
        """See Operation."""
        ids = expected.past_deadline(store, self.passed)
        return store.sessions_locking(expected.expired(store, ids).kept)

    def judge(self, store: Store, outcome: list[UUID]) -> Change:
        """See Operation."""
        ids = expected.past_deadline(store, self.passed)
        if self.passed is Passed.WAITING_FOLLOWED:
            assert len(outcome) == min(1, len(ids))
            assert set(outcome) <= set(ids)
        else:
            assert set(outcome) == set(ids)
        return expected.expired(store, outcome)


@dataclass(frozen=True)
class Rewake(Sweep):
    """Wake-ups are sent again for whatever waits."""

    model: PublishedModel = field(repr=False)

    def run(self, work: UnitOfWork) -> list[UUID]:
        """See Operation."""
        return sweeps.rewake(work)

    def judge(self, store: Store, outcome: list[UUID]) -> Change:
        """See Operation."""
        wakes = expected.has_work(store)
        assert outcome == ([self.model.id] if wakes else [])
        return Change(wakes=wakes)
