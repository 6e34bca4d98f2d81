"""The history of deliveries: a tenant reads them with their tries, and has them sent once more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import audit, listing, rows
from service.accounts import Principal
from service.db import UnitOfWork
from service.errors import DeliveryNotFound, TransitionRefused
from service.lifecycle import PUBLISHED_ACTIONS, DeliveryState
from service.queue import deliver_wake_up
from service.rows import Row
from service.webhooks import endpoints
from service.webhooks.feed import PUBLISHED
from service.webhooks.messages import PING

TABLE = "webhook_delivery"
REPLAY_ROWS = 10_000

# All values that the columns of a list can have.
ENDPOINTS = "SELECT id FROM webhook_endpoint WHERE tenant_id = %(tenant_id)s"
TYPES = listing.every("text", [*PUBLISHED_ACTIONS, PING])
NOT_RUNNING = listing.every(
    "delivery_state", [state for state in DeliveryState if state is not DeliveryState.RUNNING]
)

COLUMNS = """id, endpoint_id, event_id, event_type, job_id, state::text AS state, tries, created_at,
    CASE WHEN state = 'queued' THEN available_at END AS next_try_at, finished_at, batch_id"""
GET = f"SELECT {COLUMNS} FROM webhook_delivery WHERE id = %(id)s AND tenant_id = %(tenant_id)s"
TRIES = """
SELECT tried_at, duration_ms, status, error, excerpt FROM webhook_try WHERE delivery_id = %(id)s ORDER BY fence
"""

REPLAY_ONE = """
UPDATE webhook_delivery AS delivery SET state = 'queued', tries = 0, available_at = now(), finished_at = NULL
FROM webhook_endpoint AS endpoint
WHERE delivery.id = %(id)s AND delivery.tenant_id = %(tenant_id)s AND delivery.state IN ('delivered', 'dead')
    AND endpoint.id = delivery.endpoint_id AND endpoint.state = 'enabled'
RETURNING delivery.id
"""

# Events that were never planned, because the endpoint was disabled at the time, are planned now: those that are planned
# already are skipped, or a second replay of a long time would come no further than the first. Events from before the
# endpoint existed, or subscribed to their type, were not missed. OFFSET 0 keeps Postgres from joining otherwise than by
# looking each type up in the index of the feed.
REPLAY_RANGE = f"""
WITH target AS (
    SELECT id, tenant_id, event_types, kind, created_at, subscribed_at FROM webhook_endpoint
    WHERE id = %(endpoint_id)s AND tenant_id = %(tenant_id)s AND state = 'enabled'
), chosen AS MATERIALIZED (
    SELECT delivery.id FROM webhook_delivery AS delivery
    WHERE delivery.endpoint_id = (SELECT id FROM target) AND delivery.created_at >= %(since)s
        AND delivery.created_at < %(until)s AND delivery.state = ANY (%(states)s::delivery_state[])
    ORDER BY delivery.id LIMIT {REPLAY_ROWS} FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE webhook_delivery SET state = 'queued', tries = 0, available_at = now(), finished_at = NULL
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id
), missed AS (
    INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, job_id, batch_id)
    SELECT event.tenant_id, target.id, event.id, event.action, event.job_id, event.batch_id
    FROM target CROSS JOIN LATERAL unnest(target.event_types) AS wanted (action) CROSS JOIN LATERAL (
        SELECT * FROM audit_event AS event
        WHERE event.tenant_id = %(tenant_id)s AND event.action = wanted.action AND {PUBLISHED} OFFSET 0) AS event
    WHERE target.kind = 'registered' AND event.occurred_at >= %(since)s AND event.occurred_at < %(until)s
        AND event.occurred_at >= coalesce((target.subscribed_at ->> event.action)::timestamptz, target.created_at)
        AND event.id NOT IN (SELECT event_id FROM webhook_delivery WHERE endpoint_id = (SELECT id FROM target))
    ORDER BY event.id LIMIT {REPLAY_ROWS}
    ON CONFLICT (endpoint_id, event_id) DO NOTHING RETURNING id
)
SELECT (SELECT count(*) FROM again) AS again, (SELECT count(*) FROM missed) AS missed
"""


@dataclass(frozen=True)
class DeliveryView:
    """A delivery as its owner sees it. `next_try_at` while it waits for one."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    job_id: UUID | None
    state: DeliveryState
    tries: int
    created_at: datetime
    next_try_at: datetime | None
    finished_at: datetime | None
    batch_id: UUID | None


