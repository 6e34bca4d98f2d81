"""Start and stop of a worker process: creates parts and warms up models first, and writes a file when it is ready."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from celery import signals

from service import logs
from service.catalog import PublishedModel
from service.config import Settings
from service.consuming import listen_to_pulse
from service.errors import SettingInvalid
from service.jobs.execution import recently_asked_for
from service.metrics import MetricsServer
from service.process import INTERNAL_STATUS, WRONG_SETTING_STATUS, settle
from service.pulse import pulse_file
from service.queue import QueueName
from workers.process.connections import worker_name
from workers.process.parts import Parts, make_parts
from workers.process.schedule import Sweeper
from workers.process.tasks import note_swept, sweeps_of
from workers.provider import ProviderUnavailable

if TYPE_CHECKING:
    from workers.process.scoring import ScoringParts

MODELS_AGAIN_S = 2.0
RECENT_JOBS = 1000  # whose models are loaded at the start
SIGNS = ("ready", "pulse", "metrics", "refused")

log = structlog.get_logger()


class Process:
    """This worker process: its queues, its parts once it has started, and the files that report on it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Parts | None = None
        self._metrics: MetricsServer | None = None
        self._sweeper: Sweeper | None = None
        self._queues: frozenset[str] = frozenset()

    @property
    def parts(self) -> Parts:
        """The parts, created at the worker's start."""
        assert self._parts is not None
        return self._parts

    def connect(self) -> None:
        """Connect to Celery's signals of the worker."""
        signals.worker_init.connect(self._start, weak=False)
        signals.worker_shutting_down.connect(self._stopping, weak=False)
        signals.worker_shutdown.connect(self._stop, weak=False)
        signals.setup_logging.connect(lambda **_: logs.configure(self._settings.log_level), weak=False)

    def _start(self, sender: Any, **_: object) -> None:
        self._unready()  # a killed predecessor may have left its files
        self._queues = frozenset(sender.app.amqp.queues.consume_from)
        logs.identify(worker=worker_name(self._settings))
        # Celery logs what a signal's receiver raises, and continues: only an exit stops the start.
        try:
            self._serve_metrics()
            self._parts = make_parts(
                self._settings,
                delivers=QueueName.MAINTENANCE.value in self._queues,
                scores=QueueName.SCORE.value in self._queues,
            )
            self._parts.gate.await_start()
            if self._parts.scoring is not None:
                self._warm_up(self._parts, self._parts.scoring)
        except (SettingInvalid, ProviderUnavailable) as error:
            self._unready()
            log.error("stopped", code=getattr(error, "code", "provider_unavailable"), detail=str(error))
            raise SystemExit(WRONG_SETTING_STATUS) from error
        except Exception as error:
            self._unready()
            log.critical("not_started", exc_info=error)
            raise SystemExit(INTERNAL_STATUS) from error
        listen_to_pulse(sender.app, worker_name(self._settings))

    def _warm_up(self, parts: Parts, scoring: ScoringParts) -> None:
        """Load the models last asked for, or one of all. While none loads, this worker could do nothing, so it retries."""
        from workers.jobs.problems import model_fault
        from workers.runtime import describe

        failed: set[UUID] = set()

        def fails(model: PublishedModel, error: Exception) -> None:
            failed.add(model.id)
            log.error("model_not_loaded", model=model.name, version=model.version, exc_info=error)
            parts.gate.note(f"model {model.id}", model_fault(model, error))

        with parts.database.statement() as work:
            asked_for = recently_asked_for(work, most=RECENT_JOBS)
        while not (loaded := scoring.pool.warm_up(asked_for, fails)) and failed:
            time.sleep(MODELS_AGAIN_S)
            while failed:
                parts.gate.note(f"model {failed.pop()}", None)
        log.info("worker_warm", models=loaded, **describe(scoring.runtime))

    def _serve_metrics(self) -> None:
        """Serve metrics where configured, and write the port to a file."""
        if self._settings.metrics_port is None:
            return
        self._metrics = MetricsServer(self._settings.metrics_host, self._settings.metrics_port)
        path = self._sign("metrics")
        if path is not None:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{self._metrics.port}\n")

    def begin(self) -> None:
        """Start to work, whether Redis answers or not."""
        if QueueName.MAINTENANCE.value in self._queues:
            every_s = self._settings.sweep_s
            self._sweeper = Sweeper(sweeps_of(self.parts), every_s=every_s, ended=self._note_round)
            self._sweeper.start()
        self.parts.start()
        settle()
        path = self._sign("ready")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parts.pulse.start(pulse_file(self._settings.data_dir, self._settings.worker_name))
            path.touch()

    def note_redis_fault(self, error: Exception) -> None:
        """Record that this process cannot receive messages from Redis."""
        self.parts.pulse.note_unavailable(error)

    def _note_round(self, well: bool) -> None:
        self.parts.pulse.swept()
        if well:
            note_swept(self.parts)

    def _stopping(self, **_: object) -> None:
        if self._parts is not None:
            self._parts.stop()

    def _stop(self, **_: object) -> None:
        self._unready()
        if self._sweeper is not None:
            self._sweeper.close()
        if self._parts is not None:
            self._parts.close()
        if self._metrics is not None:
            self._metrics.close()

    def _unready(self) -> None:
        for kind in SIGNS:
            path = self._sign(kind)
            if path is not None:
                with suppress(OSError):  # the gate reports what is wrong with the folder
                    path.unlink(missing_ok=True)

    def _sign(self, kind: str) -> Path | None:
        """The file in which this process reports to others on this machine; None if it has no name."""
        name = self._settings.worker_name
        return self._settings.data_dir / "run" / f"{name}.{kind}" if name else None
