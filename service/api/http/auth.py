"""Who is calling: authenticates the bearer key of a request, and caches good keys for a moment."""

import hashlib
import threading
import time
from collections.abc import Callable

from flask import request

from service import accounts
from service.accounts import Principal, Scope
from service.crypto import Keyring
from service.db import Database
from service.errors import KeyInvalid, KeyMissing

REMEMBERED = 4096


class Authenticator:
    """Turns the Authorization header into a Principal. Good keys are cached for `cache_s`, bad ones never."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        cache_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Principal]] = {}

    def principal(self, scope: Scope) -> Principal:
        """The caller of this request. Raises KeyMissing, KeyInvalid or ScopeMissing."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            raise KeyMissing
        if scheme.lower() != "bearer":
            raise KeyInvalid
        found = self._of_token(token.strip())
        found.require(scope)
        return found

    def _of_token(self, token: str) -> Principal:
        digest, now = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), self._clock()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        with self._database.statement() as work:
            principal = accounts.authenticate(work, self._keyring, token)
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[digest] = (now + self._cache_s, principal)
        return principal
