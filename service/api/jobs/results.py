"""POST /v1/jobs/results: many jobs with their results in one call, after waiting for their ends if asked to."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from service.accounts import Principal, Scope
from service.api.http import parameters
from service.api.http.answers import answer
from service.api.http.operations import operation
from service.api.http.problems import problem_of
from service.api.http.requests import body_as, preferred_wait_s
from service.api.jobs import examples
from service.api.jobs.schemas import BulkAnswer, ResultsRequest
from service.api.jobs.views import job_fields
from service.api.services import Services
from service.errors import JobNotFound, PayloadUnreadable
from service.jobs import queries
from service.jobs.queries import JobView, Reading

RETRY_AFTER = {"Retry-After": "1"}


def blueprint(services: Services) -> Blueprint:
    """The route of results."""
    routes = Blueprint("job_results", __name__, url_prefix="/v1/jobs/results")

    @routes.post("")
    @operation(
        "Read up to 1,000 jobs and their results",
        scope=Scope.JOBS_READ,
        body=ResultsRequest,
        answers={200: BulkAnswer},
        parameters=(parameters.PREFER,),
        problems=(400, 413, 415, 422),
        examples=examples.RESULTS_REQUEST,
        example=examples.RESULTS,
    )
    def read_results() -> Response:
        """Each job in the order asked for, or the problem that there is none; each result given out is recorded."""
        principal = services.auth.principal(Scope.JOBS_READ)
        wanted = body_as(ResultsRequest, services.bodies.json(principal)).ids
        wait_s = preferred_wait_s(services.settings.max_wait_s)
        waited = wait_s > 0 and wait_for_all(services, principal, wanted, wait_s)
        found = read_all(services, principal, wanted)
        headers = {"Cache-Control": "private, no-cache"}
        if waited:
            headers["Preference-Applied"] = f"wait={wait_s:.0f}"
        if any(isinstance(job, JobView) and not job.ended for job in found):
            headers |= RETRY_AFTER
        return answer({"items": [fields_of(services, job) for job in found]}, 200, headers)

    return routes


def wait_for_all(services: Services, principal: Principal, job_ids: Sequence[UUID], wait_s: float) -> bool:
    """Wait until all of these jobs have ended or `wait_s` is over; whether that was granted.

    One of them is waited for at a time, the youngest first: mostly the others have ended when it has.
    """
    until, ids = time.monotonic() + wait_s, list(job_ids)

    def unended() -> UUID | None:
        with services.database.statement() as work:
            return queries.youngest_unended(work, principal, ids)

    while (job_id := unended()) is not None and (left_s := until - time.monotonic()) > 0:
        if not services.waiting.wait(job_id, left_s, lambda: unended() is None):
            return False
    return True


def read_all(
    services: Services, principal: Principal, job_ids: Sequence[UUID]
) -> list[JobView | PayloadUnreadable | None]:
    """Jobs with their results, in the order asked for, read in one statement."""
    with services.database.statement() as work:
        return queries.read(work, [Reading(principal, job_id) for job_id in job_ids])


def fields_of(services: Services, job: JobView | PayloadUnreadable | None) -> dict[str, Any]:
    """A job on the wire, or the problem in its place."""
    if job is None:
        return problem_of(JobNotFound())
    if isinstance(job, PayloadUnreadable):
        return problem_of(job)
    return job_fields(job, services.catalog.version(job.model_version_id))
