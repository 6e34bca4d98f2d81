"""Deliveries as claimed work: claim what is due, record what came of each try, take back what lapsed; list and replay.

A try is recorded with the fence of its claim. After a kill the same event may be sent again, under the same id; receivers
tell repeats by it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import audit, leases
from service.accounts import Principal
from service.db import UnitOfWork
from service.errors import DeliveryNotFound, TransitionRefused
from service.leases import Lease
from service.lifecycle import PUBLISHED_ACTIONS, DeliveryState
from service.queue import deliver_wake_up
from service.webhooks import endpoints, messages
from service.webhooks.messages import Event

TABLE = "webhook_delivery"
SWEEP_ROWS = 1000
REPLAY_ROWS = 10_000
ACTOR = "dispatcher"

# Seconds from one try to the next: the schedule of the Standard Webhooks specification, over three days in all.
DELAYS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_TRIES = 1 + len(DELAYS_S)
JITTER = 0.1  # of a delay, either way: receivers that come back are not met by everybody at once
LONGEST_PAUSE_S = 86_400.0
GONE = 410
PAUSING = frozenset({429, 503})

# Health of an endpoint. After so many failures in a row only one try at a time is made, and only every so often.
BREAKER_FAILURES = 5
CLOSED_S = 30.0
LONGEST_CLOSED_S = 600.0
SUSPECT_PLACES = 4
DISABLED_AFTER_DAYS = 5

CLAIM = f"""
WITH busy AS (SELECT * FROM unnest(%b::uuid[], %s::int[]) AS busy (endpoint_id, count)
), room AS MATERIALIZED (
    SELECT endpoint.id, greatest(0, CASE WHEN endpoint.failures >= {BREAKER_FAILURES} THEN 1
            WHEN endpoint.failures > 0 THEN least({SUSPECT_PLACES}, %s) ELSE %s END - coalesce(busy.count, 0)) AS places
    FROM webhook_endpoint AS endpoint LEFT JOIN busy ON busy.endpoint_id = endpoint.id
    WHERE endpoint.state = 'enabled' AND (endpoint.closed_until IS NULL OR endpoint.closed_until <= now())
), due AS MATERIALIZED (
    SELECT waiting.id FROM room CROSS JOIN LATERAL (
        SELECT delivery.id, delivery.available_at FROM webhook_delivery AS delivery
        WHERE delivery.endpoint_id = room.id AND delivery.state = 'queued' AND delivery.available_at <= now()
        ORDER BY delivery.available_at LIMIT room.places FOR UPDATE SKIP LOCKED
    ) AS waiting ORDER BY waiting.available_at LIMIT %s
), claimed AS (
    UPDATE webhook_delivery SET {leases.claim_clause(TABLE)} WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING id, fence, tries, tenant_id, endpoint_id, event_id, job_id
)
SELECT claimed.id, claimed.fence, claimed.tries, claimed.tenant_id, claimed.endpoint_id, endpoint.kind, endpoint.url,
       job.callback, job.traceparent,
       ARRAY(SELECT secret.id || ':' || encode(secret.secret, 'hex') FROM webhook_secret AS secret
             WHERE secret.tenant_id = claimed.tenant_id AND (secret.expires_at IS NULL OR secret.expires_at > now())
                 AND secret.endpoint_id IS NOT DISTINCT FROM
                     CASE endpoint.kind WHEN 'registered' THEN claimed.endpoint_id END
             ORDER BY secret.created_at DESC),
       now(), {messages.EVENT_COLUMNS}
FROM claimed JOIN webhook_endpoint AS endpoint ON endpoint.id = claimed.endpoint_id
        AND endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM claimed))
    JOIN audit_event AS event ON event.id = claimed.event_id AND event.id = ANY (ARRAY(SELECT event_id FROM claimed))
    {messages.FROM_EVENT.format(events="claimed")}
