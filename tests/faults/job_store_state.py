"""What a job store holds, in plain Python: jobs, what can be observed of them, and the changes of open transactions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from service.leases import Lease
from service.lifecycle import FINAL_STATES, JobState

Time = Literal["lease", "delay", "deadline"]
ABSTAINED = b"abstained"  # how the payload of a result begins in which the model gives no answer


class Deadline(StrEnum):
    """Where a job's deadline lies."""

    NONE = "none"
    AHEAD = "ahead"
    PASSED = "passed"


@dataclass(frozen=True)
class Event:
    """One line of a trail: what happened, and the counters that it names."""

    action: str
    attempt: int | None = None
    fence: int | None = None


@dataclass(frozen=True)
class StoredResult:
    """A row of results: the fence under which it was written, and its bytes."""

    fence: int
    payload: bytes


@dataclass(frozen=True)
class Seen:
    """What can be observed of a job, in the model and in the database alike."""

    state: JobState
    fence: int
    attempt: int
    crash_count: int
    claim_size: int
    owner: str | None
    lapsed: bool | None
    due: bool
    finished: bool
    problem: str | None
    results: tuple[StoredResult, ...] = ()
    trail: tuple[Event, ...] = ()
    after: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Job:
    """A job. `available` orders the moments since which jobs may be claimed again."""

    seen: Seen
    rank_at: datetime
    available: int
    deadline: Deadline
    key: str | None
    body: bytes
    depth: int = 0
    followed: bool = False
    abstained: bool = False

    def moved(self, state: JobState, event: Event, **seen: object) -> "Job":
        """The job in another state, its lease gone unless a new one is given, with one more event."""
        lease: dict[str, object] = {"owner": None, "lapsed": None}
        # The keywords are fields of Seen; replace() itself refuses any other.
        changed = replace(self.seen, state=state, trail=(*self.seen.trail, event), **lease | seen)  # type: ignore[arg-type]
        return replace(self, seen=changed)

    @property
    def claimable(self) -> bool:
        """Whether a claim may take it as far as time is concerned."""
        return self.seen.state is JobState.QUEUED and self.deadline is not Deadline.PASSED

    @property
    def good(self) -> bool:
        """Whether others may go on from it."""
        return self.seen.state is JobState.SUCCEEDED and not self.abstained

    @property
    def bad(self) -> bool:
        """Whether others can no longer go on from it."""
        return self.seen.state in FINAL_STATES and not self.good


@dataclass(frozen=True)
class Change:
    """What one operation did: the jobs as they are afterwards, whose end is announced, whether a worker is woken.

    `shared` are jobs that nobody may change while the transaction is open, `locked` such as nobody may hold either.
    """

    jobs: Mapping[UUID, Job] = field(default_factory=dict)
    announced: tuple[UUID, ...] = ()
    wakes: bool = False
    shared: frozenset[UUID] = frozenset()
    locked: frozenset[UUID] = frozenset()

    @property
    def ids(self) -> set[UUID]:
        """The jobs that were changed."""
        return set(self.jobs)

    @property
    def kept(self) -> set[UUID]:
        """The jobs that others cannot change while the transaction is open."""
        return self.ids | self.shared | self.locked


class Store:
    """Committed jobs in the order of their arrival, and the changes of open transactions by session."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.open: dict[int, Change] = {}
        self.announced: list[UUID] = []
        self.worker_woken = False
        self._moment = 0

    def commit(self, change: Change) -> None:
        """Make a change everybody's."""
        self.jobs.update(change.jobs)
        self.announced.extend(change.announced)
        self.worker_woken = self.worker_woken or change.wakes

    def distinguishable(self, change: Change) -> dict[UUID, int]:
        """By how much earlier each of several jobs queued at one moment is to have come: the first to arrive first."""
        queued = [job_id for job_id, job in change.jobs.items() if job.seen.state is JobState.QUEUED]
        earlier = dict(zip(reversed(queued), range(len(queued)), strict=True))
        for job_id, by in earlier.items():
            self.jobs[job_id] = replace(self.jobs[job_id], available=self.jobs[job_id].available - by)
        return earlier

    def ranked(self, ranks: Mapping[UUID, datetime]) -> None:
        """Take over where jobs stand in line that have been released, which the database's clock decides."""
        for job_id, rank_at in ranks.items():
            self.jobs[job_id] = replace(self.jobs[job_id], rank_at=rank_at)

    def moment(self) -> int:
        """A later moment than any before, with room for others in between."""
        self._moment += 1000
        return self._moment

    def locked(self) -> set[UUID]:
        """Jobs that open transactions have changed, made or locked."""
        return {job_id for change in self.open.values() for job_id in change.kept}

    def in_state(self, *states: JobState) -> list[UUID]:
        """Committed jobs in one of these states that nobody has locked, in the order of their arrival."""
        locked = self.locked()
        return [
            job_id for job_id, job in self.jobs.items() if job.seen.state in states and job_id not in locked
        ]

    def sessions_locking(self, wanted: Iterable[UUID]) -> list[int]:
        """Sessions whose open transaction keeps others from changing any of these jobs."""
        ids = set(wanted)
        return [session for session, change in self.open.items() if change.kept & ids]

    def sessions_changing(self, wanted: Iterable[UUID]) -> list[int]:
        """Sessions whose open transaction has changed any of these jobs."""
        ids = set(wanted)
        return [session for session, change in self.open.items() if change.ids & ids]

    def sessions_holding(self, wanted: Iterable[UUID]) -> list[int]:
        """Sessions whose open transaction keeps others from holding any of these jobs, which ended ones are not."""
        ids = {job_id for job_id in wanted if self.jobs[job_id].seen.state not in FINAL_STATES}
        return [session for session, change in self.open.items() if (change.ids | change.locked) & ids]

    def followers(self, ids: Iterable[UUID]) -> set[UUID]:
        """Committed jobs that wait for any of these, or waited."""
        wanted = set(ids)
        return {job_id for job_id, job in self.jobs.items() if wanted & set(job.seen.after)}

    def sessions_submitting(self, key: str | None) -> list[int]:
        """Sessions whose open transaction has used an idempotency key first."""
        return [
            session
            for session, change in self.open.items()
            if key is not None
            and any(job.key == key and job_id not in self.jobs for job_id, job in change.jobs.items())
        ]

    def held(self, leases: Iterable[Lease]) -> list[Lease]:
        """Those leases that still hold."""
        return [
            lease
            for lease in leases
            if lease.id in self.jobs
            and self.jobs[lease.id].seen.state is JobState.RUNNING
            and self.jobs[lease.id].seen.fence == lease.fence
        ]

    def of_key(self, key: str | None) -> UUID | None:
        """The job that came with this key."""
        return next((job_id for job_id, job in self.jobs.items() if key is not None and job.key == key), None)
