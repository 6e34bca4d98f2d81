"""Looks into Postgres for queued jobs when no wake-up has come for a second: without Redis scoring is slower, never absent.

A thread of its own, since the consumer of messages is busy connecting while Redis is away. It scores through the same
scorer as the messages, which does one micro-batch at a time.
"""

import random
import threading
import time
from collections.abc import Callable
from uuid import UUID

import structlog

from service.db import Database
from service.errors import DatabaseUnavailable, ServiceError
from service.jobs import sweeps
from workers.scoring import Scorer

QUIET_S = 1.0
JITTER = 0.2  # so that workers that were started together do not look together
RESTS_S = 30.0  # of a model that could not be scored with: each of its messages tries it, too

log = structlog.get_logger()


class Polling:
    """The looks of one worker process."""

    def __init__(
        self,
        database: Database,
        scorer: Scorer,
        *,
        chance: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._scorer = scorer
        self._chance = chance
        self._clock = clock
        self._resting: dict[UUID, float] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing.set()

    def close(self) -> None:
        """Stop, and end the thread once what it scores is done."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> int:
        """Score a micro-batch of each model that has work, in any order; how many jobs were claimed.

        Raises DatabaseUnavailable.
        """
        with self._database.statement() as work:
            versions = sweeps.with_work(work)
        claimed = 0
        for version_id in sorted(versions, key=lambda _: self._chance(0, 1)):
            if not self._closing.is_set() and self._clock() >= self._resting.get(version_id, 0.0):
                claimed += self._score(version_id)
        return claimed

    def _score(self, version_id: UUID) -> int:
        try:
            return self._scorer.score(version_id)
        except DatabaseUnavailable:
            raise
        except ServiceError as error:
            log.error("polling_failed", version=str(version_id), code=error.code, exc_info=error)
        except Exception as error:
            log.error("polling_failed", version=str(version_id), code="internal_error", exc_info=error)
        self._resting[version_id] = self._clock() + RESTS_S
        return 0

    def _run(self) -> None:
        while not self._closing.wait(self._pause_s()):
            if self._scorer.quiet_s >= QUIET_S * (1 - JITTER):
                self._look_until_nothing_is_left()

    def _pause_s(self) -> float:
        """Until it may have been quiet for long enough."""
        return max(0.05, self._chance(1 - JITTER, 1 + JITTER) * QUIET_S - self._scorer.quiet_s)

    def _look_until_nothing_is_left(self) -> None:
        try:
            while self.look() and not self._closing.is_set():
                pass
        except DatabaseUnavailable:
            log.warning("polling_put_off", reason=DatabaseUnavailable.code)
            self._closing.wait(QUIET_S)
        except Exception as error:
            log.error("polling_failed", exc_info=error)
            self._closing.wait(RESTS_S)
