"""The use cases of jobs, for every front door: submit, wait, read, list and cancel on behalf of an authenticated caller."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from service import audit
from service.accounts import Principal, Scope
from service.audit import Action, AuditEvent
from service.catalog import Catalog, PublishedModel
from service.combining import Combiner
from service.db import Database
from service.desk.intake import Intake
from service.desk.job_store import COMBINED, JobStore
from service.desk.parts import Sources
from service.desk.requests import JobRequest, JobSearch
from service.desk.waiting import Waiting
from service.errors import (
    AfterUnsuitable,
    DatabaseUnavailable,
    JobNotFound,
    ModelNotFound,
    PayloadUnreadable,
    RequestTooCostly,
    ServiceError,
)
from service.images.reading import worked_s
from service.jobs import artifacts, delays, partial_texts, queries
from service.jobs.admission import Admission
from service.jobs.artifacts import ArtifactStore, StoredArtifact
from service.jobs.delays import Delay
from service.jobs.partial_texts import Progress
from service.jobs.queries import JobFilter, JobView, Reading
from service.jobs.submission import Accepted, IdempotencyKey, NewJob
from service.lifecycle import JobState
from service.refusals import Refusal

WRITES_TEXTS = "text-generation"
CHECKING_S = 5.0  # of work, for the items of one request: whoever sends costly ones sends them in several


class Desk:
    """The desk of one process. Concurrent submits and reads share transactions."""

    def __init__(
        self,
        database: Database,
        *,
        catalog: Catalog,
        intake: Intake,
        admission: Admission,
        waiting: Waiting,
        artifact_store: ArtifactStore,
        workers: Callable[[], Sequence[Mapping[str, Refusal]] | None],
    ) -> None:
        """`workers` tells the models that each live worker refuses; None if that is not known."""
        self._database = database
        self._catalog = catalog
        self._intake = intake
        self._sources = Sources(database, catalog)
        self._store = JobStore(database, admission)
        self._waiting = waiting
        self._artifact_store = artifact_store
        self._workers = workers
        self._reads = Combiner(partial(_read_all, database), limit=COMBINED, for_all=(DatabaseUnavailable,))

    def submit(
        self,
        principal: Principal,
        wanted: JobRequest,
        *,
        idempotency: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> Accepted:
        """Check a case and store it as a job. Raises what Intake raises, TenantQueueFull and QueueFull.

        Repeated with the same idempotency key, it returns the job that was stored first. Raises IdempotencyKeyReused.
        """
        principal.require(Scope.JOBS_WRITE)
        earlier = self._store.earlier(principal, idempotency, count=1).get(0)
        if earlier is not None:
            return earlier
        until = self._intake.lookup_deadline()
        job = self._intake.checked(principal, wanted, look_up_until=until, traceparent=traceparent)
        del wanted  # the caller has let go of it: what was parsed of a long input takes far more than the job
        if refusal := self._sources.refusals(principal, [job]).get(job.position):
            raise refusal
        if idempotency is not None or job.after or job.parts:
            with self._store.room(principal, 1):
                (stored,) = self._store.all([job], idempotency)
            if isinstance(stored, AfterUnsuitable):
                raise stored
            return stored
        return self._store.one(job)

    def submit_many(
        self,
        principal: Principal,
        wanted: Sequence[JobRequest | ServiceError],
        *,
        idempotency: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> list[Accepted | ServiceError]:
        """Check many cases and store the good ones together; the outcome of each, in order.

        An item that is an error already is returned in its place. Once the checks have taken CHECKING_S, the outcome of the
        items that are left is RequestTooCostly: with the same idempotency key they are checked when the request is repeated.
        The queue must have room for all that is to be checked: a request that it may not take costs no checks. Raises
        IdempotencyKeyReused, TenantQueueFull, QueueFull or DatabaseUnavailable; then nothing is stored.
        """
        principal.require(Scope.JOBS_WRITE)
        answers: dict[int, Accepted | ServiceError] = {
            **self._store.earlier(principal, idempotency, count=len(wanted))
        }
        left = {position: item for position, item in enumerate(wanted) if position not in answers}
        with self._store.room(principal, sum(isinstance(item, JobRequest) for item in left.values())) as room:
            checked = self._all_checked(principal, left, traceparent)
            jobs = [each for each in checked.values() if isinstance(each, NewJob)]
            refused = self._sources.refusals(principal, jobs)
            fit = [job for job in jobs if job.position not in refused]
            stored = self._store.all(fit, idempotency) if fit else ()
            room.filled = len(fit)
        answers |= {position: each for position, each in checked.items() if not isinstance(each, NewJob)}
        answers |= refused | {job.position: each for job, each in zip(fit, stored, strict=True)}
        return [answers[position] for position in range(len(wanted))]

    def wait(self, principal: Principal, job_id: UUID, wait_s: float, *, may_have_ended: bool = True) -> bool:
        """Wait until a job has ended or `wait_s` is over; False when too many requests wait already.

        A missing job counts as ended. For a job just stored, `may_have_ended=False` saves the first look.
        """

        def has_ended() -> bool:
            with self._database.statement() as work:
                return queries.has_ended(work, principal, job_id)

        return (may_have_ended and has_ended()) or self._waiting.wait(
            principal.tenant_id, job_id, wait_s, has_ended
        )

    def wait_for_all(self, principal: Principal, job_ids: Sequence[UUID], wait_s: float) -> bool:
        """Wait until all of these jobs have ended or `wait_s` is over; False when too many requests wait already.

        It waits for one at a time, the youngest first: mostly the others have ended when it has.
        """
        until, ids = time.monotonic() + wait_s, list(job_ids)

        def unended() -> UUID | None:
            with self._database.statement() as work:
                return queries.youngest_unended(work, principal, ids)

        while (job_id := unended()) is not None and (left_s := until - time.monotonic()) > 0:
            if not self._waiting.wait(principal.tenant_id, job_id, left_s, lambda: unended() is None):
                return False
        return True

    def read(self, principal: Principal, job_id: UUID, known_tags: str | None = None) -> JobView:
        """A job with its result, whose reading is recorded; without it when its tag is among `known_tags`.

        Raises JobNotFound or PayloadUnreadable.
        """
        principal.require(Scope.JOBS_READ)
        job = self._reads.run(Reading(principal, job_id, known_tags))
        if job is None:
            raise JobNotFound
        if isinstance(job, PayloadUnreadable):
            raise job
        return job

    def progress(self, principal: Principal, job_id: UUID, *, recorded: bool) -> Progress:
        """How far a job has come, with the text that it has written so far, and all of it once it has succeeded.

        Reading a text is recorded; one that is not finished, unless that was `recorded` before. Raises JobNotFound or
        PayloadUnreadable.
        """
        principal.require(Scope.JOBS_READ)
        with self._database.statement() as work:
            found = partial_texts.read(work, principal, job_id, recorded=recorded)
        model = self._catalog.version(found.model_version_id)
        if found.state is not JobState.SUCCEEDED or model.manifest.pipeline != WRITES_TEXTS:
            return found
        result = self.read(principal, job_id).result
        return replace(found, text=(result and result.content.get("text")) or "")

    def read_many(self, principal: Principal, job_ids: Sequence[UUID]) -> list[JobView | ServiceError]:
        """Jobs with their results, in the order asked for, or why there is none; read in one statement."""
        principal.require(Scope.JOBS_READ)
        found = _read_all(self._database, [Reading(principal, job_id) for job_id in job_ids])
        return [JobNotFound() if job is None else job for job in found]

    def newest(
        self, principal: Principal, wanted: JobSearch, *, before: UUID | None, limit: int
    ) -> list[JobView]:
        """Jobs newest first, older than `before`, without results. Raises ModelNotFound for an unknown version."""
        principal.require(Scope.JOBS_READ)
        chosen = JobFilter(
            wanted.state,
            self._versions(wanted),
            wanted.subject,
            wanted.created_after,
            wanted.created_before,
        )
        with self._database.statement() as work:
            return queries.newest(work, principal, chosen, before=before, limit=limit)

    def cancel(self, principal: Principal, job_id: UUID) -> JobView:
        """Cancel a job that has not ended; the job as it then stands, without result. Raises JobNotFound.

        Subject and metadata are only for callers who may read jobs.
        """
        principal.require(Scope.JOBS_WRITE)
        with self._database.transaction() as work:
            job = queries.cancel(work, principal, job_id)
        return job if principal.may(Scope.JOBS_READ) else replace(job, subject=None, metadata={})

    def events(
        self, principal: Principal, job_id: UUID, *, after: UUID | None, limit: int
    ) -> list[AuditEvent]:
        """A job's audit trail, oldest first. Raises JobNotFound."""
        principal.require(Scope.JOBS_READ)
        with self._database.transaction() as work:
            return queries.events(work, principal, job_id, after=after, limit=limit)

    def delay(self, principal: Principal, job_id: UUID) -> Delay:
        """Why a job has not started. Raises JobNotFound."""
        principal.require(Scope.JOBS_READ)
        with self._database.statement() as work:
            job = delays.pending(work, principal, job_id)
        model = self._catalog.version(job.model_version_id)
        workers = self._workers() if job.state is JobState.QUEUED else None
        return delays.delay(job, f"{model.name} {model.version}", workers)

    def artifact(self, principal: Principal, job_id: UUID, name: str) -> StoredArtifact:
        """A file of a job's result, without its content. Raises ArtifactNotFound."""
        principal.require(Scope.JOBS_READ)
        with self._database.statement() as work:
            return artifacts.find(work, principal, job_id, name)

    def open_artifact(
        self, principal: Principal, found: StoredArtifact, detail: Mapping[str, str]
    ) -> io.RawIOBase | io.BytesIO:
        """Its content, readable from any position; the reading is recorded, with `detail` on the part that is wanted.

        Raises PayloadUnreadable. Reading raises FileNotFoundError when the blob is gone, and BlobUnavailable.
        """
        principal.require(Scope.JOBS_READ)
        opened = self._artifact_store.open(principal, found)
        with self._database.statement() as work:
            audit.append(
                *(work, Action.ARTIFACT_READ),
                actor=principal.actor,
                tenant_id=principal.tenant_id,
                job_id=found.job_id,
                detail={"name": found.name, **detail},
            )
        return opened

    def model_of(self, job: JobView | Accepted) -> PublishedModel:
        """The model version that scores a job."""
        return self._catalog.version(job.model_version_id)

    def _all_checked(
        self, principal: Principal, wanted: Mapping[int, JobRequest | ServiceError], traceparent: str | None
    ) -> dict[int, NewJob | ServiceError]:
        """Many cases, or why they are refused, by position. Raises DatabaseUnavailable, which concerns all of them."""
        until, began_s = self._intake.lookup_deadline(), worked_s()
        return {
            position: self._checked(principal, item, until, traceparent, position)
            if worked_s() - began_s <= CHECKING_S
            else RequestTooCostly()
            for position, item in wanted.items()
        }

    def _checked(
        self,
        principal: Principal,
        item: JobRequest | ServiceError,
        until: float,
        traceparent: str | None,
        position: int,
    ) -> NewJob | ServiceError:
        """One case of many, or why it is refused. Raises DatabaseUnavailable, which concerns all of them."""
        if isinstance(item, ServiceError):
            return item
        try:
            return self._intake.checked(
                principal, item, look_up_until=until, traceparent=traceparent, position=position
            )
        except DatabaseUnavailable:
            raise
        except ServiceError as error:
            return error.without_frames()

    def _versions(self, wanted: JobSearch) -> list[UUID] | None:
        """The model versions that `model` and `kind` stand for; None for all."""
        catalog = self._catalog
        if wanted.model is None and wanted.kind is None:
            return None
        if wanted.model is None:
            found = [version for name in catalog.names() for version in catalog.versions_of(name)]
        elif "@" in wanted.model:
            found = [catalog.resolve(wanted.model)]
        else:
            try:
                found = catalog.versions_of(wanted.model)
            except ModelNotFound:
                found = []
        return [version.id for version in found if wanted.kind in {None, version.manifest.kind}]


def _read_all(database: Database, readings: Sequence[Reading]) -> list[JobView | PayloadUnreadable | None]:
    """Read the jobs of several requests in one transaction."""
    with database.statement() as work:
        return queries.read(work, readings)
