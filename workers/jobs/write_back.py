"""Writes the outcome of a claimed batch to Postgres: endings, retries, and jobs returned to the queue.

A full batch is written in the background while the scorer claims and scores the next one. Keeps the leases while writing,
and never writes two batches at once.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import structlog

from service import failpoints, logs
from service.db import Database, UnitOfWork
from service.errors import DatabaseUnavailable
from service.failpoints import Point
from service.faults import Requirement
from service.gate import Gate
from service.jobs import artifacts, execution
from service.jobs.artifacts import ArtifactStore
from service.jobs.execution import ClaimedJob, Ending, Problem
from service.leases import Lease
from service.metrics import JOBS_ENDED, JOBS_FENCED_OFF, JOBS_QUARANTINED, JOBS_RETRIED
from service.problem_codes import JobProblem
from workers.heartbeat import Heartbeat
from workers.jobs.artifacts import BlobWriter

STORE_STEP_S = 120.0
STORE_TRIES = 8
UNCOUNTED_CAP_S = 10.0  # what the whole process waits for ends for all its jobs at once
BLOBS_AWAY = Problem(JobProblem.BLOB_UNAVAILABLE, "The blob store does not answer.")
NOT_NOTED = Problem(JobProblem.DATABASE_UNAVAILABLE, "Postgres does not answer.")
BY_RULES = ("rules", "none")  # runtime and provider of results of a model without graphs
TRIED_TOO_OFTEN = "The job has used up its attempts. An operator may look into it and requeue it."

log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """How often a job is tried, and how retries are spaced."""

    max_attempts: int
    retry_base_s: float
    retry_cap_s: float


@dataclass(frozen=True)
class Requeue:
    """A job that could not be read, or whose artifacts could not be written. It is queued again after a back-off.

    If it `counts`, it uses up an attempt, and the last attempt quarantines the job. What does not count passes by itself: a
    store is unavailable, or this process has a different master key than the others.
    """

    job: ClaimedJob
    problem: Problem
    counts: bool


@dataclass(frozen=True)
class Outcome:
    """The outcome of a claimed batch: endings, and jobs to be queued again."""

    model: str
    jobs: Sequence[ClaimedJob]
    endings: Sequence[Ending]
    requeues: Sequence[Requeue] = ()
    by_rules: bool = False  # the model has no graph: nothing ran on the runtime of this worker

    @property
    def leases(self) -> list[Lease]:
        """The leases of all jobs of the batch."""
        return [job.lease for job in self.jobs]


class WriteBack:
    """Writes outcomes, one at a time, in the caller's thread or in the background."""

    def __init__(
        self,
        *,
        owner: str,
        database: Database,
        store: ArtifactStore,
        heartbeat: Heartbeat,
        limits: Limits,
        runtime: str,
        provider: str,
        gate: Gate | None = None,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._owner = owner
        self._database = database
        self._heartbeat = heartbeat
        self._blobs = BlobWriter(store, heartbeat, pause)
        self._gate = gate or Gate(owner, tuple)
        self._limits = limits
        self._runtime = runtime
        self._provider = provider
        self._chance = chance
        self._pause = pause
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write-back")
        self._last: Future[None] | None = None

    def store(self, outcome: Outcome, *, behind: bool) -> None:
        """Write an outcome after the one before, in the background if `behind`. Its leases are kept from now on."""
        self.wait()
        self._heartbeat.hold(outcome.leases, step_s=STORE_STEP_S)
        if behind:
            self._last = self._thread.submit(self._write, outcome)
        else:
            self._write(outcome)

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return self._last is None or self._last.done()

    def wait(self) -> None:
        """Return once nothing is being written. Raises any unexpected error of the last write."""
        if self._last is not None:
            last, self._last = self._last, None
            last.result()

    def release(self, jobs: Sequence[ClaimedJob]) -> None:
        """Return jobs to the queue because of a stop, or because Postgres became unavailable between claim and run."""
        held = [job.lease for job in jobs]
        self.wait()
        self._heartbeat.hold(held, step_s=STORE_STEP_S)
        try:
            self._persist(lambda work: execution.release(work, held, owner=self._owner))
        finally:
            self._heartbeat.let_go()

    def close(self) -> None:
        """Finish writing."""
        self._thread.shutdown(wait=True)

    def _write(self, outcome: Outcome) -> None:
        try:
            missing = self._write_blobs(outcome)
            requeues = [*outcome.requeues, *missing]
            last_time = [
                one for one in requeues if one.counts and one.job.attempt >= self._limits.max_attempts
            ]
            endings = outcome.endings
            if missing:
                without = {one.job.lease.id for one in missing}
                endings = [ending for ending in endings if ending.lease.id not in without]
            self._end(outcome, [*endings, *map(_quarantined, last_time)])
            self._put_off(outcome.model, [one for one in requeues if one not in last_time])
        finally:
            self._heartbeat.let_go()

    def _write_blobs(self, outcome: Outcome) -> list[Requeue]:
        """Note and write the blobs of artifacts; returns the jobs of which a blob could not be stored."""
        made = [new for ending in outcome.endings for new in ending.artifacts if new.location is not None]
        if not made:
            return []
        noted = self._persist(lambda work: artifacts.note(work, made))
        if noted is None:
            unwritten = {new.lease.id for new in made}
            return [
                Requeue(job, NOT_NOTED, counts=False) for job in outcome.jobs if job.lease.id in unwritten
            ]
        missing = self._blobs.write(outcome.endings)
        failpoints.reach(Point.ARTIFACTS_WRITTEN)
        if not missing:
            return []
        self._gate.look()  # whether it is these blobs, or the store
        counts = self._gate.meets(Requirement.BLOB_STORE)
        return [Requeue(job, BLOBS_AWAY, counts=counts) for job in outcome.jobs if job.lease.id in missing]

    def _end(self, outcome: Outcome, endings: Sequence[Ending]) -> None:
        """Write the endings; those whose lease was lost are counted."""
        model = outcome.model
        runtime, provider = BY_RULES if outcome.by_rules else (self._runtime, self._provider)
        if not endings:
            return
        failpoints.reach(Point.END_BEFORE)
        with logs.about_jobs(ending.lease.id for ending in endings):
            ended = self._persist(
                lambda work: execution.end(
                    work, endings, owner=self._owner, runtime=runtime, provider=provider
                )
            )
        failpoints.reach(Point.END_AFTER)
        if ended is None:
            return
        refused = [ending.lease for ending in endings if ending.lease.id not in ended]
        if refused:
            JOBS_FENCED_OFF.labels(model).inc(len(refused))
            log.warning("late_results_refused", model=model, jobs=[str(lease.id) for lease in refused])
            endings = [ending for ending in endings if ending.lease.id in ended]
        for state, count in Counter(ending.state for ending in endings).items():
            JOBS_ENDED.labels(model, state.value).inc(count)
        for ending in endings:
            if ending.problem is not None:
                log.warning(
                    "job_failed",
                    model=model,
                    job=str(ending.lease.id),
                    state=ending.state.value,
                    code=ending.problem.code,
                )
                if ending.quarantined:
                    JOBS_QUARANTINED.inc()

    def _put_off(self, model: str, requeues: Sequence[Requeue]) -> None:
        """Queue jobs again, each after its back-off."""
        groups: dict[tuple[str, bool], list[ClaimedJob]] = {}
        for one in requeues:
            groups.setdefault((one.problem.code, one.counts), []).append(one.job)
        for (code, counts), jobs in groups.items():
            self._put_off_alike(jobs, code, counts=counts)
            JOBS_RETRIED.labels(model, code).inc(len(jobs))
            log.warning("jobs_put_back", model=model, jobs=[str(job.lease.id) for job in jobs], code=code)

    def _put_off_alike(self, jobs: Sequence[ClaimedJob], code: str, *, counts: bool) -> None:
        limits, held = self._limits, [job.lease for job in jobs]
        cap_s = limits.retry_cap_s if counts else min(limits.retry_cap_s, UNCOUNTED_CAP_S)
        delays = [
            execution.backoff_s(job.attempt, base_s=limits.retry_base_s, cap_s=cap_s, chance=self._chance())
            for job in jobs
        ]
        with logs.about_jobs(lease.id for lease in held):
            self._persist(
                lambda work: execution.retry(work, held, delays, owner=self._owner, code=code, counts=counts)
            )

    def _persist(self, write: Callable[[UnitOfWork], set[UUID]]) -> set[UUID] | None:
        """Write back in one transaction; while Postgres is unavailable, retry as long as the leases may hold.

        Retrying is harmless: if only the reply was lost, the jobs are no longer held and nothing changes. None if Postgres
        stayed unavailable: the leases then lapse, and others take over.
        """
        self._heartbeat.step(STORE_STEP_S)
        for tried in range(STORE_TRIES):
            try:
                with self._database.statement() as work:
                    return write(work)
            except DatabaseUnavailable:
                log.warning("not_written_back", tried=tried + 1)
                self._pause(min(0.25 * 2**tried, 4.0))
        return None


def _quarantined(one: Requeue) -> Ending:
    """The ending of a job that has used up its attempts."""
    problem = Problem(one.problem.code, f"{one.problem.detail} {TRIED_TOO_OFTEN}")
    return Ending(one.job.lease, problem=problem, quarantined=True)
