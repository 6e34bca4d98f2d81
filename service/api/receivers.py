"""Where callers want to be told, judged before it is stored: the URL itself, and what its name resolves to.

Names are looked up outside of any transaction, for a few seconds at most and a few at a time: a resolver that hangs
must not take the threads of requests. The workers judge every connection again.
"""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from uuid import UUID

from service import egress
from service.accounts import Principal
from service.db import Database
from service.egress import EgressRules, Resolve, Target
from service.errors import CallbackSecretMissing, FieldError, ServerBusy, ServiceError, UrlRefused
from service.jobs.submission import Callback
from service.webhooks import endpoints

LOOKUP_S = 3.0
LOOKUPS_S = 10.0  # of one bulk request, together
LOOKUPS_AT_ONCE = 8
REMEMBER_S = 60.0
REMEMBER_REFUSED_S = 5.0
REMEMBERED = 4096
SLOW = f"its host name does not resolve within {LOOKUP_S:.0f} s; check its DNS servers"
URL, CALLBACK_URL = "/url", "/callback_url"

Clock = Callable[[], float]


class Receivers:
    """Judges URLs by the rules of this installation."""

    def __init__(
        self,
        rules: EgressRules,
        *,
        resolve: Resolve = socket.getaddrinfo,
        lookup_s: float = LOOKUP_S,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._lookup_s = lookup_s
        self._slots = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

    def judge(self, url: str) -> Target:
        """An endpoint's URL, read and looked up. Raises UrlRefused, pointing to it, or ServerBusy."""
        try:
            target = egress.target_of(url, self._rules)
            self.look_up(target, self._lookup_s)
        except UrlRefused as refusal:
            raise _pointing(refusal, URL) from None
        return target

    def read(self, url: str) -> Target:
        """A URL, judged as far as that can be done without looking its name up. Raises UrlRefused."""
        return egress.target_of(url, self._rules)

    def look_up(self, target: Target, within_s: float) -> None:
        """Judge what the name of a target resolves to. Raises UrlRefused, or ServerBusy when nobody is free to look."""
        until = time.monotonic() + min(within_s, self._lookup_s)
        if within_s <= 0 or not self._slots.acquire(timeout=min(within_s, self._lookup_s)):
            raise ServerBusy("Too many host names are being looked up at once. Send it again shortly.")
        answer: Future[object] = Future()
        threading.Thread(target=self._answer, args=(target, answer), name="look-up", daemon=True).start()
        try:
            answer.result(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise UrlRefused(SLOW) from None

    def _answer(self, target: Target, answer: Future[object]) -> None:
        """Look up in a thread of its own, which holds its slot for as long as the resolver takes."""
        try:
            answer.set_result(egress.resolved(target, self._rules, self._resolve))
        except BaseException as fault:  # noqa: BLE001 - handed to the one who waits
            answer.set_exception(fault)
        finally:
            self._slots.release()


class Callbacks:
    """The endpoints that stand for the origins of callback URLs, remembered: a bulk request names one many times."""

    def __init__(self, database: Database, receivers: Receivers, *, clock: Clock = time.monotonic) -> None:
        self._database = database
        self._receivers = receivers
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[UUID, str], tuple[float, UUID | ServiceError]] = {}

    def patience(self) -> float:
        """Until when the names of one request may be looked up."""
        return self._clock() + LOOKUPS_S

    def of(self, principal: Principal, url: str, *, until: float) -> Callback:
        """A callback to this URL. Raises UrlRefused, CallbackSecretMissing, TooManyEndpoints or ServerBusy."""
        try:
            target = self._receivers.read(url)
        except UrlRefused as refusal:
            raise _pointing(refusal, CALLBACK_URL) from None
        found = self._remembered((principal.tenant_id, target.origin))
        if found is None:
            found = self._find(principal, target, until)
        if isinstance(found, ServiceError):
            raise found.with_traceback(None)
        return Callback(found, url)

    def _remembered(self, origin: tuple[UUID, str]) -> UUID | ServiceError | None:
        known = self._known.get(origin)
        return known[1] if known is not None and self._clock() < known[0] else None

    def _find(self, principal: Principal, target: Target, until: float) -> UUID | ServiceError:
        """The endpoint of an origin, or why it has none. What has to do with the moment is not remembered."""
        found: UUID | ServiceError
        try:
            self._receivers.look_up(target, until - self._clock())
            found = self._endpoint(principal, target.origin)
        except UrlRefused as refusal:
            found = _pointing(refusal, CALLBACK_URL)
        keep_s = REMEMBER_REFUSED_S if isinstance(found, ServiceError) else REMEMBER_S
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[principal.tenant_id, target.origin] = (self._clock() + keep_s, found)
        return found

    def _endpoint(self, principal: Principal, origin: str) -> UUID:
        with self._database.transaction() as work:
            if not endpoints.has_callback_secret(work, principal):
                raise _pointing(CallbackSecretMissing(), CALLBACK_URL)
            return endpoints.ensure_callback(work, principal, origin=origin)


def _pointing(refusal: ServiceError, pointer: str) -> ServiceError:
    """The refusal, with the field that it is about."""
    refusal.errors = (FieldError(pointer, refusal.code, refusal.detail),)
    return refusal
