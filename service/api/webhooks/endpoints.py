"""/v1/webhook-endpoints: register, read, change and delete them, rotate their secrets, ping and replay."""

from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from models.field_codes import FieldCode
from service.accounts import Scope
from service.api.http import parameters
from service.api.http.answers import answer, page_of
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, body_as, cursor_id, query_as
from service.api.http.schemas import PAGE_LIMIT
from service.api.services import Services
from service.api.webhooks import examples
from service.api.webhooks.schemas import (
    CreatedEndpoint,
    EndpointChange,
    EndpointList,
    EndpointRequest,
    EndpointView,
    PingAnswer,
    ReplayAnswer,
    ReplayRequest,
    RotatedSecret,
)
from service.errors import FieldError, RequestInvalid
from service.lifecycle import DeliveryState
from service.webhooks import endpoints, history


class EndpointQuery(BaseModel):
    """Paging of endpoints."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


def blueprint(services: Services) -> Blueprint:
    """The routes of webhook endpoints."""
    routes = Blueprint("webhook_endpoints", __name__, url_prefix="/v1/webhook-endpoints")
    views = EndpointViews(services)
    routes.post("")(views.create_endpoint)
    routes.get("")(views.list_endpoints)
    routes.post("/callback-secret")(views.rotate_callback_secret)
    routes.get("/<uuid:endpoint_id>")(views.get_endpoint)
    routes.patch("/<uuid:endpoint_id>")(views.change_endpoint)
    routes.delete("/<uuid:endpoint_id>")(views.delete_endpoint)
    routes.post("/<uuid:endpoint_id>/rotate-secret")(views.rotate_secret)
    routes.post("/<uuid:endpoint_id>/ping")(views.ping)
    routes.post("/<uuid:endpoint_id>/replay")(views.replay)
    return routes


class EndpointViews:
    """The views of webhook endpoints, over the parts of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "Register a webhook endpoint",
        scope=Scope.WEBHOOKS_WRITE,
        body=EndpointRequest,
        answers={201: CreatedEndpoint},
        problems=(400, 409, 413, 415, 422),
        examples=examples.ENDPOINT_REQUEST,
        example=examples.CREATED_ENDPOINT,
    )
    def create_endpoint(self) -> Response:
        """Check the URL and store the endpoint; its secret is shown only once."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        wanted = body_as(EndpointRequest, services.bodies.json(principal))
        services.receivers.judge(principal.tenant_id, wanted.url)
        with services.database.transaction() as work:
            endpoint, secret = endpoints.create(
                work,
                principal,
                url=wanted.url,
                event_types=wanted.event_types,
                description=wanted.description,
            )
        fields = asdict(endpoint) | {"secret": secret}
        return answer(fields, 201, {"Location": f"/v1/webhook-endpoints/{endpoint.id}"})

    @operation(
        "List webhook endpoints, newest first",
        example=examples.ENDPOINTS,
        scope=Scope.WEBHOOKS_READ,
        answers={200: EndpointList},
        problems=(400, 422),
        parameters=parameters.of_query(EndpointQuery),
    )
    def list_endpoints(self) -> Response:
        """A page of the tenant's endpoints."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_READ)
        query = query_as(EndpointQuery)
        before = cursor_id("webhook-endpoints", query.cursor)
        with services.database.statement() as work:
            found = endpoints.newest(work, principal, before=before, limit=query.limit + 1)
        return page_of("webhook-endpoints", found, query.limit, asdict)

    @operation(
        "Read a webhook endpoint",
        example=examples.ENDPOINT,
        scope=Scope.WEBHOOKS_READ,
        answers={200: EndpointView},
        problems=(404, 422),
    )
    def get_endpoint(self, endpoint_id: UUID) -> Response:
        """One endpoint, without its secret."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_READ)
        query_as(NoQuery)
        with services.database.statement() as work:
            return answer(asdict(endpoints.get(work, principal, endpoint_id)))

    @operation(
        "Change a webhook endpoint",
        scope=Scope.WEBHOOKS_WRITE,
        body=EndpointChange,
        answers={200: EndpointView},
        problems=(400, 404, 413, 415, 422),
        examples=examples.ENDPOINT_CHANGE,
        example=examples.ENDPOINT,
    )
    def change_endpoint(self, endpoint_id: UUID) -> Response:
        """Change what is given, and nothing else."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        wanted = body_as(EndpointChange, services.bodies.json(principal))
        if wanted.url is not None:
            services.receivers.judge(principal.tenant_id, wanted.url)
        with services.database.transaction() as work:
            changed = endpoints.change(
                work,
                principal,
                endpoint_id,
                url=wanted.url,
                event_types=wanted.event_types,
                description=wanted.description,
                state=wanted.state,
            )
        return answer(asdict(changed))

    @operation("Delete a webhook endpoint", scope=Scope.WEBHOOKS_WRITE, answers={204: ""}, problems=(404,))
    def delete_endpoint(self, endpoint_id: UUID) -> Response:
        """Stop sending to it; its deliveries can still be read."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        with services.database.transaction() as work:
            endpoints.delete(work, principal, endpoint_id)
        return Response(status=204)

    @operation(
        "Rotate the signing secret of an endpoint",
        example=examples.ROTATED_SECRET,
        scope=Scope.WEBHOOKS_WRITE,
        answers={200: RotatedSecret},
        problems=(404,),
    )
    def rotate_secret(self, endpoint_id: UUID) -> Response:
        """A new secret; the previous one also signs for a day."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        with services.database.transaction() as work:
            secret, until = endpoints.rotate_secret(work, principal, endpoint_id)
        return answer({"secret": secret, "previous_valid_until": until})

    @operation(
        "Make or rotate the secret that signs callbacks",
        example=examples.ROTATED_SECRET | {"previous_valid_until": None},
        scope=Scope.WEBHOOKS_WRITE,
        answers={200: RotatedSecret},
    )
    def rotate_callback_secret(self) -> Response:
        """The secret of all callback URLs of the tenant's jobs."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        with services.database.transaction() as work:
            secret, until = endpoints.rotate_callback_secret(work, principal)
        return answer({"secret": secret, "previous_valid_until": until})

    @operation(
        "Send a test event to an endpoint",
        example=examples.PING,
        scope=Scope.WEBHOOKS_WRITE,
        answers={202: PingAnswer},
        problems=(404, 409),
    )
    def ping(self, endpoint_id: UUID) -> Response:
        """Plan an event `webhook.ping` for this endpoint only."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        with services.database.transaction() as work:
            delivery_id = endpoints.ping(work, principal, endpoint_id)
        headers = {"Location": f"/v1/webhook-deliveries/{delivery_id}", "Retry-After": "1"}
        return answer({"delivery_id": delivery_id}, 202, headers)

    @operation(
        "Send deliveries of an endpoint again",
        scope=Scope.WEBHOOKS_WRITE,
        body=ReplayRequest,
        answers={200: ReplayAnswer},
        problems=(400, 404, 409, 413, 415, 422),
        examples=examples.REPLAY_REQUEST,
        example=examples.REPLAY,
    )
    def replay(self, endpoint_id: UUID) -> Response:
        """Deliveries of a time range once more, and events that the endpoint missed while it was disabled."""
        services = self._services
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        wanted = body_as(ReplayRequest, services.bodies.json(principal))
        until = wanted.until or datetime.now(UTC)
        if wanted.since >= until:
            late = FieldError(
                "/since", FieldCode.TOO_LATE, "Send a time before `until`, which is now if omitted."
            )
            raise RequestInvalid(errors=(late,))
        with services.database.transaction() as work:
            replayed, planned = history.replay_range(
                work,
                principal,
                endpoint_id,
                since=wanted.since,
                until=until,
                states=[DeliveryState(state) for state in wanted.states],
            )
        return answer({"replayed": replayed, "planned": planned})
