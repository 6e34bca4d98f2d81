"""Sends webhook deliveries: claims what is due, makes many tries concurrently, records their outcomes.

One thread with an event loop of its own; a pump claims and records in turn, so that both come in batches that grow
under load. A receiver that is slow or dead holds only its own few places, and those of a tenant together leave some to
others. Leases are renewed while their tries are in hand; after a kill they lapse, and the event is sent again under the
same id.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog

from service import failpoints
from service.accounts import TenantCiphers
from service.db import Database
from service.egress import EgressRules
from service.errors import DatabaseUnavailable, PayloadUnreadable, ServiceError
from service.failpoints import Point
from service.gate import Gate
from service.leases import Lease, renew
from service.lifecycle import DeliveryState
from service.metrics import DELIVERIES_FENCED_OFF, DELIVERY_SECONDS, DELIVERY_TRIES
from service.webhooks import deliveries, endpoints, messages
from service.webhooks.deliveries import ClaimedDelivery, Tried
from service.webhooks.rules import TenantRules
from workers.webhooks.outbound import Outbound, SendFailed

BEATS_PER_LEASE = 3
AWAY_PAUSE_S = 0.5
STOPS_WITHIN_S = 4.0
LOOK_S = 1.0
CLAIMED_AT_ONCE = 64

Result = TypeVar("Result")

log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """How many tries are in flight, in all and to one endpoint in good health."""

    in_flight: int = 256
    per_endpoint: int = 16


class Dispatcher:
    """The deliveries of this process. `wake` it when some may be due; it also polls each second."""

    def __init__(
        self,
        *,
        owner: str,
        database: Database,
        ciphers: TenantCiphers,
        rules: TenantRules,
        outbound: Callable[[EgressRules], Outbound],
        public_url: str,
        lease_s: float,
        limits: Limits = Limits(),
        gate: Gate | None = None,
    ) -> None:
        """`outbound` is called in the event loop that will use what it makes, once for each different rules of tenants."""
        self._owner = owner
        self._database = database
        self._ciphers = ciphers
        self._rules = rules
        self._make_outbound = outbound
        self._outbounds: dict[EgressRules, Outbound] = {}  # tenants with other rules share no connection
        self._public_url = public_url
        self._lease_s = lease_s
        self._limits = limits
        self._gate = gate or Gate(owner, tuple)
        self._loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="deliveries-database")
        self._busy: Counter[UUID] = Counter()
        self._in_hand: set[Lease] = set()  # one that was lost may be claimed again meanwhile
        self._tries: set[asyncio.Task[None]] = set()
        self._tried: list[Tried] = []
        self._signal = asyncio.Event()
        self._due = False
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="deliveries", daemon=True)

    def start(self) -> None:
        """Deliver from now on."""
        self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Deliveries may be due. From any thread; does not wait."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._look)

    @property
    def in_flight(self) -> int:
        """How many deliveries are being sent."""
        return len(self._in_hand)

    def close(self) -> None:
        """Finish tries that end within seconds, and give the rest back."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(timeout=2 * STOPS_WITHIN_S)
        self._threads.shutdown(wait=False)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    def _look(self) -> None:
        self._due = True
        self._signal.set()

    def _stop(self) -> None:
        self._closing = True
        self._signal.set()

    async def _run(self) -> None:
        beats = self._loop.create_task(self._beat())
        try:
            while not self._closing:
                overslept = not await self._signaled()
                await self._pump(look=overslept)
            await self._finish()
        finally:
            beats.cancel()
            for outbound in self._outbounds.values():
                await outbound.aclose()

    async def _signaled(self) -> bool:
        """Wait for a signal; whether it came within a second. A wake-up may be lost, or Redis unavailable."""
        try:
            await asyncio.wait_for(self._signal.wait(), LOOK_S)
        except TimeoutError:
            return False
        self._signal.clear()
        return True

    async def _pump(self, *, look: bool) -> None:
        """Record what has been tried, then claim what is due: after a wake-up, or a poll."""
        try:
            await self._record()
            if look:
                due = await self._in_thread(self._are_due)
                self._due = self._due or due
            if self._due and not self._closing:
                await self._claim()
        except DatabaseUnavailable:
            log.warning("deliveries_put_off", tried=len(self._tried))
            self._loop.call_later(AWAY_PAUSE_S, self._look)
        except Exception as error:
            log.error("deliveries_failed", exc_info=error)
            self._loop.call_later(AWAY_PAUSE_S, self._look)

    def _are_due(self) -> bool:
        with self._database.statement() as work:
            return deliveries.due(work)

    async def _claim(self) -> None:
        """Claim as many as there are places for; when there may be more, the next record leads here again."""
        free = self._limits.in_flight - len(self._in_hand)
        places = min(CLAIMED_AT_ONCE, free)
        if places <= 0 or not self._gate.open:
            return
        busy = dict(self._busy)
        self._due = False  # before the claim: what becomes due beside it may not be among what it finds
        claimed = await self._in_thread(lambda: self._claimed(places, free, busy))
        failpoints.reach(Point.DELIVER_CLAIM_AFTER)
        self._due = self._due or bool(claimed)
        for delivery in claimed:
            self._in_hand.add(delivery.lease)
            self._busy[delivery.endpoint_id] += 1
            task = self._loop.create_task(self._try(delivery))
            self._tries.add(task)
            task.add_done_callback(self._tries.discard)
        if len(claimed) == places:
            self._signal.set()

    def _claimed(self, places: int, free: int, busy: dict[UUID, int]) -> list[ClaimedDelivery]:
        with self._database.statement() as work:
            claimed = deliveries.claim(
                work,
                limit=places,
                free=free,
                busy=busy,
                per_endpoint=self._limits.per_endpoint,
                owner=self._owner,
                lease_s=self._lease_s,
            )
        try:  # read here, not in the event loop; without Postgres the leases lapse untried
            for tenant_id in {delivery.tenant_id for delivery in claimed}:
                self._rules.of(tenant_id)
                self._ciphers.of(tenant_id)
        except PayloadUnreadable:
            self._gate.look()
            if (
                not self._gate.open
            ):  # another process has the key; a tenant that nobody can read shows in its tries
                self._release([delivery.lease for delivery in claimed])
                return []
        return claimed

    async def _try(self, claimed: ClaimedDelivery) -> None:
        """Make one try. Any outcome is recorded."""
        began = self._loop.time()
        status = excerpt = retry_after_s = None
        error: str | None = None
        try:
            answer = await self._outbound_of(claimed.tenant_id).post(*self._message(claimed))
            status, excerpt, retry_after_s = answer.status, answer.excerpt or None, answer.retry_after_s
        except SendFailed as failed:
            error = failed.code
        except ServiceError as unreadable:
            log.error("delivery_unreadable", delivery=str(claimed.lease.id), code=unreadable.code)
            error = unreadable.code
        except Exception as fault:
            log.error("delivery_failed", delivery=str(claimed.lease.id), exc_info=fault)
            error = "internal_error"
        took_s = self._loop.time() - began
        failpoints.reach(Point.DELIVER_SEND_AFTER)
        DELIVERY_SECONDS.observe(took_s)
        self._tried.append(Tried(claimed, round(took_s * 1000), status, error, excerpt, retry_after_s))
        self._signal.set()

    def _outbound_of(self, tenant_id: UUID) -> Outbound:
        rules = self._rules.of(tenant_id)
        if rules not in self._outbounds:
            self._outbounds[rules] = self._make_outbound(rules)
        return self._outbounds[rules]

    def _message(self, claimed: ClaimedDelivery) -> tuple[str, dict[str, str], bytes]:
        """URL, headers and body. Raises PayloadUnreadable. The time is the database's, as of the claim."""
        cipher = self._ciphers.of(claimed.tenant_id)
        url = claimed.url
        if claimed.callback is not None and claimed.kind == "callback" and claimed.event.job_id is not None:
            url = endpoints.open_callback(cipher, claimed.tenant_id, claimed.event.job_id, claimed.callback)
        secrets = [
            endpoints.open_secret(cipher, claimed.tenant_id, secret_id, sealed)
            for secret_id, sealed in claimed.secrets.items()
        ]
        body = claimed.event.body(self._public_url)
        headers = messages.headers(
            claimed.event.id, body, secrets, at=claimed.claimed_at, traceparent=claimed.traceparent
        )
        return url, headers, body

    async def _record(self) -> None:
        """Record the tries made since the last time; they keep their places until that is done."""
        if not self._tried:
            return
        tried = list(self._tried)
        held = await self._in_thread(lambda: self._recorded(tried))
        failpoints.reach(Point.DELIVER_RECORD_AFTER)
        del self._tried[: len(tried)]
        for one in tried:
            self._let_go(one.claimed)
            DELIVERY_TRIES.labels(_outcome(one)).inc()
        late = [one for one in tried if one.claimed.lease.id not in held]
        if late:
            DELIVERIES_FENCED_OFF.inc(len(late))
            log.warning("late_deliveries_refused", deliveries=[str(one.claimed.lease.id) for one in late])

    def _recorded(self, tried: Sequence[Tried]) -> set[UUID]:
        with self._database.statement() as work:
            return deliveries.record(work, tried)

    def _let_go(self, claimed: ClaimedDelivery) -> None:
        self._in_hand.remove(claimed.lease)
        self._busy[claimed.endpoint_id] -= 1
        if not self._busy[claimed.endpoint_id]:
            del self._busy[claimed.endpoint_id]

    async def _beat(self) -> None:
        """Renew the leases of the deliveries that are being sent."""
        while True:
            await asyncio.sleep(self._lease_s / BEATS_PER_LEASE)
            held = list(self._in_hand)
            if not held:
                continue
            try:
                await self._in_thread(lambda: self._renew(held))  # noqa: B023 - awaited in this round
            except DatabaseUnavailable:
                log.warning("leases_not_renewed", table=deliveries.TABLE, held=len(held))

    def _renew(self, held: Sequence[Lease]) -> None:
        with self._database.statement() as work:
            renew(work, deliveries.TABLE, held, self._lease_s)

    async def _finish(self) -> None:
        """Let tries end that end soon, record them, and give the others back."""
        if self._tries:
            await asyncio.wait(list(self._tries), timeout=STOPS_WITHIN_S)
        for task in list(self._tries):
            task.cancel()
        with suppress(DatabaseUnavailable):
            await self._record()
            left = list(self._in_hand)
            if left:
                await self._in_thread(lambda: self._release(left))

    def _release(self, left: Sequence[Lease]) -> None:
        with self._database.statement() as work:
            deliveries.release(work, left)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await self._loop.run_in_executor(self._threads, call)


def _outcome(tried: Tried) -> str:
    """What a try led to, for the metric."""
    if tried.state is DeliveryState.DELIVERED:
        return "delivered"
    return "dead" if tried.state is DeliveryState.DEAD else "failed"
