"""Wake-ups for a model that this worker refuses go on: the worker that has waited longest takes them next."""

import time
from uuid import UUID

from service.db import Database
from service.jobs import execution
from service.queue import TaskQueue, score_wake_up

REFUSED_WAKE_S = 0.25


class HandingOn:
    """Sends wake-ups on, at most once every REFUSED_WAKE_S, because one may come back to this worker each time."""

    def __init__(self, database: Database, queue: TaskQueue) -> None:
        self._database = database
        self._queue = queue
        self._handed_on: dict[UUID, float] = {}

    def wake_others(self, version_id: UUID) -> None:
        """Send a wake-up, if jobs of the model wait. Raises DatabaseUnavailable."""
        now = time.monotonic()
        if now < self._handed_on.get(version_id, float("-inf")) + REFUSED_WAKE_S:
            return
        self._handed_on[version_id] = now
        with self._database.statement() as work:
            waiting = execution.fresh_count(work, model_version_id=version_id, most=1)
        if waiting:
            self._queue.wake(score_wake_up(version_id))
