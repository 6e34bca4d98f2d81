"""The parts of a worker process that scores jobs and batches, with ONNX Runtime, numpy and Arrow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from service.batches.roots import granted_roots
from service.config import Settings
from service.refusals import refusals_file, write_refusals
from workers.arbiter import GraphArbiter
from workers.batches.services import BatchServices
from workers.batches.thread import BatchThread
from workers.heartbeat import Heartbeat
from workers.jobs.artifacts import ArtifactLimits
from workers.jobs.lanes import Lanes, SlowLane
from workers.jobs.polling import Polling
from workers.jobs.scoring import Scorer
from workers.jobs.write_back import Limits, WriteBack
from workers.pool import ModelPool
from workers.process.connections import Connections
from workers.refusals import Refusals
from workers.runtime import OnnxRuntime, Runtime


@dataclass(frozen=True)
class ScoringParts:
    """The additional parts of a process that scores."""

    runtime: Runtime
    pool: ModelPool
    lanes: Lanes
    heartbeats: Sequence[Heartbeat]
    write_backs: Sequence[WriteBack]
    batch_thread: BatchThread
    polling: Polling

    @property
    def holds(self) -> bool:
        """Whether jobs are being scored, and their run makes progress."""
        return any(heartbeat.holds for heartbeat in self.heartbeats)

    def start(self) -> None:
        """Start looking for work."""
        self.lanes.start()
        self.batch_thread.start()
        self.polling.start()

    def stop(self) -> None:
        """Begin nothing new, and give back soon what is in hand."""
        self.lanes.stop()
        self.batch_thread.stop()
        self.polling.stop()

    def close(self) -> None:
        """Finish writing back and stop the threads."""
        self.polling.close()
        self.lanes.close()
        self.batch_thread.close()
        for write_back in self.write_backs:
            write_back.close()
        for heartbeat in self.heartbeats:
            heartbeat.close()


def make_scoring_parts(shared: Connections) -> ScoringParts:
    """Create the parts that score jobs and batches. Raises ProviderUnavailable."""
    settings, database = shared.settings, shared.database
    runtime = OnnxRuntime(settings.provider, allow_cpu=settings.allow_cpu, threads=settings.threads_per_model)
    pool = ModelPool(
        runtime,
        shared.catalog,
        shared.blobs,
        cache=settings.data_dir / "cache" / "models",
        budget_mb=settings.model_memory_mb,
        refusals=_refusals(settings),
    )
    heartbeats = [Heartbeat(database, table="job", lease_s=settings.lease_s) for _ in range(4)]
    write_backs = [_write_back(shared, runtime, each) for each in heartbeats[2:]]
    arbiter = GraphArbiter()
    quick, slow = (
        _scorer(shared, runtime, pool, heartbeat=each, write_back=write_back, arbiter=arbiter)
        for each, write_back in zip(heartbeats, write_backs, strict=False)
    )
    lanes = Lanes(quick, SlowLane(slow), pool)
    batches = BatchThread(_batch_services(shared, pool), arbiter)
    return ScoringParts(
        runtime, pool, lanes, heartbeats, write_backs, batches, Polling(shared.database, lanes)
    )


def _write_back(shared: Connections, runtime: Runtime, heartbeat: Heartbeat) -> WriteBack:
    return WriteBack(
        owner=shared.owner,
        database=shared.database,
        store=shared.artifacts,
        heartbeat=heartbeat,
        limits=_limits(shared.settings),
        runtime=runtime.name,
        provider=runtime.provider,
        gate=shared.gate,
    )


def _scorer(
    shared: Connections,
    runtime: Runtime,
    pool: ModelPool,
    *,
    heartbeat: Heartbeat,
    write_back: WriteBack,
    arbiter: GraphArbiter,
) -> Scorer:
    settings = shared.settings
    return Scorer(
        owner=shared.owner,
        database=shared.database,
        queue=shared.queue,
        pool=pool,
        runtime=runtime,
        uploads=shared.uploads,
        artifacts=shared.artifacts,
        artifact_limits=ArtifactLimits(settings.max_artifacts, settings.max_artifact_bytes),
        ciphers=shared.ciphers,
        heartbeat=heartbeat,
        write_back=write_back,
        arbiter=arbiter,
        gate=shared.gate,
        lease_s=settings.lease_s,
        join_s=settings.join_s,
        elsewhere=lambda version_id: not pool.is_slow(version_id),
    )


def _batch_services(shared: Connections, pool: ModelPool) -> BatchServices:
    settings = shared.settings
    return BatchServices(
        owner=shared.owner,
        lease_s=settings.lease_s,
        chunk_s=settings.batch_chunk_s,
        database=shared.database,
        ciphers=shared.ciphers,
        uploads=shared.uploads,
        blobs=shared.blobs,
        catalog=shared.catalog,
        pool=pool,
        limits=_limits(settings),
        roots=granted_roots(shared.database, settings.batch_root_grants),
        gate=shared.gate,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_attempts, settings.retry_base_s, settings.retry_cap_s)


def _refusals(settings: Settings) -> Refusals:
    """The models that this worker refuses, recorded for health checks if the worker has a name."""
    if not settings.worker_name:
        return Refusals()
    return Refusals(partial(write_refusals, refusals_file(settings.data_dir, settings.worker_name)))
