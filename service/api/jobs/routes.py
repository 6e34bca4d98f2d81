"""/v1/jobs: submit one or many, read, list, cancel, and the audit trail of each."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import ETags

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
from service.api.http.turns import LARGE_BYTES
from service.api.jobs import examples
from service.api.jobs.schemas import (
    BulkAnswer,
    BulkOfCases,
    BulkRequest,
    DelayView,
    EventList,
    JobList,
    JobView,
    SubmitRequest,
)
from service.api.jobs.views import accepted_fields, fields_or_problem, job_fields
from service.api.services import Services
from service.desk import Desk, JobSearch
from service.errors import RequestInvalid, ServiceError
from service.jobs.queries import EVERY_TAG, TAG
from service.jobs.submission import Accepted
from service.lifecycle import JobState

RETRY_AFTER = {"Retry-After": "1"}


class JobQuery(BaseModel):
    """Filters of GET /v1/jobs."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    state: JobState | None = None
    model: Reference | None = None
    kind: str | None = Field(None, pattern="^(diagnosis|recommendation|generation)$")
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
    routes.get("/<uuid:job_id>/delay")(views.get_delay)
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
        services, desk = self._services, self._services.desk
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body, wait_s = services.bodies.json(principal), preferred_wait_s(services.settings.max_wait_s)
        wanted, idempotency = body_as(SubmitRequest, body), idempotency_key(body)
        asked, wanted = [wanted.as_request()], wanted.without_input()  # so that only the desk has the input
        del body
        accepted = desk.submit(principal, asked.pop(), idempotency=idempotency, traceparent=traceparent())
        may_read = principal.may(Scope.JOBS_READ)  # else there is nothing to wait for: a result is not shown
        with services.turns.paused():
            waited = (
                wait_s
                and may_read
                and desk.wait(principal, accepted.id, wait_s, may_have_ended=accepted.replayed)
            )
        if waited:
            return _read(desk, principal, accepted.id, status_of_unended=202, waited_s=wait_s)
        fields = accepted_fields(accepted, wanted, desk.model_of(accepted))
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
        services, desk = self._services, self._services.desk
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body, wait_s = services.bodies.json(principal), preferred_wait_s(services.settings.max_wait_s)
        idempotency, cases = idempotency_key(body), _cases(body)
        wanted = [case.as_request() if isinstance(case, SubmitRequest) else case for case in cases]
        if len(body) > LARGE_BYTES:
            cases = [case.without_input() if isinstance(case, SubmitRequest) else case for case in cases]
        del body
        submitted = desk.submit_many(principal, wanted, idempotency=idempotency, traceparent=traceparent())
        wanted.clear()
        ids = [item.id for item in submitted if isinstance(item, Accepted)]
        may_read = principal.may(Scope.JOBS_READ)
        with services.turns.paused():
            waited = wait_s > 0 and may_read and desk.wait_for_all(principal, ids, wait_s)
        read = dict(zip(ids, desk.read_many(principal, ids), strict=True)) if waited else {}
        return answer(
            {
                "items": [
                    fields_or_problem(desk, read[item.id])
                    if isinstance(item, Accepted) and waited
                    else _accepted_or_problem(desk, item, case)
                    for item, case in zip(submitted, cases, strict=True)
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
        services, desk = self._services, self._services.desk
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(JobQuery)
        before = cursor_id("jobs", query.cursor)
        wanted = JobSearch(
            query.state, query.model, query.kind, query.subject, query.created_after, query.created_before
        )
        jobs = desk.newest(principal, wanted, before=before, limit=query.limit + 1)
        return page_of("jobs", jobs, query.limit, lambda job: job_fields(job, desk.model_of(job)))

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
        services, desk = self._services, self._services.desk
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        wait_s = preferred_wait_s(services.settings.max_wait_s)
        with services.turns.paused():
            waited = wait_s > 0 and desk.wait(principal, job_id, wait_s)
        return _read(desk, principal, job_id, waited_s=wait_s if waited else 0)

    @operation(
        "Cancel a job",
        example=examples.CANCELED,
        scope=Scope.JOBS_WRITE,
        answers={200: JobView},
        problems=(404,),
    )
    def cancel_job(self, job_id: UUID) -> Response:
        """Cancel a job that has not ended; the job as it then stands, its context for keys with `jobs:read` alone."""
        services, desk = self._services, self._services.desk
        job = desk.cancel(services.auth.principal(Scope.JOBS_WRITE), job_id)
        return answer(job_fields(job, desk.model_of(job)))

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
        events = services.desk.events(principal, job_id, after=after, limit=query.limit + 1)
        return page_of("events", events, query.limit, asdict)

    @operation(
        "Read why a job has not started",
        example=examples.DELAY,
        scope=Scope.JOBS_READ,
        answers={200: DelayView},
        problems=(404, 422),
    )
    def get_delay(self, job_id: UUID) -> Response:
        """What a job waits for, or its place in the queue."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        return answer(asdict(services.desk.delay(principal, job_id)))


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
        return error.without_frames()


def _accepted_or_problem(
    desk: Desk, item: Accepted | ServiceError, case: SubmitRequest | ServiceError
) -> dict[str, Any]:
    if isinstance(item, ServiceError):
        return problem_of(item)
    assert isinstance(case, SubmitRequest)  # what fits no schema is never stored
    return accepted_fields(item, case, desk.model_of(item))


def _read(
    desk: Desk,
    principal: Principal,
    job_id: UUID,
    *,
    status_of_unended: int = 200,
    waited_s: float = 0,
) -> Response:
    tags = request.if_none_match
    job = desk.read(principal, job_id, EVERY_TAG if tags.star_tag else _tags_of_jobs(tags))
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
    return answer(job_fields(job, desk.model_of(job)), status, headers)


def _tags_of_jobs(tags: ETags) -> str | None:
    """Those of the tags that a job may have. `"*"` is a tag like any other, and one may hold a comma."""
    return ",".join(tag for tag in tags.as_set(include_weak=True) if TAG.fullmatch(tag)) or None
