"""Requests that wait for a job to end: woken by announcements, bounded in number, never in a sleep loop."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from service.metrics import WAITERS, WAITS_REFUSED

REREAD_S = 2.0
REMEMBERED = 8192


class Waiting:
    """Who waits for which job. At most `limit` requests wait at a time; further ones are answered at once."""

    def __init__(self, limit: int) -> None:
        self._places = threading.BoundedSemaphore(limit) if limit else None
        self._lock = threading.Lock()
        self._events: dict[UUID, list[threading.Event]] = {}
        self._ended: OrderedDict[UUID, None] = OrderedDict()

    def ended(self, job_ids: Sequence[UUID]) -> None:
        """Wake those who wait for these jobs; remembered for a while, as an announcement may outrun its waiter."""
        with self._lock:
            for job_id in job_ids:
                self._ended[job_id] = None
                for event in self._events.get(job_id, ()):
                    event.set()
            while len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)

    def wait(self, job_id: UUID, timeout_s: float, has_ended: Callable[[], bool]) -> bool:
        """Wait until the job is said to have ended or `timeout_s` is over; whether it was waited for at all.

        `has_ended` reads the database: every REREAD_S seconds, in case an announcement was lost.
        """
        if self._places is None or not self._places.acquire(blocking=False):
            WAITS_REFUSED.inc()
            return False
        WAITERS.inc()
        try:
            with self._listening(job_id) as event:
                self._wait(event, time.monotonic() + timeout_s, has_ended)
        finally:
            WAITERS.dec()
            self._places.release()
        return True

    def _wait(self, event: threading.Event, until: float, has_ended: Callable[[], bool]) -> None:
        while (left := until - time.monotonic()) > 0:
            if event.wait(min(left, REREAD_S)) or has_ended():
                return

    @contextmanager
    def _listening(self, job_id: UUID) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            if job_id in self._ended:
                event.set()
            self._events.setdefault(job_id, []).append(event)
        try:
            yield event
        finally:
            with self._lock:
                others = self._events[job_id]
                others.remove(event)
                if not others:
                    del self._events[job_id]
