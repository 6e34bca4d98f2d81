"""/healthz, /readyz and /metrics: for probes and scrapers, without a key and without anything confidential."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service import probes
from service.api import examples
from service.api.operations import operation
from service.api.schemas import Liveness, Readiness
from service.api.services import Services
from service.api.views import answer
from service.metrics import REGISTRY


def blueprint(services: Services) -> Blueprint:
    """The routes of probes and metrics."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    @operation("Whether the process answers", example=examples.LIVE, scope=None, answers={200: Liveness})
    def healthz() -> Response:
        return answer({"status": "ok"})

    @routes.get("/readyz")
    @operation(
        "Whether jobs can be accepted",
        example=examples.READY,
        scope=None,
        answers={200: Readiness, 503: Readiness},
    )
    def readyz() -> Response:
        found = probes.readiness(services.database, services.settings.redis_url)
        return answer(
            {
                "status": "ready" if found.ready else "not_ready",
                "postgres": found.postgres,
                "schema": found.schema,
                "redis": found.redis,
            },
            200 if found.ready else 503,
        )

    @routes.get("/metrics")
    @operation("Prometheus metrics", example=examples.METRICS, scope=None, answers={200: "text/plain"})
    def metrics() -> Response:
        queue = probes.queue_metrics(services.database, services.catalog)
        return Response(generate_latest(REGISTRY) + queue, content_type=CONTENT_TYPE_LATEST)

    return routes
