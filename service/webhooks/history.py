"""What became of deliveries: a tenant reads them with their tries, and has them sent once more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import audit
from service.accounts import Principal
from service.db import UnitOfWork, all_of
from service.errors import DeliveryNotFound, TransitionRefused
from service.lifecycle import PUBLISHED_ACTIONS, DeliveryState
from service.queue import deliver_wake_up
from service.webhooks import endpoints

REPLAY_ROWS = 10_000

COLUMNS = """delivery.id, delivery.endpoint_id, delivery.event_id, delivery.event_type, delivery.job_id,
    delivery.state::text, delivery.tries, delivery.created_at,
    CASE WHEN delivery.state = 'queued' THEN delivery.available_at END, delivery.finished_at,
    delivery.batch_id"""
LIST = f"SELECT {COLUMNS} FROM webhook_delivery AS delivery WHERE {{conditions}} ORDER BY delivery.id DESC LIMIT %s"
TRIES = """
SELECT tried_at, duration_ms, status, error, excerpt FROM webhook_try WHERE delivery_id = %s ORDER BY fence
"""

REPLAY_ONE = """
UPDATE webhook_delivery AS delivery SET state = 'queued', tries = 0, available_at = now(), finished_at = NULL
FROM webhook_endpoint AS endpoint
WHERE delivery.id = %s AND delivery.tenant_id = %s AND delivery.state IN ('delivered', 'dead')
    AND endpoint.id = delivery.endpoint_id AND endpoint.state = 'enabled'
RETURNING delivery.id
"""

# Events that were never planned, because the endpoint was disabled at the time, are planned now: those that are
# planned already are passed over, or a second replay of a long time would come no further than the first. What happened
# before the endpoint was there, or before it asked for such events, it did not miss.
REPLAY_RANGE = f"""
WITH target AS (
    SELECT id, tenant_id, event_types, kind, created_at, subscribed_at FROM webhook_endpoint
    WHERE id = %s AND tenant_id = %s AND state = 'enabled'
), chosen AS MATERIALIZED (
    SELECT delivery.id FROM webhook_delivery AS delivery
    WHERE delivery.endpoint_id = (SELECT id FROM target) AND delivery.created_at >= %s AND delivery.created_at < %s
        AND delivery.state = ANY (%s::delivery_state[])
    ORDER BY delivery.id LIMIT {REPLAY_ROWS} FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE webhook_delivery SET state = 'queued', tries = 0, available_at = now(), finished_at = NULL
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id
), missed AS (
    INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, job_id, batch_id)
    SELECT event.tenant_id, target.id, event.id, event.action, event.job_id, event.batch_id
    FROM target JOIN audit_event AS event ON event.tenant_id = target.tenant_id
    WHERE target.kind = 'registered' AND event.action IN ({", ".join(f"'{action}'" for action in PUBLISHED_ACTIONS)})
        AND event.action = ANY (target.event_types) AND event.occurred_at >= %s AND event.occurred_at < %s
        AND event.tenant_id = %s
        AND event.occurred_at >= coalesce((target.subscribed_at ->> event.action)::timestamptz, target.created_at)
        AND event.id NOT IN (SELECT event_id FROM webhook_delivery WHERE endpoint_id = (SELECT id FROM target))
    ORDER BY event.id LIMIT {REPLAY_ROWS}
    ON CONFLICT (endpoint_id, event_id) DO NOTHING RETURNING id
)
SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM missed)
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
    conditions: dict[str, object] = {
        "delivery.tenant_id = %s": principal.tenant_id,
        "delivery.id < %s": before,
        "delivery.endpoint_id = %s": wanted.endpoint_id,
        "delivery.state = %s": wanted.state,
        "delivery.event_type = %s": wanted.event_type,
        "delivery.job_id = %s": wanted.job_id,
        "delivery.batch_id = %s": wanted.batch_id,
        "delivery.created_at >= %s": wanted.created_after,
        "delivery.created_at < %s": wanted.created_before,
    }
    where, values = all_of(conditions)
    rows = work.execute(LIST.format(conditions=where), [*values, limit])
    return [_view(*row) for row in rows]


def get(work: UnitOfWork, principal: Principal, delivery_id: UUID) -> tuple[DeliveryView, list[TryView]]:
    """A delivery and its tries, oldest first. Raises DeliveryNotFound."""
    query = LIST.format(conditions="delivery.id = %s AND delivery.tenant_id = %s")
    rows = work.execute(query, (delivery_id, principal.tenant_id, 1))
    if not rows:
        raise DeliveryNotFound
    return _view(*rows[0]), [TryView(*row) for row in work.execute(TRIES, (delivery_id,))]


def _view(*row: Any) -> DeliveryView:
    delivery_id, endpoint_id, event_id, event_type, job_id, state, *rest = row
    return DeliveryView(delivery_id, endpoint_id, event_id, event_type, job_id, DeliveryState(state), *rest)


def replay(work: UnitOfWork, principal: Principal, delivery_id: UUID) -> DeliveryView:
    """Send an ended delivery once more, with the whole schedule. Raises DeliveryNotFound or TransitionRefused."""
    found, _ = get(work, principal, delivery_id)
    if not work.execute(REPLAY_ONE, (delivery_id, principal.tenant_id)):
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
    times = since, until
    rows = work.execute(
        REPLAY_RANGE,
        (
            *(endpoint_id, principal.tenant_id, *times, [state.value for state in states]),
            *(*times, principal.tenant_id),
        ),
    )
    again, missed = rows[0]
    if again or missed:
        _replayed(work, principal, endpoint_id, again + missed)
    return again, missed


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
