"""Deliveries as claimed work: claim what is due, record the outcome of each try, take back what lapsed.

A try is recorded with the fence of its claim. After a kill the same event may be sent again, under the same id;
receivers recognize repeats by it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import leases, rows
from service.audit import Action
from service.db import UnitOfWork
from service.leases import Lease
from service.lifecycle import DeliveryState
from service.rows import Row
from service.webhooks import messages
from service.webhooks.messages import Event

TABLE = "webhook_delivery"
SWEEP_ROWS = 1000
ACTOR = "dispatcher"

# Seconds from one try to the next: the schedule of the Standard Webhooks specification, over three days in all.
DELAYS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_TRIES = 1 + len(DELAYS_S)
JITTER = 0.1  # of a delay, either way: a receiver that recovers is not flooded
LONGEST_PAUSE_S = 86_400.0
GONE = 410
PAUSING = frozenset({429, 503})

# Health of an endpoint. After this many failures in a row only one try at a time is made, with pauses.
BREAKER_FAILURES = 5
CLOSED_S = 30.0
LONGEST_CLOSED_S = 600.0
SUSPECT_PLACES = 4
DISABLED_AFTER_DAYS = 5

# The endpoints with queued deliveries, one step through the index each: neither all endpoints nor the whole backlog are
# read.
WAITING = """waiting AS (
    (SELECT endpoint_id FROM webhook_delivery WHERE state = 'queued' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.endpoint_id FROM webhook_delivery AS next
            WHERE next.state = 'queued' AND next.endpoint_id > waiting.endpoint_id ORDER BY next.endpoint_id LIMIT 1)
    FROM waiting WHERE waiting.endpoint_id IS NOT NULL
)"""

# The newest secret first.
SECRETS = """ARRAY(SELECT secret.id || ':' || encode(secret.secret, 'hex') FROM webhook_secret AS secret
    WHERE secret.tenant_id = claimed.tenant_id AND secret.endpoint_id {owner}
        AND (secret.expires_at IS NULL OR secret.expires_at > now()) ORDER BY secret.created_at DESC)"""

# A tenant may hold three times as many places as stay free (see service.shares), so that its slow receivers leave some to
# others, and tenants with due deliveries take turns.
CLAIM = f"""
WITH RECURSIVE {WAITING}, busy AS (SELECT * FROM unnest(%(busy)b::uuid[], %(busy_counts)s::int[]) AS busy (endpoint_id, count)
), held AS MATERIALIZED (
    SELECT endpoint.tenant_id, sum(busy.count)::int AS count FROM busy JOIN webhook_endpoint AS endpoint
    ON endpoint.id = busy.endpoint_id AND endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM busy)) GROUP BY 1
), room AS MATERIALIZED (
    SELECT endpoint.id, endpoint.tenant_id, greatest(0, CASE WHEN endpoint.failures >= {BREAKER_FAILURES} THEN 1
            WHEN endpoint.failures > 0 THEN least({SUSPECT_PLACES}, %(per_endpoint)s) ELSE %(per_endpoint)s END
            - coalesce(busy.count, 0)) AS places
    FROM webhook_endpoint AS endpoint LEFT JOIN busy ON busy.endpoint_id = endpoint.id
    WHERE endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM waiting)) AND endpoint.state = 'enabled'
        AND (endpoint.closed_until IS NULL OR endpoint.closed_until <= now())
), due AS MATERIALIZED (
    SELECT first.id, first.available_at, room.tenant_id FROM room CROSS JOIN LATERAL (
        SELECT delivery.id, delivery.available_at FROM webhook_delivery AS delivery
        WHERE delivery.endpoint_id = room.id AND delivery.state = 'queued' AND delivery.available_at <= now()
        ORDER BY delivery.available_at LIMIT room.places FOR UPDATE SKIP LOCKED
    ) AS first
), turns AS (
    SELECT due.id, due.available_at, row_number() OVER (PARTITION BY due.tenant_id ORDER BY due.available_at) AS turn,
           CASE WHEN held.count IS NULL THEN greatest(1, 3 * %(free)s / 4) ELSE (3 * %(free)s - held.count) / 4 END AS most
    FROM due LEFT JOIN held ON held.tenant_id = due.tenant_id
), chosen AS (
    SELECT id FROM turns WHERE turn <= most ORDER BY turn, available_at LIMIT %(limit)s
), claimed AS (
    UPDATE webhook_delivery SET {leases.claim_clause(TABLE)} WHERE id = ANY (ARRAY(SELECT id FROM chosen))
    RETURNING id, fence, tries, tenant_id, endpoint_id, event_id, job_id, batch_id
)
SELECT claimed.id AS delivery_id, claimed.fence, claimed.tries, claimed.tenant_id, claimed.endpoint_id,
       endpoint.kind AS endpoint_kind, endpoint.url, job.callback, job.traceparent,
       CASE endpoint.kind WHEN 'registered' THEN {SECRETS.format(owner="= claimed.endpoint_id")}
            ELSE {SECRETS.format(owner="IS NULL")} END AS secrets,
       now() AS claimed_at, {messages.EVENT_COLUMNS}