"""

# `failed` counts against the endpoint's health; `pause_s` is what the receiver asked for. An endpoint that answers 410
# wants no more.
RECORD = f"""
WITH held AS (
    SELECT * FROM unnest(%b::uuid[], %b::bigint[], %s::delivery_state[], %s::float8[], %s::int[], %s::int[], %s::text[],
                         %s::text[], %s::float8[])
        AS held (id, fence, state, delay_s, duration_ms, status, error, excerpt, pause_s)
), recorded AS (
    UPDATE webhook_delivery SET state = held.state, tries = webhook_delivery.tries + 1,
        available_at = now() + make_interval(secs => coalesce(held.delay_s, 0)),
        finished_at = CASE WHEN held.state <> 'queued' THEN now() END, {leases.RELEASE}
    FROM held WHERE {leases.held_clause(TABLE)}
    RETURNING webhook_delivery.id, webhook_delivery.endpoint_id, held.fence, held.state, held.duration_ms, held.status,
        held.error, held.excerpt, held.pause_s
), tries AS (
    INSERT INTO webhook_try (delivery_id, fence, duration_ms, status, error, excerpt)
    SELECT id, fence, duration_ms, status, error, excerpt FROM recorded
), health AS (
    SELECT endpoint_id, bool_or(state = 'delivered') AS well, count(*) FILTER (WHERE state <> 'delivered') AS failed,
           coalesce(bool_or(status = {GONE}), false) AS gone, max(pause_s) AS pause_s
    FROM recorded GROUP BY endpoint_id
), endpoints AS (
    UPDATE webhook_endpoint AS endpoint SET
        failures = CASE WHEN health.well THEN 0 ELSE endpoint.failures + health.failed END,
        failing_since = CASE WHEN NOT health.well THEN coalesce(endpoint.failing_since, now()) END,
        closed_until = CASE
            WHEN health.pause_s IS NOT NULL THEN now() + make_interval(secs => health.pause_s)
            WHEN NOT health.well AND endpoint.failures + health.failed >= {BREAKER_FAILURES}
                THEN now() + make_interval(secs => least({LONGEST_CLOSED_S}::float8, {CLOSED_S}::float8
                    * power(2, least(10, endpoint.failures + health.failed - {BREAKER_FAILURES})))) END,
        state = CASE WHEN health.gone AND endpoint.state = 'enabled' THEN 'disabled' ELSE endpoint.state END,
        disabled_because = CASE WHEN health.gone THEN 'gone' ELSE endpoint.disabled_because END
    FROM health WHERE endpoint.id = health.endpoint_id AND endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM health))
        AND (endpoint.failures > 0 OR health.failed > 0 OR health.pause_s IS NOT NULL)
    RETURNING endpoint.id, endpoint.tenant_id, health.gone
), events AS (
    INSERT INTO audit_event (tenant_id, actor, action, object, detail)
    SELECT tenant_id, '{ACTOR}', 'webhook.endpoint_disabled', 'webhook-endpoint:' || id, '{{"because": "gone"}}'
    FROM endpoints WHERE gone
)
SELECT id FROM recorded
"""

RELEASE = f"""
WITH held AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS held (id, fence))
UPDATE webhook_delivery SET state = 'queued', attempt = webhook_delivery.attempt - 1, {leases.RELEASE}
FROM held WHERE {leases.held_clause(TABLE)} RETURNING webhook_delivery.id
"""

# A try that was cut off counts for nothing: whether the receiver had it is not known.
RESCUE = f"""
WITH lapsed AS MATERIALIZED (
    SELECT id FROM webhook_delivery WHERE {leases.EXPIRED} ORDER BY lease_expires_at
    LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
)
UPDATE webhook_delivery SET state = 'queued', available_at = now(), {leases.RELEASE}
WHERE id = ANY (ARRAY(SELECT id FROM lapsed)) RETURNING id
"""

DISABLE = f"""
WITH failing AS MATERIALIZED (
    SELECT id FROM webhook_endpoint WHERE state = 'enabled' AND failing_since < now() - interval '{DISABLED_AFTER_DAYS} days'
    FOR UPDATE SKIP LOCKED
), disabled AS (
    UPDATE webhook_endpoint SET state = 'disabled', disabled_because = 'failing', updated_at = now()
    WHERE id = ANY (ARRAY(SELECT id FROM failing)) RETURNING id, tenant_id, failures
), events AS (
    INSERT INTO audit_event (tenant_id, actor, action, object, detail)
    SELECT tenant_id, 'scheduler', 'webhook.endpoint_disabled', 'webhook-endpoint:' || id,
           jsonb_build_object('because', 'failing', 'failures', failures)
    FROM disabled
)
SELECT id FROM disabled
"""

# What waits for an endpoint that is not enabled any more will not be sent: it can be replayed.
BURY = f"""
WITH stranded AS MATERIALIZED (
    SELECT waiting.id FROM webhook_endpoint AS endpoint CROSS JOIN LATERAL (
        SELECT id FROM webhook_delivery WHERE endpoint_id = endpoint.id AND state = 'queued'
        ORDER BY available_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
    ) AS waiting WHERE endpoint.state <> 'enabled' LIMIT {SWEEP_ROWS}
)
UPDATE webhook_delivery SET state = 'dead', finished_at = now() WHERE id = ANY (ARRAY(SELECT id FROM stranded)) RETURNING id
"""

DUE = """
SELECT EXISTS (
    SELECT FROM webhook_endpoint AS endpoint WHERE state = 'enabled' AND (closed_until IS NULL OR closed_until <= now())
        AND EXISTS (SELECT FROM webhook_delivery WHERE endpoint_id = endpoint.id AND state = 'queued'
                    AND available_at <= now()))
