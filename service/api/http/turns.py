"""Has requests of all tenants come to their turn, by what they cost.

What a request costs is the interpreter's time, and threads that want it wait for each other. So while several tenants send
requests, one request of each is worked on at a time, and of those that take long the next one waits until its tenant has
taken but a small part of the time. A JSON text is parsed in one go while no other thread of the process runs, and is several
times as large once it is parsed and checked: large bodies take room, as their objects do, and the next one of a tenant that
stops the others for long waits for many times as long before it is parsed.
"""

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from uuid import UUID

from flask import Flask, Response, g, request

from service.accounts import Principal
from service.api.http.places import ALWAYS, PROBES
from service.errors import BodyTooLarge, TenantBusy
from service.process import give_back
from service.shares import OneAtATime, Shares

KB, MB = 2**10, 2**20
SMALL_BYTES, LARGE_BYTES = 64 * KB, MB  # of a body: what takes no room, and what stands in line for it
SHARED_S = 5.0  # for which a tenant counts as one of several after its last request
ROOM_MB = 48  # of large bodies, from when they are read until their requests are answered
PATIENCE_S = 20.0  # of a request for room and for its turn
MOST_OBJECTS_MB = 136  # of one request, and of all whose objects are large
LARGE_OBJECTS_MB = 16
MOST_PARSING_S = 0.25
LONG_S = 0.005  # of work, from which on requests of a kind are spaced
RESTS_TIMES = 7  # as long as the last one of a kind was worked on: a tenant has an eighth of the interpreter for each kind
QUARTER = 4  # a tenant has a quarter of the interpreter at most, but for
CREDIT_S = 0.02  # that it did not use
NUMBER_BYTES = 54
PACED_FROM_S = 0.05
COUNTED_BYTES = 64 * KB  # at a time
LONG_VALUES = 500  # of a body that is paced as well while others send requests: what it asks of workers lasts longer than this
# A tenant's requests may stop the others for so small a part of the time that their 95th percentiles do not show it.
PAUSES_TIMES = 25
PAUSES_BESIDE_OTHERS_TIMES = 50
STRANGERS_S = 0.003  # for each answer to a request without a good key, one after the other: some 300 a second
PROBERS_S = 0.002  # for each answer to a probe
TRIMMED_FROM_MB = 4.0  # of bodies, or objects: what they took is given back to the system

# Whoever sends no good key, and whoever asks whether the process is well, as if they were one tenant each.
STRANGERS, PROBERS = UUID(int=0), UUID(int=1)


class Cost(NamedTuple):
    """What a JSON text costs: its values, seconds in which no other thread runs, and MB until its input is stored."""

    values: int
    seconds: float
    megabytes: float

    @property
    def is_too_high(self) -> bool:
        """Whether the text is not to be parsed."""
        return self.seconds > MOST_PARSING_S or self.megabytes > MOST_OBJECTS_MB


def cost_of(body: bytes) -> Cost:
    """An estimate from above, by the signs that separate values; those within strings are counted as well.

    The interpreter is free between parts, and what is too much is counted no further.

    Of jiter on one core of an AMD EPYC: a member of an object takes 0.9 µs and some 250 bytes, an empty list or object
    0.2 µs and 80 bytes. A number takes 0.04 µs and 54 bytes: 40 as an object in a list, 8 in the array that it is checked in,
    6 as stored (models/pipelines/long_numbers.py).
    """
    members = containers = values = 0
    cost = Cost(0, 0.0, 0.0)
    for begin in range(0, len(body), COUNTED_BYTES):
        end = begin + COUNTED_BYTES
        members += body.count(b":", begin, end)
        containers += body.count(b"[", begin, end) + body.count(b"{", begin, end)
        values += body.count(b",", begin, end)
        cost = Cost(
            members + values,
            members * 1e-6 + containers * 0.2e-6 + values * 0.04e-6,
            (members * 250 + containers * 80 + values * NUMBER_BYTES) / MB,
        )
        if cost.is_too_high:
            return cost
    return cost


