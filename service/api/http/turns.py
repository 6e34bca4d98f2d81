"""Has long requests of all tenants come to their turn.

What a request of many values takes is the interpreter's time, and threads that want it wait for each other. So while several
tenants send requests, one long request of each is worked on at a time. A JSON text is parsed in one go while no other thread of
the process runs, and is several times as large once it is parsed: large bodies take room, and the next one of a tenant that
stops the others for long waits for many times as long before it is parsed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from flask import Flask, g

from service.accounts import Principal
from service.errors import BodyTooLarge, TenantBusy
from service.process import give_back
from service.shares import Shares

LARGE_BYTES = MB = 2**20  # of a body: most pictures are smaller
LONG_VALUES = 500  # of a request's body, from which on it takes a turn
LINE_SHARE = 2  # of the threads, for requests that have a turn or wait for one: others stay for short ones
LONG_AT_ONCE = 2  # more are hardly done sooner: they are bound by the interpreter
SHARED_S = 5.0  # for which a tenant counts as one of several after its last request
ROOM_MB = 48  # of large bodies, from when they are read until their requests are answered
PATIENCE_S = 20.0  # of a request for room and for its turn
MOST_OBJECTS_MB = 100.0
MOST_PARSING_S = 0.25
PACED_FROM_S = 0.05
# A tenant's requests may stop the others for so small a part of the time that their 95th percentiles do not show it.
PAUSES_TIMES = 25
TRIMMED_FROM_MB = 4.0  # of bodies, or objects: what they took is given back to the system


class Cost(NamedTuple):
    """What parsing a JSON text costs: its values, seconds in which no other thread runs, and MB of objects."""

    values: int
    seconds: float
    megabytes: float


def cost_of(body: bytes) -> Cost:
    """An estimate from above, by the signs that separate values; those within strings are counted as well.

    Of jiter on one core of an AMD EPYC: a member of an object takes 0.9 µs and some 250 bytes, an empty list or object
    0.2 µs and 80 bytes, a number 0.04 µs and 32 bytes.
    """
    members, values = body.count(b":"), body.count(b",")
    containers = body.count(b"[") + body.count(b"{")
    return Cost(
        members + values,
        members * 1e-6 + containers * 0.2e-6 + values * 0.04e-6,
        (members * 250 + containers * 80 + values * 32) / MB,
    )


class Turns:
    """The requests of one API process with so many threads."""

    def __init__(
        self,
        threads: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._line = Shares(max(1, threads // LINE_SHARE), multiple=3)
        self._room = Shares(ROOM_MB, multiple=1)
        self._turns = Shares(LONG_AT_ONCE, multiple=1)
        self._lock = threading.Lock()
        self._seen: dict[UUID, float] = {}
        self._next: dict[UUID, float] = {}
        self._clock = clock
        self._sleep = sleep

    def install(self, app: Flask) -> None:
        """Give back what a request has taken once it has been worked on."""
        app.teardown_request(lambda _: self._leave())

    def begin(self, principal: Principal) -> None:
        """Note that this tenant sends requests."""
        with self._lock:
            now = self._clock()
            self._seen.pop(principal.tenant_id, None)
            self._seen[principal.tenant_id] = now  # the last one stands last
            while self._seen[oldest := next(iter(self._seen))] < now - SHARED_S:
                del self._seen[oldest]

    def admit(self, principal: Principal, length: int) -> None:
        """Take room for a body of so many bytes that is to be read. Raises TenantBusy."""
        if length <= LARGE_BYTES:
            return
        self._stand_in_line(principal.tenant_id)
        places = -(-length // MB)
        if not self._room.take(principal.tenant_id, places=places, wait_s=PATIENCE_S):
            raise TenantBusy
        g.room = principal.tenant_id, places

    def take(self, principal: Principal, body: bytes) -> None:
        """Wait for the turn of a body that has been read, to be parsed. Raises BodyTooLarge or TenantBusy."""
        cost = cost_of(body)
        if cost.seconds > MOST_PARSING_S or cost.megabytes > MOST_OBJECTS_MB:
            raise BodyTooLarge(
                "The body has too many values to be parsed at once. Send fewer jobs in a request, or a batch with an upload."
            )
        is_long = cost.values >= LONG_VALUES and not self._is_alone(principal.tenant_id)
        if is_long:
            self._stand_in_line(principal.tenant_id)
        until = self._clock() + PATIENCE_S
        self._pace(principal.tenant_id, cost, until)
        g.objects_mb = cost.megabytes
        if is_long:
            if not self._turns.take(principal.tenant_id, wait_s=until - self._clock()):
                raise TenantBusy
            g.turn = principal.tenant_id

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the line, and the turn for the duration of the block, in which the request waits.

        Waits have places of their own: held up in line, they would keep out what their tenant sends next.
        """
        self._leave_line()
        tenant_id = g.pop("turn", None)
        if tenant_id is not None:
            self._turns.leave(tenant_id)
        try:
            yield
        finally:
            if tenant_id is not None and self._turns.take(tenant_id, wait_s=PATIENCE_S):
                g.turn = tenant_id

    def _stand_in_line(self, tenant_id: UUID) -> None:
        """Raises TenantBusy when the tenant has too many requests in line, each of which holds a thread.

        At once when there are other tenants, so that they find one; alone it may wait.
        """
        if "line" not in g:
            if not self._line.take(tenant_id, wait_s=PATIENCE_S if self._is_alone(tenant_id) else 0.0):
                raise TenantBusy
            g.line = tenant_id

    def _is_alone(self, tenant_id: UUID) -> bool:
        """Whether no other tenant has sent a request lately."""
        with self._lock:
            return self._seen.keys() <= {tenant_id}

    def _pace(self, tenant_id: UUID, cost: Cost, until: float) -> None:
        """Wait until a body that takes long to parse may be parsed after its tenant's last one."""
        if cost.seconds < PACED_FROM_S:
            return
        with self._lock:
            now = self._clock()
            begins = max(now, self._next.get(tenant_id, now))
            if begins > until:
                raise TenantBusy
            self._next = {tenant: each for tenant, each in self._next.items() if each > now}
            self._next[tenant_id] = begins + PAUSES_TIMES * cost.seconds
        self._sleep(begins - now)

    def _leave(self) -> None:
        if (tenant_id := g.pop("turn", None)) is not None:
            self._turns.leave(tenant_id)
        tenant_id, room_mb = g.pop("room", (None, 0))
        if max(room_mb, g.pop("objects_mb", 0.0)) > TRIMMED_FROM_MB:
            give_back()
        if tenant_id is not None:
            self._room.leave(tenant_id, places=room_mb)
        self._leave_line()

    def _leave_line(self) -> None:
        if (tenant_id := g.pop("line", None)) is not None:
            self._line.leave(tenant_id)
