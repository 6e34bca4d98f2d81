"""/healthz, /readyz and /metrics: for probes and scrapers, without a key and without anything confidential."""

from functools import partial
from typing import Any, Literal

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from service import backlog, probes
from service.api.http import parameters
from service.api.http.answers import answer
from service.api.http.operations import operation
from service.api.http.remembered import REMEMBERED_S, Remembered
from service.api.http.requests import query_as
from service.api.http.schemas import Wire
from service.api.services import Services
from service.faults import Fault
from service.metrics import exposition
from service.redis_faults import RedisFault

LIVE: dict[str, Any] = {"status": "ok"}
READY: dict[str, Any] = {
    "status": "ready",
    "postgres": "ok",
    "schema": "ok",
    "redis": "ok",
    "consumption": "ok",
    "scheduler": "ok",
}
PAUSES = 10  # jobs that wait are counted for a tenth of the time at most
METRICS = 'medqueue_jobs{model="breast-cancer-wisconsin",version="1.0.0",state="queued"} 12.0'


class Liveness(Wire):
    """The process answers."""

    status: Literal["ok"]


class MissingRequirement(Wire):
    """What a process lacks for its work, and what to do about it."""

    requirement: Literal["data_dir", "postgres", "schema", "master_key", "blob_store", "models"]
    setting: str
    cause: str
    advice: str


class Readiness(Wire):
    """Whether jobs can be accepted. They are also accepted without Redis, without workers and without the scheduler."""

    status: Literal["ready", "not_ready"]
    postgres: Literal["ok", "unreachable"]
    schema_: Literal["ok", "behind", "unknown"] = Field(alias="schema")
    redis: Literal["ok"] | RedisFault = Field(
        description="`ok`: a message was sent and received. Otherwise the reason; jobs then start about a second later."
    )
    consumption: Literal["ok", "stalled", "unknown"] = Field(
        description="`stalled`: a job has been claimable for 30 s, and no worker claimed or held any."
    )
    scheduler: Literal["ok", "stopped", "unknown"] = Field(
        description="`stopped`: no scheduler has ended its sweeps without a fault for 10 s, or for three intervals."
    )
    faults: list[MissingRequirement] | None = Field(
        None, description="What this process lacks for its work; absent when it lacks nothing."
    )


class ReadinessQuery(BaseModel):
    """What GET /readyz tests in addition to the acceptance of jobs."""

    model_config = ConfigDict(extra="forbid")

    consumption: Literal["required"] | None = Field(
        None, description="Also answer 503 when queued jobs are not being processed."
    )
    scheduler: Literal["required"] | None = Field(
        None, description="Also answer 503 when no scheduler runs its sweeps."
    )


def blueprint(services: Services) -> Blueprint:
    """The routes of probes and metrics."""
    routes = Blueprint("health", __name__)
    for_s = min(REMEMBERED_S, services.settings.cache_s)
    readiness = Remembered(
        partial(probes.readiness, services.database, services.settings.redis_url, services.gate), for_s=for_s
    )
    measured = Remembered(partial(_metrics, services), for_s=for_s, pauses=PAUSES if for_s else 0)

    @routes.get("/healthz")
    @operation("Whether the process answers", example=LIVE, scope=None, answers={200: Liveness})
    def healthz() -> Response:
        return answer({"status": "ok"})

    @routes.get("/readyz")
    @operation(
        "Whether jobs can be accepted",
        example=READY,
        scope=None,
        answers={200: Readiness, 503: Readiness},
        parameters=parameters.of_query(ReadinessQuery),
        problems=(422,),
    )
    def readyz() -> Response:
        query = query_as(ReadinessQuery)
        found = readiness()
        ready = (
            found.ready
            and not (query.consumption and found.consumption == "stalled")
            and not (query.scheduler and found.scheduler == "stopped")
        )
        told: dict[str, object] = {
            "status": "ready" if ready else "not_ready",
            "postgres": found.postgres,
            "schema": found.schema,
            "redis": found.redis,
            "consumption": found.consumption,
            "scheduler": found.scheduler,
        }
        if found.faults:
            told["faults"] = [_shown(fault) for fault in found.faults]
        return answer(told, 200 if ready else 503)

    @routes.get("/metrics")
    @operation("Prometheus metrics", example=METRICS, scope=None, answers={200: "text/plain"})
    def metrics() -> Response:
        return Response(measured(), content_type=CONTENT_TYPE_LATEST)

    return routes


def _metrics(services: Services) -> bytes:
    queue = probes.queue_metrics(services.database, services.catalog)
    return exposition() + queue + backlog.exposition(services.database, services.settings.redis_url)


def _shown(fault: Fault) -> dict[str, str]:
    return {
        "requirement": fault.requirement.value,
        "setting": fault.setting,
        "cause": fault.cause,
        "advice": fault.advice,
    }