"""

COLUMNS = """delivery.id, delivery.endpoint_id, delivery.event_id, delivery.event_type, delivery.job_id,
    delivery.state::text, delivery.tries, delivery.created_at,
    CASE WHEN delivery.state = 'queued' THEN delivery.available_at END, delivery.finished_at"""
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

# Events that were never planned, because the endpoint was disabled at the time, are planned now.
REPLAY_RANGE = f"""
WITH target AS (
    SELECT id, tenant_id, event_types, kind FROM webhook_endpoint WHERE id = %s AND tenant_id = %s AND state = 'enabled'
), chosen AS MATERIALIZED (
    SELECT delivery.id FROM webhook_delivery AS delivery
    WHERE delivery.endpoint_id = (SELECT id FROM target) AND delivery.created_at >= %s AND delivery.created_at < %s
        AND delivery.state = ANY (%s::delivery_state[])
    ORDER BY delivery.id LIMIT {REPLAY_ROWS} FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE webhook_delivery SET state = 'queued', tries = 0, available_at = now(), finished_at = NULL
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id
), missed AS (
    INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, job_id)
    SELECT event.tenant_id, target.id, event.id, event.action, event.job_id
    FROM target JOIN audit_event AS event ON event.tenant_id = target.tenant_id
    WHERE target.kind = 'registered' AND event.action IN ({", ".join(f"'{action}'" for action in PUBLISHED_ACTIONS)})
        AND event.action = ANY (target.event_types) AND event.occurred_at >= %s AND event.occurred_at < %s
        AND event.tenant_id = %s
    ORDER BY event.id LIMIT {REPLAY_ROWS}
    ON CONFLICT (endpoint_id, event_id) DO NOTHING RETURNING id
)
SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM missed)
"""


@dataclass(frozen=True)
class ClaimedDelivery:
    """An event to be sent now. `secrets` are sealed, by id, the newest first; `callback` is the sealed URL of the job."""

    lease: Lease
    tries: int
    tenant_id: UUID
    endpoint_id: UUID
    kind: str
    url: str
    callback: bytes | None
    traceparent: str | None
    secrets: Mapping[UUID, bytes]
    claimed_at: datetime
    event: Event


@dataclass(frozen=True)
class Tried:
    """What came of one try: the receiver's status with the start of its answer, or why there was none."""

    claimed: ClaimedDelivery
    duration_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it: 2xx, and nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def state(self) -> DeliveryState:
        """The state that this try leads to."""
        if self.delivered:
            return DeliveryState.DELIVERED
        over = self.status == GONE or self.claimed.tries + 1 >= MAX_TRIES
        return DeliveryState.DEAD if over else DeliveryState.QUEUED

    @property
    def pause_s(self) -> float | None:
        """How long the receiver asked us to leave it alone."""
        return self.retry_after_s if self.status in PAUSING else None

    def delay_s(self, chance: float) -> float | None:
        """Seconds until the next try, with `chance` in [0, 1); None after the last."""
        if self.state is not DeliveryState.QUEUED:
            return None
        scheduled = DELAYS_S[self.claimed.tries] * (1 - JITTER + 2 * JITTER * chance)
        return min(LONGEST_PAUSE_S, max(scheduled, self.pause_s or 0.0))


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
    created_after: datetime | None = None
    created_before: datetime | None = None


