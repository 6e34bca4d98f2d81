"""/v1/batch-schedules: create, list, pause, resume and delete what opens batches at set times."""

from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from service.accounts import Principal, Scope
from service.api.batches import examples
from service.api.batches.intake import checked_schedule
from service.api.batches.schemas import ScheduleList, ScheduleRequest, ScheduleView
from service.api.batches.views import schedule_fields
from service.api.http import parameters
from service.api.http.answers import answer, page_of
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, body_as, cursor_id, query_as
from service.api.http.schemas import PAGE_LIMIT
from service.api.services import Services
from service.batches import schedules


class ScheduleQuery(BaseModel):
    """Paging of schedules."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


def blueprint(services: Services) -> Blueprint:
    """The routes of schedules."""
    routes = Blueprint("batch_schedules", __name__, url_prefix="/v1/batch-schedules")
    views = ScheduleViews(services)
    routes.post("")(views.create_schedule)
    routes.get("")(views.list_schedules)
    routes.get("/<uuid:schedule_id>")(views.get_schedule)
    routes.delete("/<uuid:schedule_id>")(views.delete_schedule)
    routes.post("/<uuid:schedule_id>/pause")(views.pause_schedule)
    routes.post("/<uuid:schedule_id>/resume")(views.resume_schedule)
    return routes


class ScheduleViews:
    """The views of schedules, over the parts of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "Schedule batches",
        scope=Scope.JOBS_WRITE,
        body=ScheduleRequest,
        answers={201: ScheduleView},
        problems=(400, 404, 409, 413, 415, 422),
        examples=examples.SCHEDULE_REQUEST,
        example=examples.SCHEDULE,
    )
    def create_schedule(self) -> Response:
        """Check what each run is asked to do, and store it."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        wanted = body_as(ScheduleRequest, services.bodies.json(principal))
        new = checked_schedule(services, principal, wanted)
        with services.database.transaction() as work:
            schedule_id = schedules.create(work, principal, new)
            schedule = schedules.get(work, principal, schedule_id)
        return answer(schedule_fields(schedule), 201, {"Location": f"/v1/batch-schedules/{schedule_id}"})

    @operation(
        "List schedules, newest first",
        example=examples.SCHEDULES,
        scope=Scope.JOBS_READ,
        answers={200: ScheduleList},
        problems=(400, 422),
        parameters=parameters.of_query(ScheduleQuery),
    )
    def list_schedules(self) -> Response:
        """A page of the tenant's schedules."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(ScheduleQuery)
        before = cursor_id("batch-schedules", query.cursor)
        with services.database.statement() as work:
            found = schedules.newest(work, principal, before=before, limit=query.limit + 1)
        return page_of("batch-schedules", found, query.limit, schedule_fields)

    @operation(
        "Read a schedule",
        example=examples.SCHEDULE,
        scope=Scope.JOBS_READ,
        answers={200: ScheduleView},
        problems=(404, 422),
    )
    def get_schedule(self, schedule_id: UUID) -> Response:
        """One schedule, with its last batch and its next run."""
        principal = self._services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        return self._read(principal, schedule_id)

    @operation(
        "Pause a schedule",
        example=examples.PAUSED_SCHEDULE,
        scope=Scope.JOBS_WRITE,
        answers={200: ScheduleView},
        problems=(404,),
    )
    def pause_schedule(self, schedule_id: UUID) -> Response:
        """Open no more batches; those that are open continue."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        with services.database.transaction() as work:
            schedules.pause(work, principal, schedule_id)
        return self._read(principal, schedule_id)

    @operation(
        "Resume a schedule",
        example=examples.SCHEDULE,
        scope=Scope.JOBS_WRITE,
        answers={200: ScheduleView},
        problems=(404,),
    )
    def resume_schedule(self, schedule_id: UUID) -> Response:
        """Open batches again; one run makes up for all that were missed."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        with services.database.transaction() as work:
            schedules.resume(work, principal, schedule_id)
        return self._read(principal, schedule_id)

    @operation("Delete a schedule", scope=Scope.JOBS_WRITE, answers={204: ""}, problems=(404,))
    def delete_schedule(self, schedule_id: UUID) -> Response:
        """Open no more batches; those that it opened stay."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        with services.database.transaction() as work:
            schedules.delete(work, principal, schedule_id)
        return Response(status=204)

    def _read(self, principal: Principal, schedule_id: UUID) -> Response:
        with self._services.database.statement() as work:
            schedule = schedules.get(work, principal, schedule_id)
        return answer(schedule_fields(schedule, with_source=principal.may(Scope.JOBS_READ)))
