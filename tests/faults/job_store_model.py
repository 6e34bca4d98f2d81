"""The job store in plain Python: what each operation must do to jobs, their trail and their results. No SQL.

Time is not modelled as a clock but as what matters of it: whether a lease has lapsed, a delay is over or a deadline
has passed. What an open transaction has written is kept beside the committed jobs, and locks them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from service.jobs.sweeps import Passed
from service.leases import Lease
from service.lifecycle import FINAL_STATES, PRIORITY_HEADSTART_S, JobState, Priority
from tests.faults import job_store_followers as followers
from tests.faults.job_store_state import (
    ABSTAINED,
    Change,
    Deadline,
    Event,
    Job,
    Seen,
    Store,
    StoredResult,
    Time,
)

MAX_CRASHES = 3
CLOSING = frozenset(f"job.{state}" for state in FINAL_STATES)


def submitted(
    store: Store,
    created: Mapping[UUID, datetime],
    *,
    priority: Priority,
    deadline: Deadline,
    key: str | None,
    body: bytes,
) -> Change:
    """New jobs with the ids and times of arrival that the store gave them."""
    headstart, moment = timedelta(seconds=PRIORITY_HEADSTART_S[priority]), store.moment()
    seen = Seen(
        state=JobState.QUEUED,
        fence=0,
        attempt=0,
        crash_count=0,
        claim_size=0,
        owner=None,
        lapsed=None,
        due=True,
        finished=False,
        problem=None,
        results=(),
        trail=(Event("job.submitted"),),
    )
    jobs = {
        job_id: Job(seen, created_at + headstart, moment, deadline, key, body)
        for job_id, created_at in created.items()
    }
    return Change(jobs, wakes=True)


def claimable(store: Store, limit: int, *, retries_first: bool) -> tuple[list[UUID], set[UUID]]:
    """What a claim takes: fresh jobs in rank order, or else any one of a set of retries that are equally long due."""
    free = {job_id: store.jobs[job_id] for job_id in store.in_state(JobState.QUEUED)}
    waiting = {job_id: job for job_id, job in free.items() if job.claimable}
    due = {job_id: job.available for job_id, job in waiting.items() if job.seen.attempt and job.seen.due}
    if retries_first and due:
        first = min(due.values())
        return [], {job_id for job_id, available in due.items() if available == first}
    fresh = [(job.rank_at, job_id) for job_id, job in waiting.items() if job.seen.attempt == 0]
    return [job_id for _, job_id in sorted(fresh)][:limit], set()


def claimed(store: Store, picked: Sequence[UUID], *, owner: str) -> Change:
    """These jobs in the hands of `owner`."""
    jobs = {}
    for job_id in picked:
        seen = store.jobs[job_id].seen
        attempt, fence = seen.attempt + 1, seen.fence + 1
        jobs[job_id] = store.jobs[job_id].moved(
            JobState.RUNNING,
            Event("job.claimed", attempt, fence),
            attempt=attempt,
            fence=fence,
            claim_size=len(picked),
            owner=owner,
            lapsed=False,
        )
    return Change(jobs)


def ended(store: Store, payloads: Mapping[Lease, bytes | None], *, problem: str) -> Change:
    """Held jobs ended, those with a payload with that result and the others with a problem."""
    jobs = {}
    for lease in store.held(payloads):
        job_id, payload = lease.id, payloads[lease]
        seen = store.jobs[job_id].seen
        state = JobState.FAILED if payload is None else JobState.SUCCEEDED
        jobs[job_id] = store.jobs[job_id].moved(
            state,
            Event(f"job.{state}", seen.attempt, seen.fence),
            finished=True,
            problem=problem if payload is None else None,
            results=() if payload is None else (StoredResult(seen.fence, payload),),
        )
        jobs[job_id] = replace(jobs[job_id], abstained=payload is not None and payload.startswith(ABSTAINED))
    return followers.with_followers(store, Change(jobs, announced=tuple(jobs)))


def retried(store: Store, leases: Sequence[Lease], *, due: bool) -> Change:
    """Held jobs queued again, at once or after a delay."""
    moment, jobs = store.moment(), {}
    for job_id in _ids(store.held(leases)):
        seen = store.jobs[job_id].seen
        event = Event("job.retried", seen.attempt, seen.fence)
        jobs[job_id] = replace(store.jobs[job_id].moved(JobState.QUEUED, event, due=due), available=moment)
    return Change(jobs)


def released(store: Store, leases: Sequence[Lease]) -> Change:
    """Held jobs queued again as if that claim had not been."""
    moment, jobs = store.moment(), {}
    for job_id in _ids(store.held(leases)):
        seen = store.jobs[job_id].seen
        event = Event("job.released", fence=seen.fence)
        given_back = store.jobs[job_id].moved(JobState.QUEUED, event, attempt=seen.attempt - 1, due=True)
        jobs[job_id] = replace(given_back, available=moment)
    return Change(jobs)


def renewed(store: Store, leases: Sequence[Lease]) -> Change:
    """Held jobs with a lease that has not lapsed."""
    return Change({job_id: _seen(store.jobs[job_id], lapsed=False) for job_id in _ids(store.held(leases))})


def canceled(store: Store, job_id: UUID) -> Change:
    """The job canceled, unless it has ended."""
    job = store.jobs[job_id]
    if job.seen.state not in {JobState.WAITING, JobState.QUEUED, JobState.RUNNING}:
        return Change()
    event = Event("job.canceled", job.seen.attempt, job.seen.fence)
    canceled = Change({job_id: job.moved(JobState.CANCELED, event, finished=True)}, announced=(job_id,))
    return followers.with_followers(store, canceled)


def requeued(store: Store, job_id: UUID) -> Change | None:
    """The quarantined job queued again; None for a job in another state, which is refused."""
    moment, job = store.moment(), store.jobs[job_id]
    if job.seen.state is not JobState.QUARANTINED:
        return None
    event = Event("job.requeued", fence=job.seen.fence)
    again = job.moved(JobState.QUEUED, event, crash_count=0, finished=False, problem=None, due=True)
    return Change({job_id: replace(again, available=moment)}, wakes=True)


def rescued(store: Store) -> Change:
    """Jobs whose lease has lapsed queued again, or set aside after the last crash that they may cause alone."""
    moment, jobs = store.moment(), {}
    for job_id in store.in_state(JobState.RUNNING):
        job = store.jobs[job_id]
        if job.seen.lapsed:
            jobs[job_id] = replace(_after_crash(job), available=moment)
    aside = tuple(job_id for job_id, job in jobs.items() if job.seen.state is JobState.QUARANTINED)
    return Change(jobs, announced=aside, wakes=len(aside) < len(jobs))


def _after_crash(job: Job) -> Job:
    seen = job.seen
    crashes = seen.crash_count + (seen.claim_size == 1)
    if seen.claim_size == 1 and crashes >= MAX_CRASHES:
        event = Event("job.quarantined", fence=seen.fence)
        return job.moved(
            JobState.QUARANTINED,
            event,
            crash_count=crashes,
            due=True,
            finished=True,
            problem="worker_crashed",
        )
    event = Event("job.rescued", fence=seen.fence)
    return job.moved(JobState.QUEUED, event, crash_count=crashes, due=True)


def past_deadline(store: Store, passed: Passed) -> list[UUID]:
    """The jobs that a sweep may end whose deadline has passed."""
    state = JobState.QUEUED if passed is Passed.QUEUED else JobState.WAITING
    jobs = {job_id: store.jobs[job_id] for job_id in store.in_state(state)}
    return [
        job_id
        for job_id, job in jobs.items()
        if job.deadline is Deadline.PASSED
        and (passed is Passed.QUEUED or job.followed is (passed is Passed.WAITING_FOLLOWED))
    ]


def expired(store: Store, ids: Iterable[UUID]) -> Change:
    """These jobs ended by their deadline, with what that does to those that wait for them."""
    jobs = {}
    for job_id in ids:
        job = store.jobs[job_id]
        event = Event("job.expired", job.seen.attempt)
        jobs[job_id] = job.moved(JobState.EXPIRED, event, finished=True, problem="deadline_passed")
    return followers.with_followers(store, Change(jobs, announced=tuple(jobs)))


def has_work(store: Store) -> bool:
    """Whether a sweep finds jobs that a worker should be woken for."""
    seen = [job.seen for job in store.jobs.values() if job.seen.state is JobState.QUEUED]
    return any(job.attempt == 0 or job.due for job in seen)


def time_passed(store: Store, job_id: UUID, what: Time) -> Change:
    """The job after its lease has lapsed, its delay is over or its deadline has passed."""
    job = store.jobs[job_id]
    if what == "lease":
        return Change({job_id: _seen(job, lapsed=True)})
    if what == "delay":
        return Change({job_id: replace(_seen(job, due=True), available=store.moment())})
    return Change({job_id: replace(job, deadline=Deadline.PASSED)})


def _ids(leases: Sequence[Lease]) -> list[UUID]:
    return [lease.id for lease in leases]


def _seen(job: Job, **fields: object) -> Job:
    # As in Job.moved.
    return replace(job, seen=replace(job.seen, **fields))  # type: ignore[arg-type]


def broken_promises(jobs: Mapping[UUID, Seen], before: Mapping[UUID, Seen]) -> list[str]:
    """What no job may ever look like, whatever the model says; `before` is how the jobs looked one step earlier."""
    return [
        f"{job_id}: {promise}"
        for job_id, seen in jobs.items()
        for promise, kept in _promises(seen, before.get(job_id, seen), jobs).items()
        if not kept
    ]


def _promises(seen: Seen, before: Seen, jobs: Mapping[UUID, Seen]) -> dict[str, bool]:
    actions = [event.action for event in seen.trail]
    fences = [event.fence for event in seen.trail if event.action == "job.claimed"]
    canceled_at = actions.index("job.canceled") if "job.canceled" in actions else len(actions)
    return {
        "an end state is left": before.state not in FINAL_STATES or seen.state is before.state,
        "a job runs exactly while it has a lease": (seen.state is JobState.RUNNING)
        == (seen.owner is not None and seen.lapsed is not None),
        "there is one result at most": len(seen.results) <= 1,
        "a result is of the job's fence": all(result.fence == seen.fence for result in seen.results),
        "a result is of a job that succeeded": bool(seen.results) == (seen.state is JobState.SUCCEEDED),
        "the fence goes back": before.fence <= seen.fence,
        "a fence is given out twice": len(set(fences)) == len(fences),
        "an end is recorded once": sum(action in CLOSING for action in actions)
        == (seen.state in FINAL_STATES),
        "a result follows a cancel": "job.succeeded" not in actions[canceled_at:],
        "a job waits though all that it waits for have ended": seen.state is not JobState.WAITING
        or not seen.after
        or any(jobs[each].state not in FINAL_STATES for each in seen.after),
        "the trail is rewritten": seen.trail[: len(before.trail)] == before.trail,
    }
