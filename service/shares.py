"""Places that tenants share: none of them, nor several together, takes the last ones.

A tenant may hold at most a multiple of the places that are free (dynamic thresholds: Choudhury and Hahne, 1998). With a
multiple m, one tenant gets m / (1 + m) of all while nobody else wants any, and n that all want more than there are leave
1 / (1 + n m) free for the next one.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID


class Shares:
    """So many places. Thread-safe."""

    def __init__(self, places: int, *, multiple: int) -> None:
        self._free = places
        self._multiple = multiple
        self._held: Counter[UUID] = Counter()
        self._changed = threading.Condition()

    def take(self, tenant_id: UUID, *, places: int = 1, wait_s: float = 0.0) -> bool:
        """Take places, waiting for them for `wait_s` at most; whether there were so many."""
        with self._changed:
            if not self._has_room(tenant_id, places) and not self._waits(tenant_id, places, wait_s):
                return False
            self._free -= places
            self._held[tenant_id] += places
            return True

    def leave(self, tenant_id: UUID, *, places: int = 1) -> None:
        """Give places back."""
        with self._changed:
            self._free += places
            self._held[tenant_id] -= places
            if not self._held[tenant_id]:
                del self._held[tenant_id]
            self._changed.notify_all()

    @contextmanager
    def place(self, tenant_id: UUID, *, wait_s: float = 0.0) -> Iterator[bool]:
        """A place for the duration of the block; False when there is none."""
        taken = self.take(tenant_id, wait_s=wait_s)
        try:
            yield taken
        finally:
            if taken:
                self.leave(tenant_id)

    def _has_room(self, tenant_id: UUID, places: int) -> bool:
        return self._held.get(tenant_id, 0) + places <= self._multiple * (self._free - places + 1)

    def _waits(self, tenant_id: UUID, places: int, wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._changed.wait(left_s)
            if self._has_room(tenant_id, places):
                return True
        return False
