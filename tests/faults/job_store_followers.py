"""The model's jobs that wait for others: what holds while they come in, and what the end of others does to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from service.lifecycle import FINAL_STATES, JobState
from tests.faults.job_store_state import Change, Event, Job, Store


def followed(store: Store, predecessors: Sequence[UUID], new: Change) -> Change:
    """The new job of a submit, which waits for others: they are held until it is committed. Where all of them have succeeded
    it is queued at once.
    """
    (job_id,) = new.jobs
    seen = replace(new.jobs[job_id].seen, state=JobState.WAITING, after=tuple(predecessors))
    waiting = replace(new.jobs[job_id], seen=seen, depth=depth_after(store, predecessors))
    held = [each for each in predecessors if store.jobs[each].seen.state not in FINAL_STATES]
    marked = {
        each: replace(store.jobs[each], followed=True) for each in held if not store.jobs[each].followed
    }
    jobs = {job_id: waiting, **marked}
    if all(store.jobs[each].good for each in predecessors):
        jobs[job_id] = waiting.moved(JobState.QUEUED, Event("job.ready"))
    return Change(jobs, wakes=True, shared=frozenset(held))


def depth_after(store: Store, predecessors: Sequence[UUID]) -> int:
    """How deep a job stands that waits for these."""
    unended = [store.jobs[each] for each in predecessors if store.jobs[each].seen.state not in FINAL_STATES]
    return 1 + max((job.depth for job in unended), default=0)


def with_followers(store: Store, change: Change) -> Change:
    """A change that ends jobs, with what their end does to those that wait for them."""
    jobs, locked = dict(change.jobs), set[UUID]()
    reached = store.followers(job_id for job_id in change.jobs if store.jobs[job_id].followed)
    while level := _next_level(store, jobs, reached - locked):
        locked |= level
        for job_id in level:
            job = store.jobs[job_id]
            predecessors = [jobs.get(each, store.jobs[each]) for each in job.seen.after]
            if any(predecessor.bad for predecessor in predecessors):
                event = Event("job.failed", job.seen.attempt, job.seen.fence)
                jobs[job_id] = job.moved(JobState.FAILED, event, finished=True, problem="predecessor_failed")
                reached |= store.followers([job_id])
            elif all(predecessor.good for predecessor in predecessors):
                jobs[job_id] = job.moved(JobState.QUEUED, Event("job.ready"))
    told, released = _reached(store, jobs, [job_id for job_id in change.jobs if store.jobs[job_id].followed])
    announced = (*change.announced, *told)
    return replace(
        change, jobs=jobs, announced=announced, wakes=change.wakes or released, locked=frozenset(locked)
    )


def _next_level(store: Store, jobs: Mapping[UUID, Job], reached: set[UUID]) -> set[UUID]:
    """Those that still wait and stand least deep."""
    waiting = {
        job_id
        for job_id in reached
        if store.jobs[job_id].seen.state is JobState.WAITING and job_id not in jobs
    }
    least = min((store.jobs[job_id].depth for job_id in waiting), default=0)
    return {job_id for job_id in waiting if store.jobs[job_id].depth == least}


def _reached(store: Store, jobs: Mapping[UUID, Job], ended_now: Iterable[UUID]) -> tuple[list[UUID], bool]:
    """Whose failure is told once these have ended, and whether a worker is woken: of what failed earlier as well."""
    todo, failed, released = store.followers(ended_now), list[UUID](), False
    while todo:
        job_id = todo.pop()
        state = jobs.get(job_id, store.jobs[job_id]).seen.state
        released = released or state is JobState.QUEUED
        if state is JobState.FAILED and job_id not in failed:
            failed.append(job_id)
            todo |= store.followers([job_id])
    return failed, released
