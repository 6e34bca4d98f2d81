"""Prometheus metrics of a process. Labels hold names from code and the catalogue, never ids or patient data.

The processes of one API keep theirs in files of one folder, PROMETHEUS_MULTIPROC_DIR, so that each of them tells the sum
of all, and what an ended one has counted still counts.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.errors import SettingInvalid

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series per counter, which nobody reads

REGISTRY = CollectorRegistry(auto_describe=True)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

FOLDER = os.environ.get(
    "PROMETHEUS_MULTIPROC_DIR"
)  # not a setting of ours: prometheus_client reads it on import
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

REQUESTS = Counter(
    "medqueue_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "medqueue_http_request_seconds",
    "Time to answer a request, waits included.",
    ["route"],
    buckets=SECONDS,
    registry=REGISTRY,
)
REQUESTS_REFUSED = Counter(
    "medqueue_http_requests_refused_total",
    "Requests answered 503 because every thread was held.",
    registry=REGISTRY,
)
CONNECTIONS_ENDED = Counter(
    "medqueue_http_connections_ended_total",
    "Connections ended because the peer did not read, did not send, or had too many.",
    ["reason"],
    registry=REGISTRY,
)
JOBS_SUBMITTED = Counter("medqueue_jobs_submitted_total", "Jobs accepted.", ["model"], registry=REGISTRY)
SUBMITS_REFUSED = Counter(
    "medqueue_submits_refused_total",
    "Requests refused because the queue is full.",
    ["reason"],
    registry=REGISTRY,
)
WAITERS = Gauge(
    "medqueue_waiting_requests",
    "Requests that wait, for a job to end or for events.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
WAITS_REFUSED = Counter(
    "medqueue_waits_refused_total", "Waits answered at once because too many wait.", registry=REGISTRY
)

JOBS_ENDED = Counter(
    "medqueue_jobs_ended_total", "Jobs ended by this worker.", ["model", "state"], registry=REGISTRY
)
JOBS_FENCED_OFF = Counter(
    "medqueue_jobs_fenced_off_total",
    "Late write-backs refused: lease lost or job canceled.",
    ["model"],
    registry=REGISTRY,
)
JOBS_RETRIED = Counter(
    "medqueue_jobs_retried_total",
    "Jobs queued again after a transient fault.",
    ["model", "code"],
    registry=REGISTRY,
)
JOBS_RESCUED = Counter(
    "medqueue_jobs_rescued_total", "Jobs taken back from a worker whose lease lapsed.", registry=REGISTRY
)
JOBS_QUARANTINED = Counter(
    "medqueue_jobs_quarantined_total", "Jobs set aside for an operator.", registry=REGISTRY
)
JOBS_EXPIRED = Counter(
    "medqueue_jobs_expired_total", "Jobs whose deadline passed in the queue.", registry=REGISTRY
)
JOBS_OVERDUE = Counter(
    "medqueue_jobs_overdue_total",
    "Jobs that were still to be answered after the time their model promises.",
    ["model"],
    registry=REGISTRY,
)
DELIVERY_TRIES = Counter(
    "medqueue_webhook_tries_total",
    "Tries to deliver a webhook: delivered, failed (to be tried again) or dead.",
    ["outcome"],
    registry=REGISTRY,
)
DELIVERY_SECONDS = Histogram(
    "medqueue_webhook_try_seconds",
    "Time of one try to deliver a webhook.",
    buckets=SECONDS,
    registry=REGISTRY,
)
DELIVERIES_RESCUED = Counter(
    "medqueue_webhook_deliveries_rescued_total",
    "Deliveries taken back from a dispatcher whose lease lapsed.",
    registry=REGISTRY,
)
DELIVERIES_FENCED_OFF = Counter(
    "medqueue_webhook_deliveries_fenced_off_total",
    "Tries recorded too late: the lease was lost.",
    registry=REGISTRY,
)
ENDPOINTS_DISABLED = Counter(
    "medqueue_webhook_endpoints_disabled_total",
    "Endpoints disabled after days of failures.",
    registry=REGISTRY,
)
SWEEPS_FAILED = Counter(
    "medqueue_sweeps_failed_total", "Sweeps of this scheduler that failed.", ["sweep"], registry=REGISTRY
)
BATCH_ROWS = Counter(
    "medqueue_batch_rows_total",
    "Rows of batches by outcome: succeeded or failed.",
    ["model", "outcome"],
    registry=REGISTRY,
)
PARSING_CHILDREN_KILLED = Counter(
    "medqueue_parsing_children_killed_total",
    "Processes that ended while they parsed a file: past a limit, or in a crash.",
    ["reason"],
    registry=REGISTRY,
)
BATCH_CHUNKS = Counter(
    "medqueue_batch_chunks_total",
    "Chunks of batches let go of: done, released, put_off, failed or fenced_off.",
    ["outcome"],
    registry=REGISTRY,
)
CHUNK_SECONDS = Histogram(
    "medqueue_batch_chunk_seconds",
    "Time of one chunk of a batch, without the time it gave way to jobs.",
    ["model"],
    buckets=SECONDS,
    registry=REGISTRY,
)
CHUNKS_RESCUED = Counter(
    "medqueue_batch_chunks_rescued_total",
    "Chunks and steps of batches taken back from a worker whose lease lapsed.",
    registry=REGISTRY,
)
CHUNKS_QUARANTINED = Counter(
    "medqueue_batch_chunks_quarantined_total",
    "Chunks and steps of batches set aside after repeated crashes.",
    registry=REGISTRY,
)
BATCH_SIZE = Histogram(
    "medqueue_batch_size",
    "Jobs in one claim.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)
RUN_SECONDS = Histogram(
    "medqueue_run_seconds",
    "Time of one session.run.",
    ["model", "provider"],
    buckets=SECONDS,
    registry=REGISTRY,
)
MODELS_REFUSED = Gauge(
    "medqueue_models_refused",
    "Models that this worker refuses: it cannot load them, or answers their golden cases differently.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
BATCH_LIMIT = Gauge(
    "medqueue_batch_limit",
    "Largest batch after out-of-memory halving.",
    ["model"],
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
MODELS_LOADED_MB = Gauge(
    "medqueue_models_loaded_megabytes",
    "Memory counted for loaded models.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
PROCESS_FAULTS = Gauge(
    "medqueue_process_faults",
    "What this process lacks for its work: data_dir, postgres, schema, master_key, blob_store or models.",
    ["requirement"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
DB_CONNECTIONS = Gauge(
    "medqueue_database_connections_in_use",
    "Connections of the pool that work on a statement or a transaction.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
DB_CONNECTIONS_LIMIT = Gauge(
    "medqueue_database_connections_limit",
    "Connections that the pools may have.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


class _Memory(Collector):
    """Resident memory of this process, or of all processes of one API."""

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        resident = GaugeMetricFamily(
            "medqueue_resident_memory_bytes", "Resident memory of the processes that these metrics tell of."
        )
        resident.add_metric([], sum(map(_resident_bytes, _processes())))
        yield resident


def exposition() -> bytes:
    """The metrics in Prometheus' text format: of this process, or the sum of all processes of one API."""
    if FOLDER is None:
        return generate_latest(REGISTRY)
    _forget_the_gauges_of_ended_processes(Path(FOLDER))
    merged = CollectorRegistry()
    MultiProcessCollector(merged, FOLDER)  # type: ignore[no-untyped-call]
    merged.register(_Memory())
    return generate_latest(merged)


