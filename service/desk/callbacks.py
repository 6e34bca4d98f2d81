"""Callback URLs of jobs: checked when a job is submitted, and cached by origin."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

from service.accounts import Principal
from service.db import Database
from service.egress import Target
from service.errors import CallbackSecretMissing, ServiceError, UrlRefused
from service.jobs.submission import Callback
from service.webhooks import endpoints
from service.webhooks.receivers import Receivers, pointing_to

LOOKUPS_S = 10.0  # of one bulk request, together
REMEMBER_S = 60.0
REMEMBER_REFUSED_S = 5.0
REMEMBERED = 4096
CALLBACK_URL = "/callback_url"

Clock = Callable[[], float]


class Callbacks:
    """The endpoints that stand for the origins of callback URLs, cached: a bulk request names one many times."""

    def __init__(self, database: Database, receivers: Receivers, *, clock: Clock = time.monotonic) -> None:
        self._database = database
        self._receivers = receivers
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[UUID, str], tuple[float, UUID | ServiceError]] = {}

    def lookup_deadline(self) -> float:
        """Until when the names of one request may be looked up."""
        return self._clock() + LOOKUPS_S

    def of(self, principal: Principal, url: str, *, until: float) -> Callback:
        """A callback to this URL. Raises UrlRefused, CallbackSecretMissing, TooManyEndpoints or TenantBusy."""
        try:
            target = self._receivers.read(principal.tenant_id, url)
        except UrlRefused as refusal:
            raise pointing_to(refusal, CALLBACK_URL) from None
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
        """The endpoint of an origin, or why it has none. Temporary faults are not cached."""
        found: UUID | ServiceError
        try:
            self._receivers.look_up(principal.tenant_id, target, until - self._clock())
            found = self._endpoint(principal, target.origin)
        except UrlRefused as refusal:
            found = pointing_to(refusal, CALLBACK_URL)
        keep_s = REMEMBER_REFUSED_S if isinstance(found, ServiceError) else REMEMBER_S
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[principal.tenant_id, target.origin] = (self._clock() + keep_s, found)
        return found

    def _endpoint(self, principal: Principal, origin: str) -> UUID:
        with self._database.transaction() as work:
            if not endpoints.has_callback_secret(work, principal):
                raise pointing_to(CallbackSecretMissing(), CALLBACK_URL)
            return endpoints.ensure_callback(work, principal, origin=origin)
