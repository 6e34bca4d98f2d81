"""Limits on the length of the queue: whether more jobs may be accepted, for one tenant and in all. Stores nothing."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from service.db import UnitOfWork
from service.errors import DatabaseUnavailable, QueueFull, TenantQueueFull
from service.metrics import SUBMITS_REFUSED

COUNTED_EVERY_S = 1.0
PAUSES = 50  # of a count's own length until the next one: counting takes up to 2 % of one Postgres backend

Tally = Mapping[UUID | None, int]  # jobs by tenant; None stands for all tenants

# Each part has the condition of its partial index, so jobs that have ended are not read. Waiting jobs count as well,
# because nothing can be refused later, when they are queued.
QUEUED = """
SELECT tenant_id, count(*) AS jobs FROM (
    SELECT tenant_id FROM job WHERE state = 'queued' AND attempt = 0
    UNION ALL
    SELECT tenant_id FROM job WHERE state = 'queued' AND attempt > 0
    UNION ALL
    SELECT tenant_id FROM job WHERE state = 'waiting'
) AS waiting GROUP BY ROLLUP (tenant_id)
"""


def queued(work: UnitOfWork) -> Tally:
    """How many jobs are queued now, by tenant and in all."""
    return {row.tenant_id: row.jobs for row in work.execute(QUEUED)}


@dataclass
class Room:
    """Places of the queue that were reserved; `filled`: how many of them are used."""

    filled: int


class Admission:
    """Bounds on queued jobs, checked against the last count plus what this process has accepted since.

    The bounds are soft. Counts are at least a second apart, or 50 times as long as a count takes; in between, a process
    sees neither what other processes accept nor what workers claim. So the queue may exceed a bound by what the others
    accept in that time, and jobs may be refused for that long after the queue has become shorter. While one caller
    counts, the others use the last count.
    """

    def __init__(
        self,
        count: Callable[[], Tally],
        *,
        most: int,
        most_of_tenant: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._clock = clock
        self._counting = threading.Lock()
        self._lock = threading.Lock()
        self._counted: Tally = {}
        self._added: Counter[UUID | None] = Counter()
        self._tried = False
        self._due = -math.inf

    @contextmanager
    def room(self, tenant_id: UUID, jobs: int) -> Iterator[Room]:
        """Reserve room for all of `jobs` or none. What the block does not fill is released; all of it, if the block fails.

        Raises TenantQueueFull or QueueFull.
        """
        if jobs:
            self._look_again()
            self._take(tenant_id, jobs)
        room = Room(filled=jobs)
        try:
            yield room
        except BaseException:
            room.filled = 0
            raise
        finally:
            with self._lock:
                self._add(tenant_id, room.filled - jobs)

    def _take(self, tenant_id: UUID, jobs: int) -> None:
        refused: type[QueueFull] | None = None
        with self._lock:
            if self._known(tenant_id) + jobs > self._most_of_tenant:
                refused = TenantQueueFull
            elif self._known(None) + jobs > self._most:
                refused = QueueFull
            else:
                self._add(tenant_id, jobs)
        if refused is not None:
            SUBMITS_REFUSED.labels(refused.code).inc()
            raise refused(max(1, math.ceil(self._due - self._clock())))

    def _known(self, tenant_id: UUID | None) -> int:
        return self._counted.get(tenant_id, 0) + self._added[tenant_id]

    def _add(self, tenant_id: UUID, jobs: int) -> None:
        self._added[tenant_id] += jobs
        self._added[None] += jobs

    def _look_again(self) -> None:
        """When a count is due, one caller counts; the others wait for it only if there has been none yet."""
        if self._clock() < self._due or not self._counting.acquire(blocking=not self._tried):
            return
        try:
            if self._clock() >= self._due:
                self._refresh()
        finally:
            self._counting.release()

    def _refresh(self) -> None:
        """Count again. Without Postgres the last count is kept, and the submit that follows reports the fault."""
        began, pause_s = self._clock(), COUNTED_EVERY_S
        with self._lock:
            before = self._added.copy()
        try:
            counted = self._count()
        except DatabaseUnavailable:
            pass
        else:
            with self._lock:
                self._counted, self._added = counted, self._added - before
            pause_s = max(pause_s, PAUSES * (self._clock() - began))
        self._tried, self._due = True, self._clock() + pause_s
