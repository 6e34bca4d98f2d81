"""/v1/jobs: submit one or many, read, list, cancel, and the audit trail of each."""

from collections import Counter
from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import ETags

from service import failpoints
from service.accounts import Principal, Scope
from service.api.http import parameters
from service.api.http.answers import answer, page_of
from service.api.http.operations import operation
from service.api.http.problems import problem_of
from service.api.http.requests import (
    NoQuery,
    body_as,
    cursor_id,
    idempotency_key,
    part_as,
    preferred_wait_s,
    query_as,
    traceparent,
)
from service.api.http.schemas import PAGE_LIMIT, Reference, Time
from service.api.jobs import examples, intake, results
from service.api.jobs.schemas import (
    BulkAnswer,
    BulkOfCases,
    BulkRequest,
    EventList,
    JobList,
    JobView,
    SubmitRequest,
)
from service.api.jobs.views import accepted_fields, job_fields
from service.api.services import Services
from service.errors import (
    DatabaseUnavailable,
    JobNotFound,
    ModelNotFound,
    PayloadUnreadable,
    RequestInvalid,
    ServiceError,
)
from service.failpoints import Point
from service.jobs import queries, submission
from service.jobs.queries import EVERY_TAG, Reading
from service.jobs.submission import Accepted, IdempotencyKey, NewJob
from service.lifecycle import JobState
from service.metrics import JOBS_SUBMITTED

RETRY_AFTER = {"Retry-After": "1"}


class JobQuery(BaseModel):
    """Filters of GET /v1/jobs."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    state: JobState | None = None
    model: Reference | None = None
    kind: str | None = Field(None, pattern="^(diagnosis|recommendation)$")
    subject: str | None = Field(None, min_length=1, max_length=200)
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int = Field(50, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


class EventQuery(BaseModel):
    """Paging of a job's events."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


def blueprint(services: Services) -> Blueprint:
    """The routes of jobs."""
    routes = Blueprint("jobs", __name__, url_prefix="/v1/jobs")
    views = JobViews(services)
    routes.post("")(views.submit)
    routes.post("/bulk")(views.submit_bulk)
    routes.get("")(views.list_jobs)
    routes.get("/<uuid:job_id>")(views.get_job)
    routes.post("/<uuid:job_id>/cancel")(views.cancel_job)
    routes.get("/<uuid:job_id>/events")(views.get_events)
    return routes


