"""Waits for jobs to end and for events: woken by announcements, bounded in number, without polling loops."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from service.metrics import WAITERS, WAITS_REFUSED
from service.shares import Shares

REREAD_S = 2.0
REREAD_UNHEARD_S = 0.5  # while announcements are not heard, as without Redis
REMEMBERED = 8192


class Waiting:
    """Requests that wait. At most `limit` wait at a time; further ones are answered at once."""

    def __init__(self, limit: int) -> None:
        self.hears: Callable[[], bool] = lambda: True
        self._shares = Shares(limit, multiple=3)
        self._lock = threading.Lock()
        self._events: dict[str, list[threading.Event]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._announced = threading.Condition(self._lock)
        self._announcements = 0

    def ended(self, job_ids: Sequence[str]) -> None:
        """Wake the waiters of these jobs. Remembered for a while, since an announcement may arrive before its waiter.

        The ids are in canonical text: every API process hears of every job, and waits for few of them.
        """
        with self._lock:
            self._ended.update(dict.fromkeys(job_ids))
            for job_id in self._events.keys() & job_ids:
                for event in self._events[job_id]:
                    event.set()
            for _ in range(len(self._ended) - REMEMBERED):
                self._ended.popitem(last=False)
            self._announcements += 1
            self._announced.notify_all()

    def wait(self, tenant_id: UUID, job_id: UUID, timeout_s: float, has_ended: Callable[[], bool]) -> bool:
        """Wait until the end of the job is announced or `timeout_s` is over; False when too many requests wait already.

        `has_ended` reads the database: every REREAD_S seconds, in case an announcement was lost, and more often while
        none is heard.
        """
        with self.place(tenant_id) as placed:
            if placed:
                with self.listening(str(job_id)) as event:
                    self._wait(event, time.monotonic() + timeout_s, has_ended)
        return placed

    @contextmanager
    def place(self, tenant_id: UUID) -> Iterator[bool]:
        """A tenant's place among the waiting requests for the duration of the block; False when there is none."""
        with self._shares.place(tenant_id) as placed:
            (WAITERS if placed else WAITS_REFUSED).inc()
            try:
                yield placed
            finally:
                if placed:
                    WAITERS.dec()

    @property
    def announcements(self) -> int:
        """The number of announcements so far: read it before the database, and pass it to `wait_for_news`."""
        return self._announcements

    def wait_for_news(self, heard: int, timeout_s: float) -> bool:
        """Wait until there are more than `heard` announcements or `timeout_s` is over; whether there are.

        Called while holding a place. Announcements name jobs that ended, of any tenant.
        """
        with self._announced:
            return self._announced.wait_for(lambda: self._announcements != heard, timeout_s)

    def _wait(self, event: threading.Event, until: float, has_ended: Callable[[], bool]) -> None:
        while (left := until - time.monotonic()) > 0:
            reread_s = REREAD_S if self.hears() else REREAD_UNHEARD_S
            if event.wait(min(left, reread_s)) or has_ended():
                return

    @contextmanager
    def listening(self, job_id: str) -> Iterator[threading.Event]:
        """An event that is set once the end of this job is announced, or was announced lately."""
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
