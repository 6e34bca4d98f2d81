"""Scores a claimed micro-batch: opens the inputs, has the pipeline score them, and passes the outcome to the write-back.

A fault of one job ends only that job: a batch that raises is halved until the culprit is alone. A batch that runs out of
memory is halved too, and the smaller size is remembered.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from celery.exceptions import WorkerShutdown, WorkerTerminate
from pydantic_core import to_json

from models.manifest import MODEL
from models.pipelines import Answer, Array, PredictionInvalid, RowFault, Run
from models.pipelines.arrivals import ContinuousScoring
from models.pipelines.artifacts import LISTING
from models.pipelines.schema_columns import stored_result
from service import failpoints, logs
from service.accounts import TenantCiphers
from service.crypto import binding, new_nonces
from service.db import Database
from service.errors import BlobUnavailable, BundleUnusable, DatabaseUnavailable
from service.failpoints import Point
from service.gate import Gate
from service.images.reading import worked_s
from service.jobs import execution, sweeps
from service.jobs.artifacts import ArtifactStore, NewArtifact
from service.jobs.execution import ClaimedJob, Ending
from service.metrics import BATCH_LIMIT, BATCH_SIZE, RUN_SECONDS
from service.queue import TaskQueue, score_wake_up
from service.uploads import Uploads
from workers.arbiter import GraphArbiter
from workers.heartbeat import Heartbeat
from workers.jobs.answers import check_answers, check_row, log_cause
from workers.jobs.artifacts import TOO_LARGE, ArtifactLimits
from workers.jobs.handing_on import HandingOn
from workers.jobs.inputs import InputReader, OpenedJob
from workers.jobs.joining import JobsLost, Joining, JoiningJobs, Steps
from workers.jobs.partial_texts import PartialTexts
from workers.jobs.parts import READ_STEP_S
from workers.jobs.problems import ALONE_AT_FAULT, BAD_PREDICTION, UNREADABLE, alone_at_fault, model_fault
from workers.jobs.write_back import Outcome, WriteBack
from workers.pool import LoadedModel, ModelPool
from workers.refusals import ModelRefused
from workers.runtime import CPU, OutOfMemory, RunFailed, Runtime, RunTimedOut

CASE_STEP_S = 2.0  # for each case that a pipeline reads before its first run

RAISED_BY_SIGNALS = (KeyboardInterrupt, WorkerTerminate, WorkerShutdown)

ScoredT = TypeVar("ScoredT")

log = structlog.get_logger()


class Scorer:
    """Scores micro-batches, one at a time."""

    def __init__(
        self,
        *,
        owner: str,
        database: Database,
        queue: TaskQueue,
        pool: ModelPool,
        runtime: Runtime,
        uploads: Uploads,
        artifacts: ArtifactStore,
        artifact_limits: ArtifactLimits,
        ciphers: TenantCiphers,
        heartbeat: Heartbeat,
        write_back: WriteBack,
        arbiter: GraphArbiter,
        lease_s: float,
        join_s: float = 0.0,
        gate: Gate | None = None,
        elsewhere: Callable[[UUID], bool] = lambda _: False,
    ) -> None:
        """`elsewhere`: whether another scorer of this process scores a model."""
        self._gate = gate or Gate(owner, tuple)
        self._owner = owner
        self._database = database
        self._queue = queue
        self._pool = pool
        self.runtime = runtime
        self._artifacts = artifacts
        self._artifact_limits = artifact_limits
        self._ciphers = ciphers
        self._inputs = InputReader(database, uploads, ciphers, self._gate, heartbeat)
        self._partial_texts = PartialTexts(database, ciphers)
        self._heartbeat = heartbeat
        self._write_back = write_back
        self._arbiter = arbiter
        self._lease_s = lease_s
        self._join_s = join_s
        self._elsewhere = elsewhere
        self._busy = worked_s if runtime.provider == CPU else time.perf_counter
        self.stopping = False
        self._handing_on = HandingOn(database, queue)
        self._one_at_a_time = threading.Lock()
        self._asked_at = time.monotonic()

    @property
    def quiet_s(self) -> float:
        """How long nothing has been scored or claimed; 0 while either goes on."""
        return 0.0 if self._one_at_a_time.locked() else time.monotonic() - self._asked_at

    def score(self, version_id: UUID) -> int:
        """Claim and score one micro-batch of a model; the number of jobs claimed.

        Safe to run twice: jobs that another worker holds are not claimed, and without work nothing happens. Called by the
        consumer of wake-ups and by the polling thread, one at a time.
        """
        if self.stopping or not self._gate.open:
            return 0
        with self._arbiter.job(), self._one_at_a_time:
            try:
                return self._score(version_id)
            finally:
                self._asked_at = time.monotonic()

    def _score(self, version_id: UUID) -> int:
        try:
            loaded = self._loaded(version_id)
        except ModelRefused:
            self._handing_on.wake_others(version_id)
            return 0
        jobs = self._claim(loaded)
        if not jobs:
            return 0
        if self.stopping:
            self._write_back.release(jobs)
            return 0
        BATCH_SIZE.labels(loaded.model.name).observe(len(jobs))
        self._heartbeat.hold([job.lease for job in jobs], step_s=READ_STEP_S)
        try:
            if isinstance(loaded.scoring, ContinuousScoring):
                self._score_with_joining(loaded, jobs)
            else:
                self._score_claimed(loaded, jobs)
        finally:
            self._heartbeat.let_go()
        return len(jobs)

    def _loaded(self, version_id: UUID) -> LoadedModel:
        """The loaded model. A model that does not load is reported, and its jobs wait."""
        subject = f"model {version_id}"
        try:
            loaded = self._pool.get(version_id)
        except (BundleUnusable, BlobUnavailable) as error:
            self._gate.note(subject, model_fault(self._pool.model(version_id), error))
            raise
        self._gate.note(subject, None)
        return loaded

    def _claim(self, loaded: LoadedModel) -> Sequence[ClaimedJob]:
        """Claim jobs; retries and fresh jobs alternate in going first."""
        self._wait_to_fill_batch(loaded)
        loaded.retries_first = not loaded.retries_first
        jobs = self._claim_once(loaded, retries_first=loaded.retries_first)
        return jobs or (() if loaded.retries_first else self._claim_once(loaded, retries_first=True))

    def _wait_to_fill_batch(self, loaded: LoadedModel) -> None:
        """Delay a claim that would not fill a batch, for models that ask for it. No lease is held in the meantime."""
        wait_ms = loaded.model.manifest.runtime.max_wait_ms
        if not wait_ms:
            return
        with self._database.statement() as work:
            waiting = execution.fresh_count(work, model_version_id=loaded.model.id, most=loaded.batch_limit)
        if 0 < waiting < loaded.batch_limit:
            time.sleep(wait_ms / 1000)

    def _claim_once(
        self, loaded: LoadedModel, *, retries_first: bool, limit: int = 0, beside: int = 0
    ) -> Sequence[ClaimedJob]:
        """Claim at most `limit`, or a batch, beside others; a full claim sends the next wake-up at once."""
        failpoints.reach(Point.CLAIM_BEFORE)
        with self._database.statement() as work:
            claim = execution.claim(
                work,
                model_version_id=loaded.model.id,
                limit=limit or loaded.claim_limit,
                owner=self._owner,
                lease_s=self._lease_s,
                retries_first=retries_first,
                after=loaded.last_tenant,
                beside=beside or int(loaded.lets_join),
            )
        failpoints.reach(Point.CLAIM_AFTER)
        loaded.last_tenant = claim.last_tenant or loaded.last_tenant
        loaded.pace.claimed(len({job.tenant_id for job in claim.jobs}))
        if claim.is_full:
            self._queue.wake(score_wake_up(loaded.model.id))
        return claim.jobs

    def _score_claimed(self, loaded: LoadedModel, jobs: Sequence[ClaimedJob]) -> None:
        """Score claimed jobs. A full batch is stored while the next one is scored, since there is more to do."""
        try:
            cases, endings, requeues, late = self._inputs.open(loaded, jobs)
        except DatabaseUnavailable:
            self._write_back.release(jobs)
            return
        if late:
            self._queue.wake(score_wake_up(loaded.model.id))
            self._write_back.release(late)
            jobs = jobs[: -len(late)]
        is_full, by_rules = (
            len(jobs) >= loaded.claim_limit > 1 and not loaded.pace.is_shared,
            not loaded.model.manifest.graph_tables,
        )
        endings += self._score_cases(loaded, cases)
        outcome = Outcome(loaded.model.name, jobs, endings, requeues, by_rules=by_rules)
        self._write_back.store(outcome, behind=is_full)

    def _score_with_joining(self, loaded: LoadedModel, jobs: Sequence[ClaimedJob]) -> None:
        """Score claimed jobs while others join them, unless it is a retry; each is written back once it has its answer.

        Those without one, as a run failed, are scored in halves by themselves, which shows whose fault it is.
        """
        steps = Steps(
            partial(self._claim_joining, loaded),
            lambda some: self._inputs.open(loaded, some)[:3],
            partial(self._succeeded, loaded),
            self._partial_texts.store,
            partial(self._others_wait, loaded),
        )
        room = loaded.batch_limit if jobs[0].attempt == 1 else 1
        limits, name = Joining(room, self._join_s), loaded.model.name
        joining = JoiningJobs(name, limits, steps, heartbeat=self._heartbeat, write_back=self._write_back)
        joining.add(jobs)
        joining.end(self._answered(loaded, joining))

    def _answered(self, loaded: LoadedModel, joining: JoiningJobs) -> list[Ending]:
        """Have the pipeline answer jobs; the endings of those to which it gave none."""
        first = joining.unanswered
        try:
            with logs.about_jobs(_ids(first)):
                self._guarded(loaded, len(first), lambda: self._let_join(loaded, joining))
        except JobsLost:
            if joining.fault is not None:
                raise joining.fault from None
            log.info("run_abandoned", model=loaded.model.name, jobs=len(joining.unanswered))
            return []
        except tuple(ALONE_AT_FAULT) as fault:
            if left := joining.unanswered:
                return self._narrow_down(loaded, left, fault)
        except RowFault:
            pass
        return self._score_cases(loaded, joining.unanswered)

    def _let_join(self, loaded: LoadedModel, joining: JoiningJobs) -> None:
        assert isinstance(loaded.scoring, ContinuousScoring)
        self._heartbeat.step(READ_STEP_S)
        loaded.scoring.score_arrivals(self._runner(loaded, joining.ids), joining)

    def _claim_joining(self, loaded: LoadedModel, room: int, beside: int) -> Sequence[ClaimedJob]:
        """Claim fresh jobs that join `beside` others; none if the worker stops, or Postgres is unavailable."""
        if self.stopping or not self._gate.open:
            return ()
        try:
            jobs = self._claim_once(loaded, retries_first=False, limit=room, beside=beside)
        except DatabaseUnavailable:
            return ()
        if jobs:
            BATCH_SIZE.labels(loaded.model.name).observe(len(jobs))
        return jobs

    def _others_wait(self, loaded: LoadedModel) -> bool:
        """Whether there are jobs of other models that this scorer could claim."""
        try:
            with self._database.statement() as work:
                found = set(sweeps.with_work(work)) - {loaded.model.id}
        except DatabaseUnavailable:
            return False
        return not all(map(self._elsewhere, found))

    def _score_cases(self, loaded: LoadedModel, cases: list[OpenedJob]) -> list[Ending]:
        """Score cases together; if that fails, in halves, down to the case at fault."""
        if not cases:
            return []
        if len(cases) > loaded.batch_limit:
            return self._score_halves(loaded, cases)
        try:
            with logs.about_jobs(_ids(cases)):
                answers = self._run(loaded, cases)
        except RowFault as fault:
            rest = cases[: fault.index] + cases[fault.index + 1 :]
            unreadable = Ending(cases[fault.index].job.lease, problem=UNREADABLE)
            return [unreadable, *self._score_cases(loaded, rest)]
        except tuple(ALONE_AT_FAULT) as fault:
            return self._narrow_down(loaded, cases, fault)
        except JobsLost:
            log.info("run_abandoned", model=loaded.model.name, jobs=len(cases))
            return []
        nonces = new_nonces(len(cases))
        return [self._succeeded(loaded, *each) for each in zip(cases, answers, nonces, strict=True)]

    def _narrow_down(self, loaded: LoadedModel, cases: list[OpenedJob], fault: Exception) -> list[Ending]:
        """Score the halves of a batch that failed; a case that fails alone is at fault."""
        if isinstance(fault, OutOfMemory) and len(cases) > 1:
            loaded.batch_limit = len(cases) // 2
            BATCH_LIMIT.labels(loaded.model.name).set(loaded.batch_limit)
            jobs = logs.named(_ids(cases))
            log.warning("batch_limit_halved", model=loaded.model.name, limit=loaded.batch_limit, jobs=jobs)
        if len(cases) > 1:
            return self._score_halves(loaded, cases)
        if isinstance(fault, OutOfMemory):  # the case is too large, not the batch: larger ones may fit again
            loaded.batch_limit = loaded.model.manifest.runtime.max_batch
        run = self._runner(loaded, _ids(cases))
        return [Ending(cases[0].job.lease, problem=alone_at_fault(fault, loaded.pipeline, run))]

    def _score_halves(self, loaded: LoadedModel, cases: list[OpenedJob]) -> list[Ending]:
        middle = len(cases) // 2
        return self._score_cases(loaded, cases[:middle]) + self._score_cases(loaded, cases[middle:])

    def _run(self, loaded: LoadedModel, cases: Sequence[OpenedJob]) -> list[Answer]:
        """Have the pipeline score the cases."""
        try:
            return self._guarded(loaded, len(cases), lambda: self._run_steps(loaded, cases))
        except RowFault as fault:
            check_row(fault, len(cases))
            raise

    def _guarded(self, loaded: LoadedModel, count: int, score: Callable[[], ScoredT]) -> ScoredT:
        """What the pipeline gives for `count` cases. What it raises unexpectedly counts as the model's failure."""
        try:
            return score()
        except (RowFault, JobsLost):
            raise
        except (OutOfMemory, PredictionInvalid, RunFailed, RunTimedOut, *RAISED_BY_SIGNALS) as fault:
            if count == 1:
                log_cause(fault, model=loaded.model.name)
            raise
        except MemoryError as fault:
            raise OutOfMemory from fault
        except BaseException as fault:
            log.error("pipeline_failed", model=loaded.model.name, cases=count, exc_info=fault)
            raise RunFailed(type(fault).__name__) from fault

    def _run_steps(self, loaded: LoadedModel, cases: Sequence[OpenedJob]) -> list[Answer]:
        self._heartbeat.step(READ_STEP_S + CASE_STEP_S * len(cases))
        run, busy, started = self._runner(loaded, _ids(cases)), self._busy(), time.perf_counter()
        answers = loaded.scoring.score(run, [each.case for each in cases])
        loaded.pace.took(len(cases), time.perf_counter() - started, busy_s=self._busy() - busy)
        check_answers(answers, len(cases))
        return answers

    def _runner(self, loaded: LoadedModel, ids: Collection[UUID]) -> Run:
        """The function by which the pipeline runs its graphs: each run waits its turn and is a step with its own limit.

        It raises JobsLost instead if none of the jobs `ids` is held any more, so that a text of many runs ends with its job.
        """
        limit_s = loaded.model.manifest.runtime.run_timeout_s

        def run(feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
            if self.runtime.provider != CPU:
                self._arbiter.wait()
            if self._heartbeat.lost.issuperset(ids):
                raise JobsLost
            self._heartbeat.step(limit_s, loaded.graphs.stop)
            failpoints.reach(Point.RUN_BEFORE, ids)
            started = time.perf_counter()
            outputs = loaded.graphs.run(feeds, graph)
            seconds = time.perf_counter() - started
            RUN_SECONDS.labels(loaded.model.name, self.runtime.provider).observe(seconds)
            failpoints.reach(Point.RUN_AFTER)
            self._heartbeat.step(READ_STEP_S)
            return outputs

        return run

    def _succeeded(
        self, loaded: LoadedModel, case: OpenedJob, answer: Answer, nonce: bytes | None = None
    ) -> Ending:
        """The ending of a job with its sealed result, which lists the artifacts; those are sealed separately."""
        job, result, cipher = case.job, answer.result, self._ciphers.of(case.job.tenant_id)
        try:
            content = stored_result(result, loaded.integers)
        except PredictionInvalid as fault:
            log_cause(fault, model=loaded.model.name, jobs=[str(job.lease.id)])
            return Ending(job.lease, problem=BAD_PREDICTION)
        made: tuple[NewArtifact, ...] = ()
        if answer.artifacts:
            if not self._artifact_limits.allow(answer.artifacts):
                return Ending(job.lease, problem=TOO_LARGE, quarantined=True)
            made = self._artifacts.prepare(cipher, job.tenant_id, job.lease, answer.artifacts)
            content = to_json(result | {LISTING: [new.listing for new in made]})
        bound_to = binding("job_result.payload", job.tenant_id, case.id_text)
        payload, abstained = cipher.seal(content, bound_to, nonce), result.get("abstained") is True
        return Ending(job.lease, payload=payload, abstained=abstained, artifacts=made)


def _ids(cases: Sequence[OpenedJob]) -> list[UUID]:
    return [case.job.lease.id for case in cases]
