"""/v1/webhook-deliveries: what was sent to whom, and what came of it; send one again."""

from dataclasses import asdict
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from service.accounts import Scope
from service.api.http import parameters
from service.api.http.answers import answer, page_of
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, cursor_id, query_as
from service.api.http.schemas import PAGE_LIMIT, Time
from service.api.services import Services
from service.api.webhooks import examples
from service.api.webhooks.schemas import DeliveredType, DeliveryList, DeliveryView, DeliveryWithTries
from service.lifecycle import DeliveryState
from service.webhooks import history
from service.webhooks.history import DeliveryFilter


class DeliveryQuery(BaseModel):
    """Filters of GET /v1/webhook-deliveries."""

    model_config = ConfigDict(extra="forbid")

    endpoint: UUID | None = None
    state: DeliveryState | None = None
    type: DeliveredType | None = None
    job: UUID | None = None
    batch: UUID | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int = Field(50, ge=1, le=PAGE_LIMIT)
    cursor: str | None = None


def blueprint(services: Services) -> Blueprint:
    """The routes of webhook deliveries."""
    routes = Blueprint("webhook_deliveries", __name__, url_prefix="/v1/webhook-deliveries")

    @routes.get("")
    @operation(
        "List webhook deliveries, newest first",
        example=examples.DELIVERIES,
        scope=Scope.WEBHOOKS_READ,
        answers={200: DeliveryList},
        problems=(400, 422),
        parameters=parameters.of_query(DeliveryQuery),
    )
    def list_deliveries() -> Response:
        principal = services.auth.principal(Scope.WEBHOOKS_READ)
        query = query_as(DeliveryQuery)
        before = cursor_id("webhook-deliveries", query.cursor)
        wanted = DeliveryFilter(
            endpoint_id=query.endpoint,
            state=query.state,
            event_type=query.type,
            job_id=query.job,
            batch_id=query.batch,
            created_after=query.created_after,
            created_before=query.created_before,
        )
        with services.database.statement() as work:
            found = history.newest(work, principal, wanted, before=before, limit=query.limit + 1)
        return page_of("webhook-deliveries", found, query.limit, asdict)

    @routes.get("/<uuid:delivery_id>")
    @operation(
        "Read a webhook delivery and its tries",
        example=examples.DELIVERY_WITH_TRIES,
        scope=Scope.WEBHOOKS_READ,
        answers={200: DeliveryWithTries},
        problems=(404, 422),
    )
    def get_delivery(delivery_id: UUID) -> Response:
        principal = services.auth.principal(Scope.WEBHOOKS_READ)
        query_as(NoQuery)
        with services.database.transaction() as work:
            delivery, tries = history.get(work, principal, delivery_id)
        return answer(asdict(delivery) | {"history": [asdict(each) for each in tries]})

    @routes.post("/<uuid:delivery_id>/replay")
    @operation(
        "Send a webhook delivery again",
        example=examples.DELIVERY,
        scope=Scope.WEBHOOKS_WRITE,
        answers={200: DeliveryView},
        problems=(404, 409),
    )
    def replay_delivery(delivery_id: UUID) -> Response:
        principal = services.auth.principal(Scope.WEBHOOKS_WRITE)
        with services.database.transaction() as work:
            return answer(asdict(history.replay(work, principal, delivery_id)))

    return routes
