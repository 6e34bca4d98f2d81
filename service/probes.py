"""Questions about the whole system: are its servers there, does the schema fit, how full are the queues."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from psycopg.errors import UndefinedTable
from redis.exceptions import RedisError

from service.broker import redis_client
from service.catalog import Catalog
from service.db import Database, needed_revision
from service.errors import DatabaseUnavailable, ModelNotFound

# Ended jobs are not counted: their number only grows, and counters of the workers tell them.
# Three parts, each with the condition of its partial index.
QUEUE = """
SELECT model_version_id, state, sum(jobs)::bigint, extract(epoch FROM now() - min(oldest))::float FROM (
    SELECT model_version_id, 'queued' AS state, count(*) AS jobs, min(created_at) AS oldest
    FROM job WHERE state = 'queued' AND attempt = 0 GROUP BY 1
    UNION ALL
    SELECT model_version_id, 'queued', count(*), min(created_at) FROM job WHERE state = 'queued' AND attempt > 0 GROUP BY 1
    UNION ALL
    SELECT model_version_id, 'running', count(*), min(created_at) FROM job WHERE lease_expires_at IS NOT NULL GROUP BY 1
) AS part GROUP BY 1, 2
"""
SCHEMA = "SELECT version_num FROM alembic_version"


@dataclass(frozen=True)
class Readiness:
    """What answers. Redis may be away: jobs are accepted all the same, and start later."""

    postgres: Literal["ok", "unreachable"]
    schema: Literal["ok", "behind", "unknown"]
    redis: Literal["ok", "unreachable"]

    @property
    def ready(self) -> bool:
        """Whether jobs can be accepted."""
        return self.schema == "ok"


def readiness(database: Database, redis_url: str) -> Readiness:
    """Ask Postgres for its schema revision and Redis for a sign of life."""
    try:
        with database.statement() as work:
            rows = work.execute(SCHEMA)
        schema: Literal["ok", "behind"] = "ok" if rows and rows[0][0] >= _needed() else "behind"
        return Readiness("ok", schema, _redis(redis_url))
    except UndefinedTable:
        return Readiness("ok", "behind", _redis(redis_url))
    except DatabaseUnavailable:
        return Readiness("unreachable", "unknown", _redis(redis_url))


def queue_metrics(database: Database, catalog: Catalog) -> bytes:
    """Queue depth and age by model and state, in the Prometheus text format; empty without Postgres."""
    registry = CollectorRegistry()
    depth = Gauge(
        "medqueue_jobs", "Jobs that have not ended.", ["model", "version", "state"], registry=registry
    )
    age = Gauge(
        "medqueue_oldest_job_seconds",
        "Age of the oldest such job.",
        ["model", "version", "state"],
        registry=registry,
    )
    try:
        with database.statement() as work:
            rows = work.execute(QUEUE)
        for version_id, state, count, oldest_s in rows:
            model = catalog.version(version_id)
            depth.labels(model.name, model.version, state).set(count)
            age.labels(model.name, model.version, state).set(oldest_s)
    except (DatabaseUnavailable, ModelNotFound):
        return b""
    return generate_latest(registry)


@cache
def _needed() -> str:
    return needed_revision() or ""


def _redis(url: str) -> Literal["ok", "unreachable"]:
    try:
        with redis_client(url, timeout_s=1.0) as client:
            client.ping()
    except (RedisError, OSError):
        return "unreachable"
    return "ok"