def claim(
    work: UnitOfWork,
    *,
    limit: int,
    busy: Mapping[UUID, int],
    per_endpoint: int,
    owner: str,
    lease_s: float,
) -> list[ClaimedDelivery]:
    """Claim up to `limit` due deliveries, the longest due first.

    Each endpoint gets up to `per_endpoint` at a time, less what this claimant has `busy` for it: one at a time while it is
    failing, and none while it is left alone.
    """
    rows = work.execute(
        CLAIM, (list(busy), list(busy.values()), per_endpoint, per_endpoint, limit, owner, lease_s)
    )
    return [_claimed(*row) for row in rows]


def _claimed(delivery_id: UUID, fence: int, *row: Any) -> ClaimedDelivery:
    tries, tenant_id, endpoint_id, kind, url, callback, traceparent, secrets, claimed_at, *event = row
    lease = Lease(delivery_id, fence)
    return ClaimedDelivery(
        *(lease, tries, tenant_id, endpoint_id, kind, url, callback, traceparent),
        secrets=_sealed(secrets),
        claimed_at=claimed_at,
        event=Event(*event),
    )


def _sealed(secrets: Sequence[str]) -> dict[UUID, bytes]:
    found = (secret.split(":") for secret in secrets)
    return {UUID(secret_id): bytes.fromhex(sealed) for secret_id, sealed in found}


def record(
    work: UnitOfWork, tried: Sequence[Tried], *, chance: Callable[[], float] = random.random
) -> set[UUID]:
    """Record tries and what they say of their endpoints; the ids of deliveries that were still held."""
    ids, fences = leases.columns([one.claimed.lease for one in tried])
    rows = work.execute(
        RECORD,
        (
            ids,
            fences,
            [one.state.value for one in tried],
            [one.delay_s(chance()) for one in tried],
            [one.duration_ms for one in tried],
            [one.status for one in tried],
            [one.error for one in tried],
            [one.excerpt for one in tried],
            [one.pause_s for one in tried],
        ),
    )
    return {row[0] for row in rows}


def release(work: UnitOfWork, held: Sequence[Lease]) -> set[UUID]:
    """Give deliveries back untried, as before their claim."""
    ids, fences = leases.columns(held)
    return {row[0] for row in work.execute(RELEASE, (ids, fences))}


def rescue(work: UnitOfWork) -> list[UUID]:
    """Take back deliveries whose lease has lapsed; they are tried again at once."""
    return [row[0] for row in work.execute(RESCUE)]


def disable_failing(work: UnitOfWork) -> list[UUID]:
    """Disable endpoints that have only failed for five days."""
    return [row[0] for row in work.execute(DISABLE)]


def bury(work: UnitOfWork) -> int:
    """End deliveries that wait for endpoints no longer enabled; how many."""
    return len(work.execute(BURY))


def due(work: UnitOfWork) -> bool:
    """Whether deliveries are due: their wake-up may have been lost, or their time has come."""
    return bool(work.execute(DUE)[0][0])


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
        "delivery.created_at >= %s": wanted.created_after,
        "delivery.created_at < %s": wanted.created_before,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    rows = work.execute(LIST.format(conditions=" AND ".join(given)), [*given.values(), limit])
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