FROM claimed JOIN webhook_endpoint AS endpoint ON endpoint.id = claimed.endpoint_id
        AND endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM claimed))
    JOIN audit_event AS event ON event.id = claimed.event_id AND event.id = ANY (ARRAY(SELECT event_id FROM claimed))
    {messages.FROM_EVENT.format(events="claimed")}
"""

# `failed` counts against the endpoint's health; `pause_s` is what the receiver asked for. Status 410 disables the
# endpoint.
RECORD = f"""
WITH held AS (
    SELECT * FROM unnest(%(ids)b::uuid[], %(fences)b::bigint[], %(states)s::delivery_state[], %(delays_s)s::float8[],
                         %(durations_ms)s::int[], %(statuses)s::int[], %(errors)s::text[], %(excerpts)s::text[],
                         %(pauses_s)s::float8[])
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
    SELECT tenant_id, '{ACTOR}', '{Action.ENDPOINT_DISABLED}', 'webhook-endpoint:' || id, '{{"because": "gone"}}'
    FROM endpoints WHERE gone
)
SELECT id FROM recorded
"""

RELEASE = f"""
WITH held AS (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]) AS held (id, fence))
UPDATE webhook_delivery SET state = 'queued', attempt = webhook_delivery.attempt - 1, {leases.RELEASE}
FROM held WHERE {leases.held_clause(TABLE)} RETURNING webhook_delivery.id
"""

# A try that was cut off is not counted: whether it reached the receiver is unknown.
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
    SELECT tenant_id, 'scheduler', '{Action.ENDPOINT_DISABLED}', 'webhook-endpoint:' || id,
           jsonb_build_object('because', 'failing', 'failures', failures)
    FROM disabled
)
SELECT id FROM disabled
"""

# Deliveries to an endpoint that is no longer enabled are not sent: they can be replayed.
BURY = f"""
WITH RECURSIVE {WAITING}, stranded AS MATERIALIZED (
    SELECT first.id FROM webhook_endpoint AS endpoint CROSS JOIN LATERAL (
        SELECT id FROM webhook_delivery WHERE endpoint_id = endpoint.id AND state = 'queued'
        ORDER BY available_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
    ) AS first
    WHERE endpoint.id = ANY (ARRAY(SELECT endpoint_id FROM waiting)) AND endpoint.state <> 'enabled' LIMIT {SWEEP_ROWS}
)
UPDATE webhook_delivery SET state = 'dead', finished_at = now() WHERE id = ANY (ARRAY(SELECT id FROM stranded)) RETURNING id
"""