class JobViews:
    """The views of jobs, over the parts of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "Submit a case",
        scope=Scope.JOBS_WRITE,
        body=SubmitRequest,
        answers={202: JobView, 200: JobView},
        parameters=(parameters.PREFER, parameters.IDEMPOTENCY_KEY, parameters.TRACEPARENT),
        problems=(400, 404, 409, 413, 415, 422, 429),
        examples=examples.SUBMIT,
        example=examples.ACCEPTED,
    )
    def submit(self) -> Response:
        """Check a case, store it, and wait for its result if asked to."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body, wait_s = services.bodies.json(principal), preferred_wait_s(services.settings.max_wait_s)
        wanted, idempotency = body_as(SubmitRequest, body), idempotency_key(body)
        accepted = _earlier(services, principal, idempotency, count=1).get(0)
        if accepted is None:
            job = intake.checked(services, principal, wanted, request=_submission(services))
            accepted = _store_one(services, job, idempotency)
        may_read = principal.may(Scope.JOBS_READ)  # else there is nothing to wait for: a result is not shown
        if wait_s and may_read and _waited(services, principal, accepted.id, wait_s):
            return _read(services, principal, accepted.id, status_of_unended=202, waited_s=wait_s)
        fields = accepted_fields(accepted, wanted, services.catalog.version(accepted.model_version_id))
        return answer(fields, 202, {"Location": f"/v1/jobs/{accepted.id}"} | RETRY_AFTER)

    @operation(
        "Submit up to 1,000 cases",
        scope=Scope.JOBS_WRITE,
        body=BulkRequest,
        answers={200: BulkAnswer},
        parameters=(parameters.PREFER, parameters.IDEMPOTENCY_KEY, parameters.TRACEPARENT),
        problems=(400, 413, 415, 422, 429),
        examples=examples.BULK,
        example=examples.BULK_ANSWER,
    )
    def submit_bulk(self) -> Response:
        """Check many cases, store the good ones together, wait for all results if asked to, answer each."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body, wait_s = services.bodies.json(principal), preferred_wait_s(services.settings.max_wait_s)
        idempotency = idempotency_key(body)
        cases = _cases(body)
        accepted = _earlier(services, principal, idempotency, count=len(cases))
        brought_by = _submission(services)
        checked = {
            position: _checked_item(services, principal, case, brought_by, position)
            for position, case in enumerate(cases)
            if position not in accepted
        }
        jobs = [item for item in checked.values() if isinstance(item, NewJob)]
        if jobs:
            stored = _store(services, jobs, idempotency)
            accepted |= {job.position: answered for job, answered in zip(jobs, stored, strict=True)}
        ids = [job.id for job in accepted.values()]
        may_read = principal.may(Scope.JOBS_READ)
        waited = wait_s > 0 and may_read and results.wait_for_all(services, principal, ids, wait_s)
        read = dict(zip(ids, results.read_all(services, principal, ids), strict=True)) if waited else {}
        return answer(
            {
                "items": [
                    checked[position]
                    if position not in accepted
                    else results.fields_of(services, read[accepted[position].id])
                    if waited
                    else _accepted(services, accepted[position], case)
                    for position, case in enumerate(cases)
                ]
            },
            headers={"Preference-Applied": f"wait={wait_s:.0f}"} if waited else None,
        )

    @operation(
        "List jobs, newest first",
        example=examples.JOBS,
        scope=Scope.JOBS_READ,
        answers={200: JobList},
        problems=(400, 404, 422),
        parameters=parameters.of_query(JobQuery),
    )
    def list_jobs(self) -> Response:
        """A page of the caller's jobs."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(JobQuery)
        before = cursor_id("jobs", query.cursor)
        wanted = queries.JobFilter(
            query.state, _versions(services, query), query.subject, query.created_after, query.created_before
        )
        with services.database.statement() as work:
            jobs = queries.newest(work, principal, wanted, before=before, limit=query.limit + 1)
        return page_of(
            "jobs",
            jobs,
            query.limit,
            lambda job: job_fields(job, services.catalog.version(job.model_version_id)),
        )

    @operation(
        "Read a job and its result",
        example=examples.SUCCEEDED,
        scope=Scope.JOBS_READ,
        answers={200: JobView, 304: ""},
        parameters=(parameters.PREFER, parameters.IF_NONE_MATCH),
        problems=(400, 404, 422),
    )
    def get_job(self, job_id: UUID) -> Response:
        """One job, after waiting for its end if asked to."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        wait_s = preferred_wait_s(services.settings.max_wait_s)
        if (
            wait_s
            and not _ended(services, principal, job_id)
            and _waited(services, principal, job_id, wait_s)
        ):
            return _read(services, principal, job_id, waited_s=wait_s)
        return _read(services, principal, job_id)

    @operation(
        "Cancel a job",
        example=examples.CANCELED,
        scope=Scope.JOBS_WRITE,
        answers={200: JobView},
        problems=(404,),
    )
    def cancel_job(self, job_id: UUID) -> Response:
        """Cancel a job that has not ended; the job as it then stands, its context for keys with `jobs:read` alone."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        with services.database.transaction() as work:
            job = queries.cancel(work, principal, job_id)
        model = services.catalog.version(job.model_version_id)
        return answer(job_fields(job, model, with_context=principal.may(Scope.JOBS_READ)))

    @operation(
        "Read a job's audit trail",
        example=examples.EVENTS,
        scope=Scope.JOBS_READ,
        answers={200: EventList},
        problems=(400, 404, 422),
        parameters=parameters.of_query(EventQuery),
    )
    def get_events(self, job_id: UUID) -> Response:
        """A page of a job's audit trail."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(EventQuery)
        after = cursor_id("events", query.cursor)
        with services.database.transaction() as work:
            events = queries.events(work, principal, job_id, after=after, limit=query.limit + 1)
        return page_of("events", events, query.limit, asdict)


def _store_one(services: Services, job: NewJob, idempotency: IdempotencyKey | None) -> Accepted:
    """Store a lone case, together with those of other requests that come in at the same time.

    Raises TenantQueueFull or QueueFull.
    """
    if idempotency is not None:
        return _store(services, [job], idempotency)[0]
    with services.admission.room(job.principal.tenant_id, 1):
        accepted = services.submits.run(job)
    JOBS_SUBMITTED.labels(job.model.name).inc()
    return accepted


def _store(services: Services, jobs: list[NewJob], idempotency: IdempotencyKey | None) -> list[Accepted]:
    """Store the cases of one request, all or none. Raises TenantQueueFull or QueueFull."""
    unit = services.database.transaction() if idempotency else services.database.statement()
    failpoints.reach(Point.SUBMIT_BEFORE)
    with services.admission.room(jobs[0].principal.tenant_id, len(jobs)), unit as work:
        accepted = submission.submit(work, jobs, idempotency)
    failpoints.reach(Point.SUBMIT_AFTER)
    fresh = Counter(job.model.name for job, stored in zip(jobs, accepted, strict=True) if not stored.replayed)
    for name, count in fresh.items():
        JOBS_SUBMITTED.labels(name).inc(count)
    return accepted


def _cases(body: bytes) -> list[SubmitRequest | ServiceError]:
    """The cases of a bulk request, or why one of them fits no schema. Raises BodyNotJson or RequestInvalid."""
    try:
        return list(body_as(BulkOfCases, body).jobs)
    except RequestInvalid:
        return [_case(part) for part in body_as(BulkRequest, body).jobs]


def _case(part: object) -> SubmitRequest | ServiceError:
    try:
        return part_as(SubmitRequest, part)
    except ServiceError as error:
        return error


def _checked_item(
    services: Services,
    principal: Principal,
    case: SubmitRequest | ServiceError,
    request: intake.Submission,
    position: int,
) -> NewJob | dict[str, object]:
    """One case of a bulk request, or the problem that keeps it out. Raises DatabaseUnavailable: that is no case's own."""
    if isinstance(case, ServiceError):
        return problem_of(case)
    try:
        return intake.checked(services, principal, case, request=request, position=position)
    except DatabaseUnavailable:
        raise
    except ServiceError as error:
        return problem_of(error)


