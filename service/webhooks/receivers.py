"""URLs that callers name for webhooks, checked before they are stored: the URL itself, and what its host name resolves to.

Names are looked up outside of any transaction, for a few seconds at most and a few at a time: a resolver that hangs
must not take the threads of requests. The workers judge every connection again.
"""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

from models.field_codes import OtherCode
from service import egress
from service.egress import Resolve, Target
from service.errors import FieldError, ServiceError, TenantBusy, UrlRefused
from service.shares import Shares
from service.webhooks.rules import TenantRules

LOOKUP_S = 3.0
LOOKUPS_AT_ONCE = 16
SLOW = f"its host name does not resolve within {LOOKUP_S:.0f} s; check its DNS servers"
URL = "/url"


class Receivers:
    """Checks URLs against the rules of the tenants that name them."""

    def __init__(
        self,
        rules: TenantRules,
        *,
        resolve: Resolve = socket.getaddrinfo,
        lookup_s: float = LOOKUP_S,
        meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`meanwhile`: entered while a look-up is waited for."""
        self._rules = rules
        self._resolve = resolve
        self._lookup_s = lookup_s
        self._meanwhile = meanwhile
        self._shares = Shares(LOOKUPS_AT_ONCE, multiple=1)

    def judge(self, tenant_id: UUID, url: str) -> Target:
        """An endpoint's URL, read and looked up for a tenant. Raises UrlRefused, pointing to it, or TenantBusy."""
        try:
            target = self.read(tenant_id, url)
            self.look_up(tenant_id, target, self._lookup_s)
        except UrlRefused as refusal:
            raise pointing_to(refusal, URL) from None
        return target

    def read(self, tenant_id: UUID, url: str) -> Target:
        """A URL, checked as far as possible without looking its host name up. Raises UrlRefused."""
        return egress.target_of(url, self._rules.of(tenant_id))

    def look_up(self, tenant_id: UUID, target: Target, within_s: float) -> None:
        """Check what the host name of a target resolves to. Raises UrlRefused, or TenantBusy when too many look-ups run."""
        until = time.monotonic() + min(within_s, self._lookup_s)
        if within_s <= 0 or not self._shares.take(tenant_id, wait_s=min(within_s, self._lookup_s)):
            raise TenantBusy("Too many host names are being looked up at once. Send it again shortly.")
        answer: Future[object] = Future()
        threading.Thread(
            target=self._answer, args=(tenant_id, target, answer), name="look-up", daemon=True
        ).start()
        try:
            with self._meanwhile():
                answer.result(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise UrlRefused(SLOW) from None

    def _answer(self, tenant_id: UUID, target: Target, answer: Future[object]) -> None:
        """Look up in a thread of its own, which holds its slot for as long as the resolver takes."""
        try:
            answer.set_result(egress.resolved(target, self._rules.of(tenant_id), self._resolve))
        except BaseException as fault:  # noqa: BLE001 - raised in the waiting thread
            answer.set_exception(fault)
        finally:
            self._shares.leave(tenant_id)


def pointing_to(refusal: ServiceError, pointer: str) -> ServiceError:
    """The refusal, with the field that it concerns."""
    refusal.errors = (FieldError(pointer, OtherCode(refusal.code), refusal.detail),)
    return refusal
