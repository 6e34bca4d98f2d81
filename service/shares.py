"""Places that tenants share: none of them, nor several together, takes the last ones.

A tenant may hold at most a multiple of the places that are free (dynamic thresholds: Choudhury and Hahne, 1998). With a
multiple m, one tenant gets m / (1 + m) of all while nobody else wants any, and n that all want more than there are leave
1 / (1 + n m) free for the next one.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterator
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


class OneAtATime:
    """A place for each holder, given in the order in which it was asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[threading.Lock]] = {}

    def take(self, holder: Hashable, *, wait_s: float = 0.0) -> bool:
        """Take the place, waiting for it for `wait_s` at most; whether it was to be had."""
        with self._lock:
            if not self._held[holder]:
                self._held[holder] = 1
                return True
            if wait_s <= 0:
                return False
            given = threading.Lock()
            given.acquire()
            waiting = self._waiting.setdefault(holder, deque())
            waiting.append(given)
        if given.acquire(timeout=wait_s):
            return True
        with self._lock:
            if given not in waiting:
                return True  # it was given meanwhile
            waiting.remove(given)
            return False

    def join(self, holder: Hashable) -> None:
        """Take the place beside whoever has it."""
        with self._lock:
            self._held[holder] += 1

    def leave(self, holder: Hashable) -> None:
        """Give the place back, and to the one who has waited longest once nobody else has it."""
        with self._lock:
            waiting = self._waiting.get(holder)
            if waiting and self._held[holder] == 1:
                waiting.popleft().release()
                return
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
                self._waiting.pop(holder, None)