def leave_to_server_processes() -> None:
    """Remove the files of this process, which only starts server processes: the least of their gauges would be its 0."""
    for path in Path(str(FOLDER)).glob(f"*_{os.getpid()}.db"):
        path.unlink()


def begin_server_process() -> None:
    """Have files of its own for this process, which was forked, before it has anything to count."""
    REQUESTS_REFUSED.inc(0)


def _forget_the_gauges_of_ended_processes(folder: Path) -> None:
    """What they have counted stays. Another process may do the same at the same time."""
    for path in folder.glob("gauge_live*_*.db"):
        if not Path(f"/proc/{_pid_of(path)}").exists():
            path.unlink(missing_ok=True)


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def text_of(*families: Metric) -> bytes:
    """Metrics that are read again for each scrape, as text. A Gauge would be kept among those of the processes."""
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return generate_latest(registry)


def gauge(
    name: str, words: str, values: Mapping[tuple[str, ...], float], labels: Sequence[str] = ()
) -> Metric:
    """A gauge that is read for each scrape, by the values of its labels."""
    family = GaugeMetricFamily(name, words, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _processes() -> set[int]:
    """The processes whose metrics these are; some may have ended."""
    if FOLDER is None:
        return {os.getpid()}
    return set(map(_pid_of, Path(FOLDER).glob("*_*.db")))


def _pid_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


REGISTRY.register(_Memory())


class MetricsServer:
    """Serves the metrics of this process at /metrics, from a daemon thread that sleeps between scrapes."""

    def __init__(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one. Raises SettingInvalid when the address cannot be had."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=REGISTRY)
        except OSError as error:
            variable = "HOST" if isinstance(error, socket.gaierror) else "PORT"
            raise SettingInvalid(
                f"MEDQUEUE_METRICS_{variable}", f"cannot listen on {host}:{port}: {error.strerror}"
            ) from None
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
