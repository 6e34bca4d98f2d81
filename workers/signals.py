"""Start and stop of a worker process: parts made and models warmed up before it consumes, a sign when it is ready."""

from pathlib import Path
from typing import Any

import structlog
from celery import Celery, signals

from service import logs
from service.config import Settings
from service.process import settle
from service.queue import QueueName
from workers.parts import Parts, make_parts, worker_name
from workers.runtime import describe
from workers.schedule import start_beat

log = structlog.get_logger()


class Process:
    """This worker process: its queues, its parts once it has started, its ready file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Parts | None = None
        self._queues: frozenset[str] = frozenset()

    @property
    def parts(self) -> Parts:
        """The parts; made by the start of the worker."""
        assert self._parts is not None
        return self._parts

    def connect(self, app: Celery) -> None:
        """Follow the signals of a worker that runs `app`."""
        signals.worker_init.connect(self._start, weak=False)
        signals.worker_ready.connect(lambda **_: self._ready(app), weak=False)
        signals.worker_shutting_down.connect(self._stopping, weak=False)
        signals.worker_shutdown.connect(self._stop, weak=False)
        signals.setup_logging.connect(lambda **_: logs.configure(self._settings.log_level), weak=False)

    def _start(self, sender: Any, **_: object) -> None:
        self._unready()  # a killed predecessor may have left its sign
        self._queues = frozenset(sender.app.amqp.queues.consume_from)
        structlog.contextvars.bind_contextvars(worker=worker_name(self._settings))
        self._parts = make_parts(self._settings)
        if QueueName.SCORE.value in self._queues:
            log.info("worker_warm", models=self._parts.pool.warm_up(), **describe(self._parts.scorer.runtime))

    def _ready(self, app: Celery) -> None:
        if QueueName.MAINTENANCE.value in self._queues:
            start_beat(app)
        settle()
        path = self._ready_file()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def _stopping(self, **_: object) -> None:
        self.parts.scorer.stopping = True

    def _stop(self, **_: object) -> None:
        self._unready()
        self.parts.close()

    def _unready(self) -> None:
        path = self._ready_file()
        if path is not None:
            path.unlink(missing_ok=True)

    def _ready_file(self) -> Path | None:
        name = self._settings.worker_name
        return self._settings.data_dir / "run" / f"{name}.ready" if name else None
