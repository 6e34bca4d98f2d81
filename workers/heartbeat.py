"""Renews the leases of current work as long as the work makes progress.

A plain timer would keep a hung worker's leases alive forever. Here the work declares how long its current step may take;
after that the run is stopped, and if that does not help, the process ends itself so that others can take over.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from service import failpoints
from service.db import Database
from service.errors import DatabaseUnavailable
from service.failpoints import Point
from service.leases import Lease, renew

HANG_EXIT_STATUS = 75
BEATS_PER_LEASE = 3

log = structlog.get_logger()


class Heartbeat:
    """A thread that renews leases while work is held. `lost` tells which leases were lost."""

    def __init__(
        self,
        database: Database,
        *,
        table: str,
        lease_s: float,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._database = database
        self._table = table
        self._lease_s = lease_s
        self._beat_s = lease_s / BEATS_PER_LEASE
        self._end_process = end_process
        self._condition = threading.Condition()
        self._held: tuple[Lease, ...] = ()
        self._step_ends = 0.0
        self._on_overrun: Callable[[], None] | None = None
        self._told_to_stop = False
        self._next_beat = 0.0
        self._looks_at = 0.0
        self._closing = False
        self.lost: set[UUID] = set()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def hold(self, held: Sequence[Lease], *, step_s: float) -> None:
        """Start renewing `held`; the first step may take `step_s` seconds."""
        with self._condition:
            self._held, self.lost = tuple(held), set()
            self._next_beat = time.monotonic() + self._beat_s
            self._begin_step(step_s, None)

    def change(self, held: Sequence[Lease]) -> None:
        """Renew these instead, as some have joined or left: the next beat and the step are as they were."""
        with self._condition:
            self._held = tuple(held)

    def step(self, step_s: float, on_overrun: Callable[[], None] | None = None) -> None:
        """Report progress; the next step may take `step_s` seconds, after which `on_overrun` is called once."""
        with self._condition:
            self._begin_step(step_s, on_overrun)

    def let_go(self) -> None:
        """Stop renewing: the work is done or released."""
        with self._condition:
            self._held = ()

    @property
    def holds(self) -> bool:
        """Whether work is held. It makes progress, since a hung process would have ended itself."""
        return bool(self._held)

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout=5)

    def _begin_step(self, step_s: float, on_overrun: Callable[[], None] | None) -> None:
        self._step_ends = time.monotonic() + step_s
        self._on_overrun, self._told_to_stop = on_overrun, False
        if min(self._next_beat, self._step_ends) < self._looks_at:
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._closing:
                    return
                self._look_later()
                held, now = self._held, time.monotonic()
            if held and now >= self._step_ends:
                self._overrun(now)
            if held and now >= self._next_beat:
                self._beat(held)

    def _look_later(self) -> None:
        """Sleep until something may be due. When idle, check once a beat, so that no claim has to wake this thread."""
        now = time.monotonic()
        self._looks_at = min(self._next_beat, self._step_ends) if self._held else now + self._beat_s
        self._condition.wait(timeout=max(0.0, self._looks_at - now))

    def _overrun(self, now: float) -> None:
        """First ask the step to stop; if it does not within a beat, end the process."""
        with self._condition:
            if now < self._step_ends:
                return
            stop, first = self._on_overrun, not self._told_to_stop
            self._told_to_stop = True
            self._step_ends = now + self._beat_s
        if first and stop is not None:
            log.warning("step_overran", table=self._table, held=len(self._held))
            try:
                stop()
            except Exception as error:
                log.error("step_not_stopped", table=self._table, exc_info=error)
            return
        log.error("step_hung", table=self._table, jobs=[str(lease.id) for lease in self._held])
        self._end_process(HANG_EXIT_STATUS)

    def _beat(self, held: Sequence[Lease]) -> None:
        self._next_beat = time.monotonic() + self._beat_s
        failpoints.reach(Point.HEARTBEAT_BEFORE)
        try:
            with self._database.statement() as work:
                kept = renew(work, self._table, held, self._lease_s)
            failpoints.reach(Point.HEARTBEAT_AFTER)
        except DatabaseUnavailable:
            log.warning("leases_not_renewed", table=self._table, held=len(held))
            return
        with self._condition:
            self.lost = {lease.id for lease in set(held).intersection(self._held)} - kept
