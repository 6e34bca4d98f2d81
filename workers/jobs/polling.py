"""Polls Postgres for queued jobs when no wake-up has come for a second: without Redis, scoring is slower but goes on.

This is a separate thread, because the consumer of messages is busy connecting while Redis is unavailable. It uses the same
lanes as the messages.
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
from workers.jobs.lanes import RESTS_S, Lanes

QUIET_S = 1.0
SOON_S = 0.05  # after a poll that found jobs there may be more soon; then the pause doubles
JITTER = 0.2  # so that workers started together do not poll together

log = structlog.get_logger()


class Polling:
    """The polling of one worker process."""

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        *,
        chance: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._chance = chance
        self._clock = clock
        self._looked_at = clock()
        self._idle: dict[UUID, float] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)

    def start(self) -> None:
        """Poll from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more."""
        self._closing.set()

    def close(self) -> None:
        """Stop, and end the thread after its current micro-batch."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> int:
        """Score a micro-batch of each model that has work, in any order; returns how many jobs were claimed in this thread.

        Raises DatabaseUnavailable.
        """
        with self._database.statement() as work:
            versions = sweeps.with_work(work)
        claimed = 0
        for version_id in sorted(versions, key=lambda _: self._chance(0, 1)):
            if not self._closing.is_set() and self._clock() >= self._idle.get(version_id, 0.0):
                claimed += self._score(version_id)
        return claimed

    def _score(self, version_id: UUID) -> int:
        try:
            return self._lanes.score(version_id, polled=True)
        except DatabaseUnavailable:
            raise
        except ServiceError as error:
            log.error("polling_failed", version=str(version_id), code=error.code, exc_info=error)
        except Exception as error:
            log.error("polling_failed", version=str(version_id), code="internal_error", exc_info=error)
        self._idle[version_id] = self._clock() + RESTS_S
        return 0

    def _run(self) -> None:
        pause_s = QUIET_S
        while not self._closing.wait(self._until_quiet_s(pause_s)):
            if self._quiet_s() >= pause_s * (1 - JITTER):
                found = self._look_until_nothing_is_left()
                pause_s = SOON_S if found else min(QUIET_S, 2 * pause_s)
                self._looked_at = self._clock()

    def _until_quiet_s(self, pause_s: float) -> float:
        """How long to wait until there can have been about `pause_s` seconds without a message."""
        return max(SOON_S / 2, self._chance(1 - JITTER, 1 + JITTER) * pause_s - self._quiet_s())

    def _quiet_s(self) -> float:
        """How long there has been neither a message nor a poll."""
        return min(self._lanes.quiet_s, self._clock() - self._looked_at)

    def _look_until_nothing_is_left(self) -> bool:
        """Poll until there is no work left; returns whether there was any."""
        found = False
        try:
            while self.look() and not self._closing.is_set():
                found = True
        except DatabaseUnavailable:
            log.warning("polling_put_off", reason=DatabaseUnavailable.code)
            self._closing.wait(QUIET_S)
        except Exception as error:
            log.error("polling_failed", exc_info=error)
            self._closing.wait(RESTS_S)
        return found
