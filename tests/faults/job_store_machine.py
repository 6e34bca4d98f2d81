"""The state machine: random operations of interleaved sessions, after each of which model and database must agree.

It works in one thread, so that a run can be repeated. An operation that must wait for an open transaction runs in a
second thread until Postgres says that it waits; then the transaction is ended and the answer judged.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, get_args
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.db import UnitOfWork
from service.errors import ServiceError
from service.jobs.sweeps import Passed
from service.leases import Lease
from service.lifecycle import JobState, Priority
from tests.faults.job_store_bench import FORBIDDEN, LOCK_TIMEOUT_S, Bench
from tests.faults.job_store_model import broken_promises, past_deadline, time_passed
from tests.faults.job_store_operations import (
    Cancel,
    Claim,
    End,
    Expire,
    Follow,
    Operation,
    Release,
    Renew,
    Requeue,
    Rescue,
    Retry,
    Rewake,
    Submit,
    outcome_of,
)
from tests.faults.job_store_state import ABSTAINED, Change, Deadline, Job, Store, Time

OPEN_AT_MOST = 2
POLLED_S = 0.15
WRITE_BACKS = ["succeed", "succeed", "abstain", "end some", "retry", "put off", "release", "renew"]
TIMES: tuple[Time, ...] = get_args(Time)
T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """Which free session acts, whether it leaves its transaction open, and how those it waits for are ended."""

    session: int = 0
    hold: bool = False
    commit: bool = True


class RolledBack(Exception):
    """Ends an open transaction without effect."""


turns = st.builds(
    Turn, session=st.integers(0, 3), hold=st.sampled_from([False, False, True]), commit=st.booleans()
)
backs = st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)
picks = st.integers(0, 9)


class JobStoreMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.bench.wipe()
        self.store = Store()
        self.leases: list[Lease] = []
        self.open: dict[int, tuple[UnitOfWork, list[Lease]]] = {}
        self.before = self.bench.seen()
        self.results = 0

    def teardown(self) -> None:
        """End what is open."""
        for session in list(self.open):
            self._close(session, commit=False)

    @invariant()
    def model_and_database_agree(self) -> None:
        """All jobs, their results, their trails, the announcements and the wake-up."""
        seen = self.bench.seen()
        assert broken_promises(seen, self.before) == []
        assert seen == {job_id: job.seen for job_id, job in self.store.jobs.items()}
        assert sorted(self.bench.queue.announced) == sorted(self.store.announced)
        assert bool(self.bench.queue.waiting) == self.store.worker_woken
        self.before = seen

    @rule(
        turn=turns,
        priority=st.sampled_from(Priority),
        deadline=st.sampled_from([Deadline.NONE, Deadline.NONE, Deadline.AHEAD, Deadline.PASSED]),
        key=st.sampled_from([None, None, "k1", "k2"]),
        body=st.sampled_from([b"one", b"other"]),
        count=st.integers(1, 3),
    )
    def submit(
        self,
        turn: Turn = Turn(),
        priority: Priority = Priority.ROUTINE,
        deadline: Deadline = Deadline.NONE,
        key: str | None = None,
        body: bytes = b"one",
        count: int = 1,
    ) -> None:
        """Cases come in."""
        operation = Submit(self.bench.caller, self.bench.model, priority, deadline, key, body, count)
        self._act(turn, operation)

    @precondition(lambda self: self.store.jobs)
    @rule(turn=turns, picked=backs)
    def follow(self, turn: Turn = Turn(), picked: Sequence[int] = (0,)) -> None:
        """A case comes in that waits for others."""
        jobs = list(self.store.jobs)
        after = list(dict.fromkeys(_back(jobs, pick) for pick in picked))
        self._act(turn, Follow(self.bench.caller, self.bench.model, after))

    @initialize(count=st.integers(1, 6), limit=st.integers(1, 3))
    def start(self, count: int = 1, limit: int = 1) -> None:
        """There is work from the beginning, and some of it is begun."""
        self.submit(count=count)
        self.claim(limit=limit)

    @rule(
        turn=turns,
        what=st.sampled_from(["claim", "claim", *WRITE_BACKS]),
        limit=st.sampled_from([1, 1, 2, 5]),
        retries_first=st.booleans(),
        late=st.booleans(),
        back=backs,
    )
    def work(
        self, turn: Turn, what: str, limit: int, retries_first: bool, late: bool, back: Sequence[int]
    ) -> None:
        """A worker does something: one rule, so that most runs have both claims and what follows them."""
        if what == "claim" or not self.leases:
            self.claim(turn, limit, retries_first)
        else:
            self.write_back(turn, what, late, back)

    def claim(self, turn: Turn = Turn(), limit: int = 1, retries_first: bool = True) -> None:
        """A worker claims."""
        self._act(turn, Claim(self.bench.model, f"w{turn.session}", limit, retries_first))

    def write_back(
        self, turn: Turn = Turn(), what: str = "succeed", late: bool = False, back: Sequence[int] = (0,)
    ) -> None:
        """A worker does what only who holds a job may do; `late`, with leases that it has lost."""
        held, lost = self.store.held(self.leases), self._lost()
        leases = (lost or held) if late else (held or lost)
        self._write_back(turn, what, _each_back(leases, back))

    @precondition(lambda self: len(self.store.jobs) > 1)
    @rule(turn=turns, pick=picks)
    def cancel(self, turn: Turn = Turn(), pick: int = 0) -> None:
        """The caller calls a job off, ended or not."""
        self._act(turn, Cancel(self.bench.caller, _back(list(self.store.jobs), pick)))

    @precondition(lambda self: self._in_quarantine())
    @rule(turn=turns, allowed=st.booleans(), pick=picks)
    def requeue(self, turn: Turn = Turn(), allowed: bool = True, pick: int = 0) -> None:
        """An operator requeues a quarantined job, or any."""
        jobs = self._in_quarantine() if allowed else list(self.store.jobs)
        self._act(turn, Requeue(_back(jobs, pick)))

    @precondition(lambda self: self.store.jobs)
    @rule(turn=turns, what=st.sampled_from(["rescue", "expire", "expire waiting", "rewake"]))
    def sweep(self, turn: Turn = Turn(), what: str = "rescue") -> None:
        """The scheduler looks for lapsed leases, passed deadlines or, after Redis forgot everything, for work."""
        match what:
            case "rescue":
                self._act(turn, Rescue())
            case "expire":
                self._act(turn, Expire(Passed.QUEUED))
            case "expire waiting":
                self._expire_waiting(turn)
            case _:
                self.bench.queue.waiting.clear()
                self.store.worker_woken = False
                self._act(Turn(turn.session), Rewake(self.bench.model))

    def _expire_waiting(self, turn: Turn) -> None:
        """Waiting jobs for which others wait are ended one by one: which one comes first is not modelled."""
        self._act(turn, Expire(Passed.WAITING))
        if len(past_deadline(self.store, Passed.WAITING_FOLLOWED)) <= 1 or not self.open:
            self._act(turn, Expire(Passed.WAITING_FOLLOWED))

    @precondition(lambda self: any(self._timed(what) for what in TIMES))
    @rule(what=st.sampled_from(TIMES), pick=picks)
    def pass_time(self, what: Time = "lease", pick: int = 0) -> None:
        """A lease lapses, a delay is over or a deadline passes."""
        jobs = self._timed(what)
        if jobs:
            self._pass_time(_back(jobs, pick), what)

    @precondition(lambda self: self.store.in_state(JobState.QUEUED) and not self._in_quarantine())
    @rule(times=st.sampled_from([1, 1, 3]), taken_over=st.booleans())
    def crash(self, times: int = 1, taken_over: bool = False) -> None:
        """A worker claims a job alone and dies, again and again; then maybe another takes the job over."""
        for _ in range(times):
            known = len(self.leases)
            self.claim()
            for lease in self.leases[known:]:
                self._pass_time(lease.id, "lease")
            self.sweep()
            self.model_and_database_agree()
        if taken_over:
            self.claim(Turn(1))

    @precondition(lambda self: self.open)
    @rule(pick=picks, commit=st.sampled_from([True, True, False]))
    def finish(self, pick: int = 0, commit: bool = True) -> None:
        """A session ends its open transaction."""
        self._close(_back(list(self.open), pick), commit=commit)

    @precondition(lambda self: self.store.jobs)
    @rule(name=st.sampled_from(sorted(FORBIDDEN)), pick=picks)
    def try_the_forbidden(self, name: str, pick: int = 0) -> None:
        """Somebody goes past the code: the database refuses by itself."""
        jobs = self.store.in_state(*FORBIDDEN[name].states)
        if jobs:
            refusal = self.bench.refusal(FORBIDDEN[name], _back(jobs, pick))
            assert refusal == FORBIDDEN[name].sqlstate, f"{name}: {refusal}"

    def _timed(self, what: Time) -> list[UUID]:
        """Jobs for which this time may come."""
        states = {"lease": [JobState.RUNNING], "delay": [JobState.QUEUED]}
        asked = states.get(what, [JobState.QUEUED, JobState.WAITING])
        jobs = {job_id: self.store.jobs[job_id] for job_id in self.store.in_state(*asked)}
        not_yet: dict[Time, Callable[[Job], bool]] = {
            "lease": lambda job: not job.seen.lapsed,
            "delay": lambda job: not job.seen.due,
            "deadline": lambda job: job.deadline is Deadline.AHEAD,
        }
        return [job_id for job_id, job in jobs.items() if not_yet[what](job)]

    def _payloads(self, leases: Sequence[Lease], what: str) -> dict[Lease, bytes | None]:
        """A result for each lease, told apart from all others; none where the job is to fail."""
        self.results += 1
        begin = ABSTAINED if what == "abstain" else b""
        return {
            lease: begin + b"%d by %d" % (self.results, lease.fence)
            if what != "end some" or number % 2
            else None
            for number, lease in enumerate(leases)
        }

    def _waits(self, job_id: UUID) -> bool:
        """Whether a job waits, or is new."""
        return job_id not in self.store.jobs or self.store.jobs[job_id].seen.state is JobState.WAITING

    def _in_quarantine(self) -> list[UUID]:
        return [job_id for job_id, job in self.store.jobs.items() if job.seen.state is JobState.QUARANTINED]

    def _lost(self) -> list[Lease]:
        """Leases of jobs that somebody else runs now; without such, all that hold no longer."""
        held = set(self.store.held(self.leases))
        lost = [lease for lease in self.leases if lease not in held]
        running = {job_id for job_id, job in self.store.jobs.items() if job.seen.state is JobState.RUNNING}
        return [lease for lease in lost if lease.id in running] or lost

    def _write_back(self, turn: Turn, what: str, leases: Sequence[Lease]) -> None:
        owner = f"w{turn.session}"
        operations: dict[str, Callable[[], Operation]] = {
            "retry": lambda: Retry(owner, leases, due=True),
            "put off": lambda: Retry(owner, leases, due=False),
            "release": lambda: Release(owner, leases),
            "renew": lambda: Renew(owner, leases),
        }
        end = lambda: End(owner, leases, self._payloads(leases, what))  # noqa: E731  # as those above
        self._act(turn, operations.get(what, end)())

    def _pass_time(self, job_id: UUID, what: Time) -> None:
        self.bench.pass_time(job_id, what)
        self.store.commit(time_passed(self.store, job_id, what))

    def _act(self, turn: Turn, operation: Operation) -> None:
        """Run an operation in a session that is free, alone or against the open transactions that it waits for."""
        session = _back([session for session in range(4) if session not in self.open], turn.session)
        waits_for = operation.waits_for(self.store)
        if waits_for:
            outcome = self._outcome_after(waits_for, session, operation, commit=turn.commit)
        elif turn.hold and len(self.open) < OPEN_AT_MOST:
            self._hold(session, operation)
            return
        else:
            outcome = outcome_of(self.bench.sessions[session], operation)
        self._commit(operation.judge(self.store, outcome))
        self.leases += _leases_of(operation, outcome)

    def _commit(self, change: Change) -> None:
        """Take a change over. Retries of one moment may be claimed in any order: they are told apart, so that a run
        can be repeated.
        """
        waited = {job_id for job_id in change.jobs if self._waits(job_id)}
        self.store.commit(change)
        self.store.ranked(self.bench.ranks(waited))
        earlier = self.store.distinguishable(change)
        if len(earlier) > 1:
            self.bench.move_earlier(earlier)

    def _hold(self, session: int, operation: Operation) -> None:
        """Run an operation and leave its transaction open."""
        work = self.bench.sessions[session].transaction()
        work.__enter__()
        self.open[session] = work, []
        try:
            outcome = operation.run(work)
        except ServiceError as error:
            self._close(session, commit=False)
            outcome = error.code
            operation.judge(self.store, outcome)
            return
        self.store.open[session] = operation.judge(self.store, outcome)
        self.open[session] = work, _leases_of(operation, outcome)

    def _close(self, session: int, *, commit: bool) -> None:
        work, leases = self.open.pop(session)
        change = self.store.open.pop(session, None)
        if commit and change is not None:
            work.__exit__(None, None, None)
            self._commit(change)
            self.leases += leases
        else:
            work.__exit__(RolledBack, RolledBack(), None)

    def _outcome_after(
        self, sessions: Sequence[int], session: int, operation: Operation, *, commit: bool
    ) -> Any:
        """The outcome of an operation that waits until those sessions have ended their transactions."""
        with ThreadPoolExecutor(1) as second_thread:
            future = second_thread.submit(outcome_of, self.bench.sessions[session], operation)
            self._see_waiting(future, operation)
            for other in sessions:
                self._close(other, commit=commit)
            return future.result()

    def _see_waiting(self, future: "Future[Any]", operation: Operation) -> None:
        if isinstance(operation, Follow):
            time.sleep(POLLED_S)
            assert not future.done(), f"{operation} took what another holds: {future.result()}"
            return
        give_up_at = time.monotonic() + LOCK_TIMEOUT_S
        while not self.bench.somebody_waits():
            assert not future.done(), f"{operation} did not wait for who has its row: {future.result()}"
            assert time.monotonic() < give_up_at, f"{operation} neither waits nor ends"


def _back(items: Sequence[T], count: int) -> T:
    """An item, counted back from the last; round again when there are fewer."""
    return items[-1 - count % len(items)]


def _each_back(leases: Sequence[Lease], back: Sequence[int]) -> list[Lease]:
    return list(dict.fromkeys(_back(leases, count) for count in back))


def _leases_of(operation: Operation, outcome: Any) -> list[Lease]:
    return outcome if isinstance(operation, Claim) else []
