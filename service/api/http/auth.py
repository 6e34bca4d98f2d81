"""Who is calling: authenticates the bearer key of a request, and caches what was found for a moment.

A request whose caller is known holds one of the places that tenants share until it is answered, a streamed answer until its
last byte: a tenant whose readers or senders are slow keeps others neither from submits nor from reading.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial

from flask import Response, g, request

from service import accounts
from service.accounts import Principal, Scope
from service.crypto import Keyring
from service.db import Database
from service.errors import KeyInvalid, KeyMissing, TenantBusy
from service.shares import Shares

REMEMBERED = 4096
PLACE = "tenant_place"  # in what Flask keeps of a request


class Authenticator:
    """Turns the Authorization header into a Principal. What a key is, good or bad, is remembered for `cache_s`.

    At most `places` requests of all tenants together are under way.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        cache_s: float,
        places: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Principal | None]] = {}
        self._shares = Shares(places, multiple=3)

    def principal(self, scope: Scope) -> Principal:
        """The caller of this request. Raises KeyMissing, KeyInvalid, ScopeMissing or TenantBusy."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            raise KeyMissing
        if scheme.lower() != "bearer":
            raise KeyInvalid
        found = self._of_token(token.strip())
        found.require(scope)
        if PLACE not in g:
            if not self._shares.take(found.tenant_id):
                raise TenantBusy
            setattr(g, PLACE, found.tenant_id)
        return found

    def answered(self, response: Response) -> Response:
        """Give the place of this request back, after the last byte if its answer is streamed."""
        tenant_id = g.get(PLACE)
        if tenant_id is not None and response.is_streamed:
            response.call_on_close(partial(self._shares.leave, tenant_id))
        elif tenant_id is not None:
            self._shares.leave(tenant_id)
        return response

    def _of_token(self, token: str) -> Principal:
        digest, now = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), self._clock()
        known = self._known.get(digest)
        if known is None or now >= known[0]:
            known = now + self._cache_s, self._looked_up(token)
            with self._lock:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[digest] = known
        if known[1] is None:
            raise KeyInvalid
        return known[1]

    def _looked_up(self, token: str) -> Principal | None:
        """Whose key this is; None of a bad one. Raises DatabaseUnavailable."""
        try:
            with self._database.statement() as work:
                return accounts.authenticate(work, self._keyring, token)
        except KeyInvalid:
            return None
