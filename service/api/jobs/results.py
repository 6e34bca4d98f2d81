"""POST /v1/jobs/results: many jobs with their results in one call, after waiting for their ends if asked to."""

from flask import Blueprint, Response

from service.accounts import Scope
from service.api.http import parameters
from service.api.http.answers import answer
from service.api.http.operations import operation
from service.api.http.requests import body_as, preferred_wait_s
from service.api.jobs import examples
from service.api.jobs.schemas import BulkAnswer, ResultsRequest
from service.api.jobs.views import fields_or_problem
from service.api.services import Services
from service.jobs.queries import JobView

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
        desk, principal = services.desk, services.auth.principal(Scope.JOBS_READ)
        wanted = body_as(ResultsRequest, services.bodies.json(principal)).ids
        wait_s = preferred_wait_s(services.settings.max_wait_s)
        with services.turns.paused():
            waited = wait_s > 0 and desk.wait_for_all(principal, wanted, wait_s)
        found = desk.read_many(principal, wanted)
        headers = {"Cache-Control": "private, no-cache"}
        if waited:
            headers["Preference-Applied"] = f"wait={wait_s:.0f}"
        if any(isinstance(job, JobView) and not job.ended for job in found):
            headers |= RETRY_AFTER
        return answer({"items": [fields_or_problem(desk, job) for job in found]}, 200, headers)

    return routes
