"""Composition root of the API: makes the parts of one process and the Flask app over them."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Flask, Response, g, request

from service import failpoints, requirements
from service.api import events, health, uploads
from service.api.batches import routes as batches
from service.api.batches import schedules as batch_schedules
from service.api.http import docs_page, openapi, problems
from service.api.http.auth import Authenticator
from service.api.http.bodies import Bodies
from service.api.http.downloads import Downloads
from service.api.http.places import Places
from service.api.http.request_ids import RequestIds
from service.api.http.turns import Turns
from service.api.jobs import artifacts as job_artifacts
from service.api.jobs import results as job_results
from service.api.jobs import routes as jobs
from service.api.jobs import texts as job_texts
from service.api.models import routes as models
from service.api.services import Services
from service.api.webhooks import deliveries as webhook_deliveries
from service.api.webhooks import endpoints as webhook_endpoints
from service.batches.roots import granted_roots
from service.broker import CeleryTaskQueue, EndedListener
from service.catalog import Catalog
from service.config import LINE_THREADS, Settings
from service.crypto import Keyring
from service.db import Database
from service.desk import desk_over
from service.desk.waiting import Waiting
from service.errors import NotReady
from service.faults import Fault, Requirement
from service.gate import Gate
from service.jobs.artifacts import ArtifactStore
from service.metrics import REQUEST_SECONDS, REQUESTS
from service.quotas import UploadQuotas, used
from service.slow_peers import SlowPeers
from service.storage import BlobStore, FsspecBlobStore
from service.uploads import Uploads
from service.webhooks.receivers import Receivers
from service.webhooks.rules import granted_rules

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Api:
    """The Flask app of a process and what has to be closed after it."""

    app: Flask
    database: Database
    queue: CeleryTaskQueue
    listener: EndedListener
    gate: Gate
    slow_peers: SlowPeers

    def close(self) -> None:
        """Stop the threads and close the connections."""
        self.slow_peers.close()
        self.gate.close()
        self.listener.close()
        self.queue.close()
        self.database.close()


def create_api(settings: Settings) -> Api:
    """The API of one process, connected. Raises SettingInvalid."""
    settings = settings.with_servers()
    failpoints.arm(settings.failpoints)
    keyring = Keyring(settings.master_key_bytes())
    queue = CeleryTaskQueue(settings.redis_url)
    database = Database(settings.database_url, pool_size=settings.db_pool_size, queue=queue)
    waiting = Waiting(settings.max_waiters)
    turns = Turns(LINE_THREADS)
    receivers = Receivers(granted_rules(database, settings), meanwhile=partial(turns.paused, keeps_room=True))
    blobs = FsspecBlobStore(settings.blob_location)
    catalog = Catalog(database, cache_s=settings.cache_s, blobs=blobs)
    uploads = Uploads(database, blobs, keyring, limit_bytes=settings.max_upload_bytes)
    gate = _gate(settings, database, keyring, blobs)
    gate.look()
    gate.start()
    services = Services(
        settings=settings,
        database=database,
        roots=granted_roots(database, settings.batch_root_grants),
        catalog=catalog,
        uploads=uploads,
        quotas=UploadQuotas(
            partial(used, database),
            in_a_day=settings.uploaded_bytes_per_day,
            in_all=settings.uploaded_bytes_per_tenant,
        ),
        blobs=blobs,
        gate=gate,
        auth=Authenticator(database, keyring, turns, cache_s=settings.cache_s),
        desk=desk_over(
            settings,
            database,
            catalog=catalog,
            uploads=uploads,
            receivers=receivers,
            waiting=waiting,
            artifact_store=ArtifactStore(blobs, keyring),
        ),
        waiting=waiting,
        turns=turns,
        bodies=Bodies(
            turns,
            slots=max(1, (settings.api_threads - settings.max_waiters) * 3 // 4),
            limit_bytes=settings.max_body_bytes,
        ),
        receivers=receivers,
        downloads=Downloads(max(1, settings.api_threads // 4)),
    )
    listener = EndedListener(settings.redis_url, waiting.ended)
    waiting.hears = lambda: listener.hears
    slow_peers = SlowPeers(settings.api_port, bodies_since=services.bodies.awaited_since)
    slow_peers.start()
    return Api(flask_app(services), database, queue, listener, gate, slow_peers)


def _gate(settings: Settings, database: Database, keyring: Keyring, blobs: BlobStore) -> Gate:
    """What this process needs: database and blob store."""
    host = socket.gethostname()

    def examine() -> Iterator[Fault]:
        tests = (
            requirements.database(database, keyring),
            requirements.blob_store(blobs, settings.blob_setting, f"trials/{host}-{os.getpid()}"),
        )
        return (fault for fault in tests if fault is not None)

    return Gate(f"api@{host}", examine, database=database)


class _Flask(Flask):
    """Flask for views that are plain functions: it need not check on every request whether a view is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def flask_app(services: Services) -> Flask:
    """Every route over `services`."""
    app = _Flask("medqueue", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.url_map.strict_slashes = False
    problems.install(app)
    services.turns.install(app)
    described = (
        jobs,
        job_results,
        job_artifacts,
        job_texts,
        batches,
        batch_schedules,
        uploads,
        models,
        webhook_endpoints,
        webhook_deliveries,
        events,
        health,
    )
    for routes in described:
        app.register_blueprint(routes.blueprint(services))
    app.register_blueprint(openapi.blueprint())
    app.register_blueprint(docs_page.blueprint())
    app.before_request(_start_clock)
    app.before_request(partial(_refuse_without_key, services.gate))
    app.after_request(_count)
    app.wsgi_app = RequestIds(Places(app.wsgi_app, services.settings.api_threads + LINE_THREADS))  # type: ignore[method-assign]
    return app


def _start_clock() -> None:
    g.started = time.perf_counter()


def _refuse_without_key(gate: Gate) -> None:
    """Under a wrong master key nothing can be read, and nobody else could read what is sealed. Raises NotReady."""
    if not gate.meets(Requirement.MASTER_KEY) and request.path.startswith("/v1/"):
        raise NotReady


def _count(response: Response) -> Response:
    """Count the request. Labels come from closed sets: a caller may invent methods and paths."""
    route = request.url_rule.rule if request.url_rule else "unmatched"
    method = request.method if request.method in METHODS else "other"
    REQUESTS.labels(method, route, response.status_code).inc()
    REQUEST_SECONDS.labels(route).observe(time.perf_counter() - g.started)
    return response
