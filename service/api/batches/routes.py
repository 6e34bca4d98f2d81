"""/v1/batches: submit a file overnight, watch, pause, resume, cancel and run again; its results, errors and trail."""

from collections.abc import Callable
from dataclasses import asdict, replace
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field

from service.accounts import Principal, Scope
from service.api.batches import examples, output
from service.api.batches.intake import checked_batch, checked_source, previewed_columns
from service.api.batches.output import MEDIA, OutputQuery
from service.api.batches.schemas import BatchList, BatchSubmit, BatchView, RerunRequest
from service.api.batches.views import as_opened, batch_fields
from service.api.http import parameters
from service.api.http.answers import answer, page_of
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, body_as, cursor_id, idempotency_key, query_as
from service.api.http.schemas import PAGE_LIMIT, Time
from service.api.jobs.schemas import EventList
from service.api.services import Services
from service.batches import control, opening, queries
from service.batches.output import OutputKind
from service.batches.queries import BatchFilter
from service.batches.requests import RerunRows
from service.db import UnitOfWork
from service.jobs.submission import IdempotencyKey
from service.lifecycle import BatchState

RETRY_AFTER = {"Retry-After": "1"}
FILES = tuple(MEDIA.values())


class BatchQuery(BaseModel):
    """Filters of GET /v1/batches."""

    model_config = ConfigDict(extra="forbid")

    state: BatchState | None = None
    schedule: UUID | None = None
    rerun_of: UUID | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int = Field(50, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


class BatchEventQuery(BaseModel):
    """Paging of a batch's events."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


def blueprint(services: Services) -> Blueprint:
    """The routes of batches."""
    routes = Blueprint("batches", __name__, url_prefix="/v1/batches")
    views = BatchViews(services)
    routes.post("")(views.submit_batch)
    routes.get("")(views.list_batches)
    routes.get("/<uuid:batch_id>")(views.get_batch)
    routes.post("/<uuid:batch_id>/pause")(views.pause_batch)
    routes.post("/<uuid:batch_id>/resume")(views.resume_batch)
    routes.post("/<uuid:batch_id>/cancel")(views.cancel_batch)
    routes.post("/<uuid:batch_id>/rerun")(views.rerun_batch)
    routes.get("/<uuid:batch_id>/events")(views.get_events)
    routes.get("/<uuid:batch_id>/results")(views.get_results)
    routes.get("/<uuid:batch_id>/errors")(views.get_errors)
    return routes


class BatchViews:
    """The views of batches, over the parts of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "Submit a file to score overnight",
        scope=Scope.JOBS_WRITE,
        body=BatchSubmit,
        answers={202: BatchView},
        parameters=(parameters.IDEMPOTENCY_KEY,),
        problems=(400, 404, 413, 415, 422),
        examples=examples.SUBMIT,
        example=examples.OPENED,
    )
    def submit_batch(self) -> Response:
        """Check what is asked for and store it; a worker validates the file."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body = services.bodies.json(principal)
        wanted, idempotency = body_as(BatchSubmit, body), idempotency_key(body)
        opened = self._earlier(principal, idempotency)
        if opened is None:
            new = checked_batch(services, principal, wanted)
            with services.database.transaction() as work:
                opened = opening.open_batch(work, new, actor=principal.actor, idempotency=idempotency).id
        return self._opened(principal, opened, with_source=True, with_columns=True)  # the caller named it

    @operation(
        "List batches, newest first",
        example=examples.BATCHES,
        scope=Scope.JOBS_READ,
        answers={200: BatchList},
        problems=(400, 422),
        parameters=parameters.of_query(BatchQuery),
    )
    def list_batches(self) -> Response:
        """A page of the caller's batches."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(BatchQuery)
        before = cursor_id("batches", query.cursor)
        wanted = BatchFilter(
            query.state, query.schedule, query.rerun_of, query.created_after, query.created_before
        )
        with services.database.statement() as work:
            found = queries.newest(work, principal, wanted, before=before, limit=query.limit + 1)
        return page_of("batches", found, query.limit, self._fields)

    @operation(
        "Read a batch",
        example=examples.RUNNING,
        scope=Scope.JOBS_READ,
        answers={200: BatchView},
        problems=(404, 422),
    )
    def get_batch(self, batch_id: UUID) -> Response:
        """One batch in its present state."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        with services.database.statement() as work:
            found = queries.get(work, principal, batch_id)
        return answer(self._fields(found))

    @operation(
        "Pause a batch",
        example=examples.PAUSED,
        scope=Scope.JOBS_WRITE,
        answers={200: BatchView},
        problems=(404, 409),
    )
    def pause_batch(self, batch_id: UUID) -> Response:
        """Start no more chunks; those that workers hold are finished first."""
        return self._changed(control.pause, batch_id)

    @operation(
        "Resume a batch",
        example=examples.RUNNING,
        scope=Scope.JOBS_WRITE,
        answers={200: BatchView},
        problems=(404, 409),
    )
    def resume_batch(self, batch_id: UUID) -> Response:
        """Go on within the window."""
        return self._changed(control.resume, batch_id)

    @operation(
        "Cancel a batch",
        example=examples.CANCELED,
        scope=Scope.JOBS_WRITE,
        answers={200: BatchView},
        problems=(404,),
    )
    def cancel_batch(self, batch_id: UUID) -> Response:
        """Cancel what is left; the batch as it then is. One that has ended stays as it is."""
        return self._changed(control.cancel, batch_id)

    @operation(
        "Run the failed rows of a batch again, or all, from a corrected file",
        example=examples.RERUN,
        examples=examples.RERUN_REQUEST,
        scope=Scope.JOBS_WRITE,
        body=RerunRequest,
        body_required=False,
        answers={202: BatchView},
        parameters=(parameters.IDEMPOTENCY_KEY,),
        problems=(400, 404, 409, 413, 415, 422),
    )
    def rerun_batch(self, batch_id: UUID) -> Response:
        """Open a batch over rows of one that has ended; the first one stays as it is."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        body = (
            services.bodies.json(principal)
            if request.content_length or "Transfer-Encoding" in request.headers
            else b""
        )
        wanted = body_as(RerunRequest, body) if body else RerunRequest(source=None, rows="failed")
        idempotency = idempotency_key(
            batch_id.bytes + body
        )  # the same key for another batch is another request
        source = checked_source(services, principal, wanted.source)
        with services.database.transaction() as work:
            opened = opening.rerun(
                *(work, principal, batch_id),
                actor=principal.actor,
                idempotency=idempotency,
                source=source,
                rows=RerunRows(wanted.rows),
            )
        return self._opened(principal, opened.id, with_source=principal.may(Scope.JOBS_READ))

    @operation(
        "Read a batch's audit trail",
        example=examples.EVENTS,
        scope=Scope.JOBS_READ,
        answers={200: EventList},
        problems=(400, 404, 422),
        parameters=parameters.of_query(BatchEventQuery),
    )
    def get_events(self, batch_id: UUID) -> Response:
        """A page of a batch's audit trail."""
        services = self._services
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(BatchEventQuery)
        after = cursor_id("batch-events", query.cursor)
        with services.database.transaction() as work:
            events = queries.events(work, principal, batch_id, after=after, limit=query.limit + 1)
        return page_of("batch-events", events, query.limit, asdict)

    @operation(
        "Download the results of a batch",
        example=examples.RESULTS,
        scope=Scope.JOBS_READ,
        answers={200: FILES, 206: FILES, 304: ""},
        parameters=(
            *parameters.of_query(OutputQuery),
            *(parameters.RANGE, parameters.IF_RANGE, parameters.IF_NONE_MATCH),
        ),
        problems=(404, 409, 416, 422),
    )
    def get_results(self, batch_id: UUID) -> Response:
        """The rows that were scored, in input order."""
        return output.respond(self._services, batch_id, OutputKind.RESULTS)

    @operation(
        "Download the errors of a batch",
        example=examples.ERRORS,
        scope=Scope.JOBS_READ,
        answers={200: FILES, 206: FILES, 304: ""},
        parameters=(
            *parameters.of_query(OutputQuery),
            *(parameters.RANGE, parameters.IF_RANGE, parameters.IF_NONE_MATCH),
        ),
        problems=(404, 409, 416, 422),
    )
    def get_errors(self, batch_id: UUID) -> Response:
        """What is wrong with the rows that failed, in input order."""
        return output.respond(self._services, batch_id, OutputKind.ERRORS)

    def _earlier(self, principal: Principal, idempotency: IdempotencyKey | None) -> UUID | None:
        """What this key opened before: looked up first, since checks may fail that passed then."""
        if idempotency is None:
            return None
        with self._services.database.statement() as work:
            found = opening.earlier(work, principal.tenant_id, idempotency)
        return found.id if found else None

    def _opened(
        self, principal: Principal, batch_id: UUID, *, with_source: bool, with_columns: bool = False
    ) -> Response:
        services = self._services
        with services.database.statement() as work:
            batch = as_opened(queries.get(work, principal, batch_id))
        if with_columns:
            model = services.catalog.version(batch.model_version_id)
            batch = replace(batch, columns=previewed_columns(services, principal, batch.request, model))
        headers = {"Location": f"/v1/batches/{batch_id}"} | RETRY_AFTER
        return answer(self._fields(batch, with_source=with_source), 202, headers)

    def _changed(
        self, change: Callable[[UnitOfWork, Principal, UUID], BatchState], batch_id: UUID
    ) -> Response:
        services = self._services
        principal = services.auth.principal(Scope.JOBS_WRITE)
        with services.database.transaction() as work:
            change(work, principal, batch_id)
            batch = queries.get(work, principal, batch_id)
        return answer(self._fields(batch, with_source=principal.may(Scope.JOBS_READ)))

    def _fields(self, batch: queries.BatchView, *, with_source: bool = True) -> dict[str, object]:
        model = self._services.catalog.version(batch.model_version_id)
        return batch_fields(batch, model, with_source=with_source)