@dataclass(frozen=True)
class TryView:
    """One try of a delivery."""

    tried_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    excerpt: str | None


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries to list; None means all."""

    endpoint_id: UUID | None = None
    state: DeliveryState | None = None
    event_type: str | None = None
    job_id: UUID | None = None
    batch_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def newest(
    work: UnitOfWork, principal: Principal, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> list[DeliveryView]:
    """The tenant's deliveries, newest first, older than `before`."""
    query, params = list_query(principal, wanted, before=before, limit=limit)
    return [_view(row) for row in work.execute(query, params)]


def list_query(
    principal: Principal, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> tuple[str, dict[str, object]]:
    """The statement of a page and its parameters.

    Deliveries of a job or a batch are few. Otherwise one index that leads with endpoint, type and state serves all
    three filters; a filter that is not set stands for all values.
    """
    times, params = listing.within(
        TABLE, before=before, created_after=wanted.created_after, created_before=wanted.created_before
    )
    keys, key_params = listing.equal({"job_id": wanted.job_id, "batch_id": wanted.batch_id})
    given, given_params = listing.equal(
        {"endpoint_id": wanted.endpoint_id, "state": wanted.state, "event_type": wanted.event_type}
    )
    shared = ["tenant_id = %(tenant_id)s", *times]
    params |= key_params | given_params | {"tenant_id": principal.tenant_id, "limit": limit}
    if keys:
        parts = [listing.few(TABLE, keys[0], [*keys[1:], *given, *shared])]
    elif given:
        parts = _parts(wanted, given, shared)
    else:
        parts = [listing.simple(TABLE, shared)]
    return listing.page(TABLE, COLUMNS, parts), params


def _parts(wanted: DeliveryFilter, given: list[str], shared: list[str]) -> list[str]:
    """The running deliveries, and those of each endpoint, type and state."""
    running = listing.few(TABLE, listing.RUNNING, [*given, *shared])
    if wanted.state is DeliveryState.RUNNING:
        return [running]
    values = {"endpoint_id": ENDPOINTS, "event_type": TYPES, "state": NOT_RUNNING}
    if wanted.endpoint_id is not None:
        values["endpoint_id"] = "SELECT %(endpoint_id)s::uuid"
    if wanted.event_type is not None:
        values["event_type"] = "SELECT %(event_type)s::text"
    if wanted.state is not None:
        values["state"] = "SELECT %(state)s::delivery_state"
    steps = listing.steps(TABLE, values, shared)
    return [steps] if wanted.state is not None else [steps, running]


def get(work: UnitOfWork, principal: Principal, delivery_id: UUID) -> tuple[DeliveryView, list[TryView]]:
    """A delivery and its tries, oldest first. Raises DeliveryNotFound."""
    asked = {"id": delivery_id, "tenant_id": principal.tenant_id}
    found = work.execute(GET, asked)
    if not found:
        raise DeliveryNotFound
    return _view(found[0]), [rows.build(TryView, row) for row in work.execute(TRIES, asked)]


def _view(row: Row) -> DeliveryView:
    return rows.build(DeliveryView, row, state=DeliveryState(row.state))


def replay(work: UnitOfWork, principal: Principal, delivery_id: UUID) -> DeliveryView:
    """Send an ended delivery once more, with the whole schedule. Raises DeliveryNotFound or TransitionRefused."""
    found, _ = get(work, principal, delivery_id)
    if not work.execute(REPLAY_ONE, {"id": delivery_id, "tenant_id": principal.tenant_id}):
        raise TransitionRefused(
            "Only a delivery that has ended, to an endpoint that is enabled, can be replayed."
        )
    _replayed(work, principal, found.endpoint_id, 1)
    return get(work, principal, delivery_id)[0]


def replay_range(
    work: UnitOfWork,
    principal: Principal,
    endpoint_id: UUID,
    *,
    since: datetime,
    until: datetime,
    states: Sequence[DeliveryState],
) -> tuple[int, int]:
    """Send an endpoint's ended deliveries of [since, until) once more, and events it missed while it was disabled.

    How many of each; up to 10,000 at a time. Raises EndpointNotFound or TransitionRefused.
    """
    endpoints.enabled(work, principal, endpoint_id)
    (planned,) = work.execute(
        REPLAY_RANGE,
        {
            "endpoint_id": endpoint_id,
            "tenant_id": principal.tenant_id,
            "since": since,
            "until": until,
            "states": [state.value for state in states],
        },
    )
    if planned.again or planned.missed:
        _replayed(work, principal, endpoint_id, planned.again + planned.missed)
    return planned.again, planned.missed


def _replayed(work: UnitOfWork, principal: Principal, endpoint_id: UUID, count: int) -> None:
    audit.append(
        work,
        audit.Action.DELIVERIES_REPLAYED,
        actor=principal.actor,
        tenant_id=principal.tenant_id,
        subject=f"webhook-endpoint:{endpoint_id}",
        detail={"deliveries": count},
    )
    work.wake(deliver_wake_up())