class Turn(NamedTuple):
    """That a request is worked on: of which kind, whose, and what its thread had worked before."""

    kind: Hashable
    tenant_id: UUID
    began_s: float


class Turns:
    """The requests of one API process, of which so many may wait in line."""

    def __init__(
        self,
        line: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._line = Shares(line, multiple=3)
        self._room = Shares(ROOM_MB * MB // KB, multiple=1)
        self._objects = Shares(MOST_OBJECTS_MB, multiple=MOST_OBJECTS_MB)  # all of them may be one request's
        self._turns = OneAtATime()
        self._lock = threading.Lock()
        self._seen: dict[UUID, float] = {}
        self._next: dict[Hashable, float] = {}
        self._clock = clock
        self._sleep = sleep

    def install(self, app: Flask) -> None:
        """Give back what a request has taken once it has been worked on."""
        app.after_request(self._hold_up)
        app.teardown_request(lambda _: self._give_back())

    def begin(self, principal: Principal) -> None:
        """Note that this tenant sends requests; wait for the turn of this one unless it has a body. Raises TenantBusy.

        Once for each request: a stream asks from time to time who its reader is.
        """
        if "known" in g:
            return
        g.known = True
        with self._lock:
            now = self._clock()
            self._seen.pop(principal.tenant_id, None)
            self._seen[principal.tenant_id] = now  # the last one stands last
            while self._seen[oldest := next(iter(self._seen))] < now - SHARED_S:
                del self._seen[oldest]
        if not request.content_length and "Transfer-Encoding" not in request.headers:
            self._take_turn(principal.tenant_id)

    def admit(self, principal: Principal, length: int) -> None:
        """Take room for a body of so many bytes that is to be read. Raises TenantBusy."""
        if length <= SMALL_BYTES:
            return
        if length > LARGE_BYTES:
            self._stand_in_line(principal.tenant_id)
        places = -(-length // KB)
        if not self._room.take(principal.tenant_id, places=places):
            self._stand_in_line(principal.tenant_id)
            if not self._room.take(principal.tenant_id, places=places, wait_s=PATIENCE_S):
                raise TenantBusy
        g.room = principal.tenant_id, places

    def take(self, principal: Principal, body: bytes) -> None:
        """Wait for the turn of a body that has been read, to be parsed. Raises BodyTooLarge or TenantBusy."""
        cost = cost_of(body)
        if cost.is_too_high:
            raise BodyTooLarge(
                "The body has too many values to be parsed at once. Send fewer jobs in a request, or a batch with an upload."
            )
        g.objects_mb = cost.megabytes
        is_alone = self._is_alone(principal.tenant_id)
        if is_alone and cost.seconds >= PACED_FROM_S:
            self._pace(principal.tenant_id, PAUSES_TIMES * cost.seconds)
        if not is_alone and cost.values >= LONG_VALUES:
            self._stand_in_line(principal.tenant_id)
            self._pace(principal.tenant_id, PAUSES_BESIDE_OTHERS_TIMES * cost.seconds)
        self._take_objects(principal.tenant_id, math.ceil(cost.megabytes))
        self._take_turn(principal.tenant_id)

    @contextmanager
    def paused(self, *, keeps_room: bool = False) -> Iterator[None]:
        """Leave the line, and the turn for the duration of the block, in which the request waits for something else.

        Waits have places of their own: held up in line, they would keep out what their tenant sends next. The room is left too,
        unless the request still has its body or what was parsed of it.
        """
        if not keeps_room:
            self._leave_room()
        tenant_id = self.leave()
        try:
            yield
        finally:
            if tenant_id is not None:
                with suppress(TenantBusy):
                    self._take_turn(tenant_id, in_line=False)

    def leave(self) -> UUID | None:
        """Leave the line and the turn, to whoever is next; whose turn it was, if it was one."""
        self._leave_line()
        turn: Turn | None = g.pop("turn", None)
        if turn is None:
            return None
        worked, now = time.thread_time() - turn.began_s, self._clock()
        with self._lock:
            since = max(self._next.get(turn.tenant_id, 0.0), now - CREDIT_S)
            self._put_off(turn.tenant_id, since + QUARTER * worked)
            if worked >= LONG_S:
                self._put_off(turn.kind, now + RESTS_TIMES * worked)
        self._turns.leave(turn.tenant_id)
        self._turns.leave(turn.kind)
        return turn.tenant_id

    def _take_turn(self, tenant_id: UUID, *, in_line: bool = True) -> None:
        """Wait until no other request of this kind, then of this tenant, is worked on. Raises TenantBusy.

        A tenant that is alone waits for neither.
        """
        if "turn" in g:
            return
        kind = tenant_id, request.endpoint
        if self._is_alone(tenant_id):
            self._turns.join(kind)
            self._turns.join(tenant_id)
        else:
            self._wait_for(kind, tenant_id, in_line=in_line)
            try:
                self._rest(kind, tenant_id, in_line=in_line)
                self._wait_for(tenant_id, tenant_id, in_line=in_line)
            except BaseException:
                self._turns.leave(kind)
                raise
            self._rest(tenant_id, tenant_id, in_line=False)
        g.turn = Turn(kind, tenant_id, time.thread_time())

    def _wait_for(self, holder: Hashable, tenant_id: UUID, *, in_line: bool) -> None:
        if self._turns.take(holder):
            return
        if in_line:
            self._stand_in_line(tenant_id)
        if not self._turns.take(holder, wait_s=PATIENCE_S):
            raise TenantBusy

    def _rest(self, holder: Hashable, tenant_id: UUID, *, in_line: bool) -> None:
        """Wait until the next request of a holder may be worked on."""
        rests_s = self._next.get(holder, 0.0) - self._clock()
        if rests_s > 0:
            if in_line:
                self._stand_in_line(tenant_id)
            self._sleep(min(rests_s, PATIENCE_S))

    def _pace(self, tenant_id: UUID, pause_s: float) -> None:
        """Wait for what the tenant's last bodies have to pause, and put its next one off. Raises TenantBusy."""
        with self._lock:
            now = self._clock()
            body = tenant_id, "body"
            begins = max(now, self._next.get(body, now))
            if begins > now + PATIENCE_S:
                raise TenantBusy
            self._put_off(body, begins + pause_s)
        self._sleep(begins - now)

    def _put_off(self, holder: Hashable, until: float) -> None:
        """Note when a holder's next request may begin. Called with the lock held."""
        now = self._clock()
        self._next = {each: begins for each, begins in self._next.items() if begins > now - CREDIT_S}
        self._next[holder] = until

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
            since = self._clock() - SHARED_S
            return not any(at >= since for each, at in self._seen.items() if each != tenant_id)

    def _hold_up(self, response: Response) -> Response:
        """Have strangers wait for each other's answers while tenants send requests, and probes for those to probes."""
        if "known" in g or self._is_alone(STRANGERS):
            return response
        probes = request.path in (ALWAYS, *PROBES)
        holder = PROBERS if probes else STRANGERS
        with suppress(TenantBusy):
            self._wait_for(holder, holder, in_line=True)
            self._sleep(PROBERS_S if probes else STRANGERS_S)
            self._turns.leave(holder)
        return response

    def _take_objects(self, tenant_id: UUID, places: int) -> None:
        """Raises TenantBusy."""
        if places <= LARGE_OBJECTS_MB:
            return
        if not self._objects.take(tenant_id, places=places, wait_s=PATIENCE_S):
            raise TenantBusy
        g.objects = tenant_id, places

    def _give_back(self) -> None:
        self.leave()
        self._leave_room()

    def _leave_room(self) -> None:
        tenant_id, places = g.pop("room", (None, 0))
        if max(places * KB / MB, g.pop("objects_mb", 0.0)) > TRIMMED_FROM_MB:
            give_back()
        if tenant_id is not None:
            self._room.leave(tenant_id, places=places)
        tenant_id, places = g.pop("objects", (None, 0))
        if tenant_id is not None:
            self._objects.leave(tenant_id, places=places)

    def _leave_line(self) -> None:
        if (tenant_id := g.pop("line", None)) is not None:
            self._line.leave(tenant_id)
