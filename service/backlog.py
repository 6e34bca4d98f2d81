"""What waits and what is late, as metrics read from the database at each scrape, and which servers answer.

Each query walks a partial index of what has not ended; what could be many is counted up to a bound.
"""

from collections.abc import Iterator

from prometheus_client.core import Metric
from psycopg.errors import UndefinedTable

from service.batches.queries import PACE
from service.broker import redis_fault
from service.db import Database
from service.errors import DatabaseUnavailable
from service.metrics import gauge, text_of
from service.webhooks.deliveries import WAITING

COUNTED = 20_000
LIVE_BATCHES = 1_000

DELIVERIES = f"""
SELECT (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE state = 'queued' LIMIT {COUNTED}) AS queued)::int AS queued,
       (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE lease_expires_at IS NOT NULL LIMIT {COUNTED}) AS held)::int
           AS running
"""
# How late the longest-due delivery is; those of disabled endpoints are not due.
LATEST_DELIVERY = f"""
WITH RECURSIVE {WAITING}
SELECT coalesce(max(extract(epoch FROM now() - (
    SELECT available_at FROM webhook_delivery WHERE endpoint_id = endpoint.id AND state = 'queued'
    ORDER BY available_at LIMIT 1))), 0)::float AS late_s
FROM webhook_endpoint AS endpoint
WHERE id = ANY (ARRAY(SELECT endpoint_id FROM waiting)) AND state = 'enabled'
"""
# Beyond the end of its opening, or its deadline, at its present pace.
BATCHES = f"""
SELECT state, count(*)::int AS batches, count(*) FILTER (WHERE at_risk)::int AS at_risk,
       coalesce(max(late_s), 0)::float AS late_s FROM (
    SELECT state::text AS state, at_risk_until IS NOT NULL AS at_risk,
           CASE WHEN state = 'running' AND isfinite(open_until) THEN
               (rows_total - rows_succeeded - rows_failed) / nullif({PACE.format(t="batch")}, 0)
               - extract(epoch FROM open_until - now()) END AS late_s
    FROM batch WHERE state IN ('scheduled', 'running') ORDER BY open_from LIMIT {LIVE_BATCHES}
) AS live GROUP BY 1
"""


def exposition(database: Database, redis_url: str) -> bytes:
    """The metrics in Prometheus' text format. Without Postgres only which servers answer."""
    up: dict[tuple[str, ...], float] = {("redis",): float(redis_fault(redis_url) is None)}
    try:
        found = [*_webhooks(database), *_batches(database)]
        up["postgres",] = 1.0
    except UndefinedTable:  # the schema is behind
        found = []
        up["postgres",] = 1.0
    except DatabaseUnavailable:
        found = []
        up["postgres",] = 0.0
    return text_of(gauge("medqueue_server_up", "1 when the server answers.", up, ["server"]), *found)


def _webhooks(database: Database) -> Iterator[Metric]:
    with database.statement() as work:
        (deliveries,) = work.execute(DELIVERIES)
    with database.statement() as work:
        (latest,) = work.execute(LATEST_DELIVERY)
    yield gauge(
        "medqueue_webhook_deliveries",
        f"Webhook deliveries that have not ended, counted up to {COUNTED}.",
        {("queued",): deliveries.queued, ("running",): deliveries.running},
        ["state"],
    )
    yield gauge(
        "medqueue_webhook_late_seconds",
        "How long the longest-due delivery has been due.",
        {(): max(0.0, latest.late_s)},
    )


def _batches(database: Database) -> Iterator[Metric]:
    with database.statement() as work:
        rows = work.execute(BATCHES)
    counts = dict.fromkeys((("scheduled",), ("running",)), 0.0) | {(row.state,): row.batches for row in rows}
    yield gauge("medqueue_batches", "Batches to be scored.", counts, ["state"])
    yield gauge(
        "medqueue_batches_at_risk",
        "Those reported to end too late.",
        {(): sum(row.at_risk for row in rows)},
    )
    yield gauge(
        "medqueue_batch_late_seconds",
        "By how much the batch that is furthest behind will miss its end, at its present pace.",
        {(): max([0.0, *(row.late_s for row in rows)])},
    )
