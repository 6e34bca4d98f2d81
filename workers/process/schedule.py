"""Runs the sweeps of the scheduler every few seconds, in a separate thread.

Sweeps make up for lost messages, so they must not depend on messages: a scheduler whose Redis is unavailable, or whose
Celery consumes nothing, still rescues, expires and reports overdue jobs. Celery's beat would send each sweep as a message
through Redis.
"""

import threading
import time
from collections.abc import Callable, Mapping

from service.metrics import SWEEPS_FAILED


class Sweeper:
    """Runs all sweeps, one after the other, every `every_s` seconds. They must not raise; they return whether they succeeded.

    `ended` is called after each round with whether all sweeps succeeded.
    """

    def __init__(
        self, sweeps: Mapping[str, Callable[[], bool]], *, every_s: float, ended: Callable[[bool], None]
    ) -> None:
        self._sweeps = sweeps
        self._ended = ended
        self._every_s = every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeps", daemon=True)

    def start(self) -> None:
        """Start sweeping."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the sweep in progress."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            failed = [name for name, sweep in self._sweeps.items() if not sweep()]
            for name in failed:
                SWEEPS_FAILED.labels(name).inc()
            self._ended(not failed)
            self._closing.wait(max(0.0, began + self._every_s - time.monotonic()))
