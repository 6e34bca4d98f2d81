"""Who is calling: authenticates the bearer key of a request, and caches what was found for a moment."""

import hashlib
import threading
import time
from collections.abc import Callable

from flask import request

from service import accounts
from service.accounts import Principal, Scope
from service.api.http.turns import Turns
from service.crypto import Keyring
from service.db import Database
from service.errors import KeyInvalid, KeyMissing

REMEMBERED = 4096


class Authenticator:
    """Turns the Authorization header into a Principal. What a key is, good or bad, is remembered for `cache_s`."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        turns: Turns,
        *,
        cache_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._turns = turns
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Principal | None]] = {}

    def principal(self, scope: Scope) -> Principal:
        """The caller of this request. Raises KeyMissing, KeyInvalid or ScopeMissing."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            raise KeyMissing
        if scheme.lower() != "bearer":
            raise KeyInvalid
        found = self._of_token(token.strip())
        found.require(scope)
        self._turns.begin(found)
        return found

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
