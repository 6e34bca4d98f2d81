"""Questions about the whole system: are its servers there, does the schema fit, how full are the queues."""

from dataclasses import dataclass
from typing import Literal

from psycopg.errors import UndefinedTable

from service.audit import Action
from service.broker import redis_fault
from service.catalog import Catalog
from service.database_faults import DatabaseFault
from service.db import Database
from service.errors import DatabaseUnavailable, ModelNotFound
from service.faults import Fault, Requirement
from service.gate import Gate
from service.jobs import sweeps
from service.metrics import gauge, text_of
from service.requirements import postgres_fault
from service.revision import needed_revision

# Ended jobs are not counted: their number only grows, and the workers' counters report them.
# Four parts, each with the condition of its partial index.
QUEUE = """
SELECT model_version_id, state, sum(jobs)::bigint AS jobs, extract(epoch FROM now() - min(oldest))::float AS oldest_s FROM (
    SELECT model_version_id, 'queued' AS state, count(*) AS jobs, min(available_at) AS oldest
    FROM job WHERE state = 'queued' AND attempt = 0 GROUP BY 1
    UNION ALL
    SELECT model_version_id, 'waiting', count(*), min(created_at) FROM job WHERE state = 'waiting' GROUP BY 1
    UNION ALL
    SELECT model_version_id, 'queued', count(*), min(created_at) FROM job WHERE state = 'queued' AND attempt > 0 GROUP BY 1
    UNION ALL
    SELECT model_version_id, 'running', count(*), min(created_at) FROM job WHERE lease_expires_at IS NOT NULL GROUP BY 1
) AS part GROUP BY 1, 2
"""
STALLED_S = 30.0
# Whether a job could have been claimed for that long, and none was. Of 20 tenants with jobs of a model the first in line
# are checked: there is no index on the age of a job, and the first in line ages while nothing is claimed. A lease that
# holds shows that a worker is busy, however long its run. Otherwise the newest audit events show the last claim; their ids
# are in the order of time. What comes first is cheapest, and what follows is not run unless it matters. Each inner part has
# an order and a limit and no further condition, so that no plan can gather more rows and sort them.
STALLED = f"""
SELECT EXISTS (
    SELECT FROM model_version AS version WHERE EXISTS (
        WITH RECURSIVE tenants AS (
            (SELECT tenant_id FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt = 0
            ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT next.tenant_id FROM tenants, LATERAL (
                SELECT tenant_id FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt = 0
                    AND tenant_id > tenants.tenant_id ORDER BY tenant_id LIMIT 1
            ) AS next
        ), first_tenants AS (SELECT tenant_id FROM tenants LIMIT 20)
        SELECT FROM first_tenants, LATERAL (
            SELECT available_at, deadline_at FROM job
            WHERE model_version_id = version.id AND state = 'queued' AND attempt = 0 AND tenant_id = first_tenants.tenant_id
            ORDER BY rank_at, id LIMIT 100
        ) AS first_in_line
        WHERE available_at < now() - make_interval(secs => %(stalled_s)s) AND (deadline_at IS NULL OR deadline_at > now())
    ) OR EXISTS (
        SELECT FROM (
            SELECT available_at, deadline_at FROM job
            WHERE model_version_id = version.id AND state = 'queued' AND attempt > 0
            ORDER BY available_at LIMIT 100
        ) AS first_due
        WHERE available_at < now() - make_interval(secs => %(stalled_s)s) AND (deadline_at IS NULL OR deadline_at > now())
    )
) AND NOT EXISTS (SELECT FROM job WHERE lease_expires_at > now())
AND NOT EXISTS (
    SELECT FROM (SELECT id, action FROM audit_event ORDER BY id DESC LIMIT 20000) AS newest
    WHERE action = '{Action.JOB_CLAIMED}' AND id > (SELECT uuidv7(make_interval(secs => -(%(stalled_s)s::float))))
) AS stalled
"""
SCHEMA = "SELECT version_num FROM alembic_version"


@dataclass(frozen=True)
class Readiness:
    """What answers, and whether queued jobs and sweeps are attended to.

    Even with Redis unavailable, consumption stalled and the scheduler stopped, jobs are accepted, and start later.
    `redis` is `ok` or a RedisFault.
    """

    postgres: Literal["ok", "unreachable"]
    schema: Literal["ok", "behind", "unknown"]
    redis: str
    consumption: Literal["ok", "stalled", "unknown"]
    scheduler: Literal["ok", "stopped", "unknown"]
    faults: tuple[Fault, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether jobs of every kind can be accepted."""
        return self.schema == "ok" and not self.faults


def readiness(database: Database, redis_url: str, gate: Gate | None = None) -> Readiness:
    """Ask Postgres for its schema revision and its queue, the gate what it found last, and let Redis carry a message."""
    faults = () if gate is None else gate.faults
    named = {fault.requirement for fault in faults}
    try:
        with database.statement() as work:
            rows = work.execute(SCHEMA)
        if rows and rows[0].version_num >= needed_revision():
            return Readiness(
                "ok", "ok", _redis(redis_url), consumption(database), scheduler(database), faults
            )
    except UndefinedTable:
        pass
    except DatabaseUnavailable as unavailable:
        if Requirement.POSTGRES not in named:  # the gate looks every few seconds
            faults = (postgres_fault(DatabaseFault(unavailable.fault)), *faults)
        return Readiness("unreachable", "unknown", _redis(redis_url), "unknown", "unknown", faults)
    return Readiness("ok", "behind", _redis(redis_url), "unknown", "unknown", faults)


def consumption(database: Database, *, stalled_s: float = STALLED_S) -> Literal["ok", "stalled", "unknown"]:
    """`stalled`: a job could have been claimed for `stalled_s` seconds, and in that time no worker claimed or held any."""
    try:
        with database.statement() as work:
            (found,) = work.execute(STALLED, {"stalled_s": stalled_s})
    except DatabaseUnavailable:
        return "unknown"
    return "stalled" if found.stalled else "ok"


def scheduler(database: Database) -> Literal["ok", "stopped", "unknown"]:
    """`stopped`: no scheduler has ended its sweeps without a fault lately."""
    try:
        with database.statement() as work:
            last = sweeps.last_sweep(work)
    except DatabaseUnavailable:
        return "unknown"
    return "stopped" if last is None or last.late else "ok"


def queue_metrics(database: Database, catalog: Catalog) -> bytes:
    """Queue depth and age by model and state, and the last sweep, in the Prometheus text format; empty without Postgres."""
    try:
        with database.statement() as work:
            rows = work.execute(QUEUE)
        with database.statement() as work:
            last = sweeps.last_sweep(work)
        models = [catalog.version(row.model_version_id) for row in rows]
    except (DatabaseUnavailable, ModelNotFound, UndefinedTable):  # the schema may be behind
        return b""
    keys = [(model.name, model.version, row.state) for model, row in zip(models, rows, strict=True)]
    return text_of(
        gauge(
            "medqueue_jobs",
            "Jobs that have not ended.",
            {key: row.jobs for key, row in zip(keys, rows, strict=True)},
            ["model", "version", "state"],
        ),
        gauge(
            "medqueue_oldest_job_seconds",
            "Age of the oldest such job.",
            {key: row.oldest_s for key, row in zip(keys, rows, strict=True)},
            ["model", "version", "state"],
        ),
        gauge(
            "medqueue_last_sweep_timestamp_seconds",
            "When a scheduler last ended its sweeps without a fault; 0: never.",
            {(): 0.0 if last is None else last.at.timestamp()},
        ),
    )


def _redis(url: str) -> str:
    return redis_fault(url) or "ok"
