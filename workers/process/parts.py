"""The parts of a worker process, made when it starts. Scoring takes most of its memory, so a scheduler does not import it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from service import failpoints, requirements
from service.accounts import TenantCiphers
from service.batches.roots import GrantedRoots
from service.broker import CeleryTaskQueue
from service.catalog import Catalog
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.faults import Fault, faults_file
from service.gate import Gate
from service.jobs.artifacts import ArtifactStore
from service.refusals import refusals_file, write_refusals
from service.storage import BlobStore, FsspecBlobStore
from service.uploads import Uploads
from service.webhooks.rules import rules_of
from service.writable import data_dir
from workers.process.pulse import OwnPulse, pulse_over
from workers.refusals import Refusals

if TYPE_CHECKING:
    from workers.batches.thread import BatchThread
    from workers.heartbeat import Heartbeat
    from workers.jobs.polling import Polling
    from workers.jobs.scoring import Scorer
    from workers.jobs.write_back import WriteBack
    from workers.pool import ModelPool
    from workers.webhooks.delivery import Dispatcher

log = structlog.get_logger()

POOL_SIZE = 7  # scoring, writing back, batches, a heartbeat for each, and polling


@dataclass(frozen=True)
class ScoringParts:
    """The additional parts of a process that scores."""

    heartbeats: list[Heartbeat]
    pool: ModelPool
    scorer: Scorer
    write_back: WriteBack
    batch_thread: BatchThread
    polling: Polling

    @property
    def holds(self) -> bool:
        """Whether jobs are being scored, and their run makes progress."""
        return any(heartbeat.holds for heartbeat in self.heartbeats)

    def start(self) -> None:
        """Start looking for work."""
        self.batch_thread.start()
        self.polling.start()

    def stop(self) -> None:
        """Begin nothing new, and give back soon what is in hand."""
        self.scorer.stopping = True
        self.batch_thread.stop()
        self.polling.stop()

    def close(self) -> None:
        """Finish writing back and stop the threads."""
        self.polling.close()
        self.batch_thread.close()
        self.write_back.close()
        for heartbeat in self.heartbeats:
            heartbeat.close()


@dataclass(frozen=True)
class Parts:
    """What tasks need."""

    settings: Settings
    database: Database
    ciphers: TenantCiphers
    catalog: Catalog
    blobs: BlobStore
    queue: CeleryTaskQueue
    pulse: OwnPulse
    gate: Gate
    scoring: ScoringParts | None = None
    dispatcher: Dispatcher | None = None

    def start(self) -> None:
        """Start the parts that look for work by themselves, and the watch over the gate."""
        self.gate.start()
        for part in (self.dispatcher, self.scoring):
            if part is not None:
                part.start()

    def stop(self) -> None:
        """Begin nothing new, and give back soon what is in hand."""
        if self.scoring is not None:
            self.scoring.stop()

    def close(self) -> None:
        """Finish writing back, stop the threads and close the connections."""
        self.gate.close()
        for part in (self.dispatcher, self.scoring):
            if part is not None:
                part.close()
        self.pulse.close()
        self.queue.close()
        self.database.close()


def worker_name(settings: Settings) -> str:
    """The owner's name in this process's claims: its configured name, its host and its process id."""
    return f"{settings.worker_name or 'worker'}@{socket.gethostname()}:{os.getpid()}"


def make_parts(settings: Settings, *, delivers: bool, scores: bool) -> Parts:
    """Connect and create all parts: a dispatcher if it `delivers` webhooks, those for jobs and batches if it `scores`.

    Raises ProviderUnavailable if CUDA is required and not available.
    """
    failpoints.arm(settings.failpoints)
    keyring = Keyring(settings.master_key_bytes())
    queue = CeleryTaskQueue(settings.redis_url)
    database = Database(settings.database_url, pool_size=POOL_SIZE, queue=queue)
    blobs = FsspecBlobStore(settings.blob_location)
    gate = _gate(settings, database, keyring, blobs)
    catalog = Catalog(database, cache_s=settings.cache_s, blobs=blobs)
    ciphers = TenantCiphers(database, keyring)
    uploads = Uploads(database, blobs, keyring, limit_bytes=settings.max_upload_bytes)
    scoring = None
    if scores:
        scoring = _scoring(
            settings,
            database=database,
            queue=queue,
            blobs=blobs,
            keyring=keyring,
            gate=gate,
            catalog=catalog,
            ciphers=ciphers,
            uploads=uploads,
        )
    pulse = pulse_over(
        settings.redis_url, worker_name(settings), holds=lambda: scoring is not None and scoring.holds
    )
    if held := delivers and settings.webhooks_held:
        log.warning("webhooks_held", advice="They wait. Start without MEDQUEUE_WEBHOOKS_HELD to send them.")
    dispatcher = _dispatcher(settings, database, ciphers, gate) if delivers and not held else None
    return Parts(settings, database, ciphers, catalog, blobs, queue, pulse, gate, scoring, dispatcher)


def _scoring(
    settings: Settings,
    *,
    database: Database,
    queue: CeleryTaskQueue,
    blobs: BlobStore,
    keyring: Keyring,
    gate: Gate,
    catalog: Catalog,
    ciphers: TenantCiphers,
    uploads: Uploads,
) -> ScoringParts:
    """The parts that score jobs and batches, with ONNX Runtime, numpy and Arrow. Raises ProviderUnavailable."""
    from workers.batches.services import BatchServices
    from workers.batches.thread import BatchThread
    from workers.heartbeat import Heartbeat
    from workers.jobs.artifacts import ArtifactLimits
    from workers.jobs.polling import Polling
    from workers.jobs.scoring import Scorer
    from workers.jobs.write_back import Limits, WriteBack
    from workers.pool import ModelPool
    from workers.runtime import OnnxRuntime
    from workers.turns import Turns

    runtime = OnnxRuntime(settings.provider, allow_cpu=settings.allow_cpu, threads=settings.threads_per_model)
    pool = ModelPool(
        runtime,
        catalog,
        blobs,
        cache=settings.data_dir / "cache" / "models",
        budget_mb=settings.model_memory_mb,
        refusals=_refusals(settings),
    )
    limits = Limits(settings.max_attempts, settings.retry_base_s, settings.retry_cap_s)
    heartbeats = [Heartbeat(database, table="job", lease_s=settings.lease_s) for _ in range(2)]
    artifacts = ArtifactStore(blobs, keyring)
    write_back = WriteBack(
        owner=worker_name(settings),
        database=database,
        store=artifacts,
        heartbeat=heartbeats[1],
        limits=limits,
        runtime=runtime.name,
        provider=runtime.provider,
        gate=gate,
    )
    turns = Turns()
    scorer = Scorer(
        owner=worker_name(settings),
        database=database,
        queue=queue,
        pool=pool,
        runtime=runtime,
        uploads=uploads,
        artifacts=artifacts,
        artifact_limits=ArtifactLimits(settings.max_artifacts, settings.max_artifact_bytes),
        ciphers=ciphers,
        heartbeat=heartbeats[0],
        write_back=write_back,
        turns=turns,
        gate=gate,
        lease_s=settings.lease_s,
    )
    services = BatchServices(
        owner=worker_name(settings),
        lease_s=settings.lease_s,
        chunk_s=settings.batch_chunk_s,
        database=database,
        ciphers=ciphers,
        uploads=uploads,
        blobs=blobs,
        catalog=catalog,
        pool=pool,
        limits=limits,
        roots=GrantedRoots(database, settings.batch_root_grants),
        gate=gate,
    )
    batches, polling = BatchThread(services, turns), Polling(database, scorer)
    return ScoringParts(heartbeats, pool, scorer, write_back, batches, polling)


def _refusals(settings: Settings) -> Refusals:
    """The models that this worker refuses, recorded for health checks if the worker has a name."""
    if not settings.worker_name:
        return Refusals()
    return Refusals(partial(write_refusals, refusals_file(settings.data_dir, settings.worker_name)))


def _gate(settings: Settings, database: Database, keyring: Keyring, blobs: BlobStore) -> Gate:
    """The gate over what this process needs: data folder, database, blob store."""
    host, name = socket.gethostname(), settings.worker_name

    def examine() -> Iterator[Fault]:
        tests = (
            data_dir(settings.data_dir),
            requirements.database(database, keyring),
            requirements.blob_store(blobs, settings.blob_setting, f"trials/{host}-{os.getpid()}"),
        )
        return (fault for fault in tests if fault is not None)

    record = faults_file(settings.data_dir, name) if name else None
    return Gate(f"{name or 'worker'}@{host}", examine, database=database, record=record)


def _dispatcher(settings: Settings, database: Database, ciphers: TenantCiphers, gate: Gate) -> Dispatcher:
    from workers.webhooks.delivery import Dispatcher
    from workers.webhooks.outbound import Outbound

    rules = rules_of(settings)
    return Dispatcher(
        owner=worker_name(settings),
        database=database,
        ciphers=ciphers,
        outbound=lambda: Outbound(rules, ca_file=settings.webhook_ca_file),
        public_url=settings.public_location,
        lease_s=settings.lease_s,
        gate=gate,
    )