def _submission(services: Services) -> intake.Submission:
    return intake.Submission(traceparent(), services.callbacks.patience())


def _accepted(services: Services, accepted: Accepted, case: SubmitRequest | ServiceError) -> dict[str, Any]:
    assert isinstance(case, SubmitRequest)  # what fits no schema was never stored
    return accepted_fields(accepted, case, services.catalog.version(accepted.model_version_id))


def _earlier(
    services: Services, principal: Principal, idempotency: IdempotencyKey | None, *, count: int
) -> dict[int, Accepted]:
    """What this key had stored before, by position in the request: looked up before time can spoil a check."""
    if idempotency is None:
        return {}
    with services.database.statement() as work:
        return submission.earlier(work, principal, idempotency, count=count)


def _ended(services: Services, principal: Principal, job_id: UUID) -> bool:
    with services.database.statement() as work:
        return queries.has_ended(work, principal, job_id)


def _waited(services: Services, principal: Principal, job_id: UUID, wait_s: float) -> bool:
    return services.waiting.wait(job_id, wait_s, lambda: _ended(services, principal, job_id))


def _read(
    services: Services,
    principal: Principal,
    job_id: UUID,
    *,
    status_of_unended: int = 200,
    waited_s: float = 0,
) -> Response:
    tags = request.if_none_match
    known = EVERY_TAG if tags.star_tag else _tags_of_jobs(tags)
    job = services.reads.run(Reading(principal, job_id, known))
    if job is None:
        raise JobNotFound
    if isinstance(job, PayloadUnreadable):
        raise job
    headers = {"ETag": f'"{job.tag}"', "Cache-Control": "private, no-cache"}
    if waited_s:
        headers["Preference-Applied"] = f"wait={waited_s:.0f}"
    if not job.ended:
        headers |= RETRY_AFTER
    if tags.contains_weak(job.tag):
        return Response(status=304, headers=headers)
    status = 200 if job.ended else status_of_unended
    if status == 202:
        headers["Location"] = f"/v1/jobs/{job_id}"
    return answer(job_fields(job, services.catalog.version(job.model_version_id)), status, headers)


def _tags_of_jobs(tags: ETags) -> str | None:
    """Those of the tags that a job may have. `"*"` is a tag like any other, and one may hold a comma."""
    return ",".join(tag for tag in tags.as_set(include_weak=True) if queries.TAG.fullmatch(tag)) or None


def _versions(services: Services, query: JobQuery) -> list[UUID] | None:
    """The model versions that the filters `model` and `kind` stand for; None for all."""
    if query.model is None and query.kind is None:
        return None
    if query.model is None:
        found = [
            version for name in services.catalog.names() for version in services.catalog.versions_of(name)
        ]
    elif "@" in query.model:
        found = [services.catalog.resolve(query.model)]
    else:
        try:
            found = services.catalog.versions_of(query.model)
        except ModelNotFound:
            found = []
    return [version.id for version in found if query.kind in {None, version.manifest.kind}]