# A scalar subquery with an order and a limit: an EXISTS could be planned as a join that reads the whole backlog.
DUE = f"""
WITH RECURSIVE {WAITING} SELECT EXISTS (
    SELECT FROM webhook_endpoint AS endpoint
    WHERE id = ANY (ARRAY(SELECT endpoint_id FROM waiting)) AND state = 'enabled'
        AND (closed_until IS NULL OR closed_until <= now())
        AND (SELECT available_at FROM webhook_delivery WHERE endpoint_id = endpoint.id AND state = 'queued'
             ORDER BY available_at LIMIT 1) <= now()) AS due
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
    """The outcome of one try: the receiver's status with the start of its answer, or why there was none."""

    claimed: ClaimedDelivery
    duration_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it: 2xx, and nothing else."""
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
        """How long the receiver asked us to wait."""
        return self.retry_after_s if self.status in PAUSING else None

    def delay_s(self, chance: float) -> float | None:
        """Seconds until the next try, with `chance` in [0, 1); None after the last."""
        if self.state is not DeliveryState.QUEUED:
            return None
        scheduled = DELAYS_S[self.claimed.tries] * (1 - JITTER + 2 * JITTER * chance)
        return min(LONGEST_PAUSE_S, max(scheduled, self.pause_s or 0.0))


def claim(
    work: UnitOfWork,
    *,
    limit: int,
    free: int,
    busy: Mapping[UUID, int],
    per_endpoint: int,
    owner: str,
    lease_s: float,
) -> list[ClaimedDelivery]:
    """Claim up to `limit` due deliveries, the longest due of each tenant in turns; `free` are this claimant's free places.

    Each endpoint gets up to `per_endpoint` at a time, less what this claimant has `busy` for it: one at a time while it
    is failing, and none while it is paused.
    """
    claimed = work.execute(
        CLAIM,
        {
            "busy": list(busy),
            "busy_counts": list(busy.values()),
            "per_endpoint": per_endpoint,
            "limit": limit,
            "free": free,
            "owner": owner,
            "lease_s": lease_s,
        },
    )
    return [_claimed(row) for row in claimed]


def _claimed(row: Row) -> ClaimedDelivery:
    return rows.build(
        ClaimedDelivery,
        row,
        lease=Lease(row.delivery_id, row.fence),
        kind=row.endpoint_kind,
        secrets=_sealed(row.secrets),
        event=rows.build(Event, row),
    )


def _sealed(secrets: Sequence[str]) -> dict[UUID, bytes]:
    found = (secret.split(":") for secret in secrets)
    return {UUID(secret_id): bytes.fromhex(sealed) for secret_id, sealed in found}


def record(
    work: UnitOfWork, tried: Sequence[Tried], *, chance: Callable[[], float] = random.random
) -> set[UUID]:
    """Record tries and their effect on the endpoints' health; the ids of deliveries that were still held."""
    recorded = work.execute(
        RECORD,
        {
            **leases.columns([one.claimed.lease for one in tried]),
            "states": [one.state.value for one in tried],
            "delays_s": [one.delay_s(chance()) for one in tried],
            "durations_ms": [one.duration_ms for one in tried],
            "statuses": [one.status for one in tried],
            "errors": [one.error for one in tried],
            "excerpts": [one.excerpt for one in tried],
            "pauses_s": [one.pause_s for one in tried],
        },
    )
    return {row.id for row in recorded}


def release(work: UnitOfWork, held: Sequence[Lease]) -> set[UUID]:
    """Give deliveries back untried, as before their claim."""
    return {row.id for row in work.execute(RELEASE, leases.columns(held))}


def rescue(work: UnitOfWork) -> list[UUID]:
    """Take back deliveries whose lease has lapsed; they are tried again at once."""
    return [row.id for row in work.execute(RESCUE)]


def disable_failing(work: UnitOfWork) -> list[UUID]:
    """Disable endpoints that have only failed for five days."""
    return [row.id for row in work.execute(DISABLE)]


def bury(work: UnitOfWork) -> int:
    """End deliveries that wait for endpoints no longer enabled; how many."""
    return len(work.execute(BURY))


def due(work: UnitOfWork) -> bool:
    """Whether deliveries are due: their wake-up may have been lost, or their time has come."""
    return bool(work.execute(DUE)[0].due)
