"""Places that tenants share: none of them, nor several together, takes the last ones.

A tenant may hold at most a multiple of the places that are free (dynamic thresholds: Choudhury and Hahne, 1998). With a
multiple m, one tenant gets m / (1 + m) of all while nobody else wants any, and n that all want more than there are leave
1 / (1 + n m) free for the next one.
"""

import threading
from collections import Counter, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from uuid import UUID


class _Wait:
    """One who waits for places, and is woken alone: many that are woken for one place keep everybody from the interpreter."""

    def __init__(self, places: int = 1) -> None:
        self.places = places
        self._given = threading.Lock()
        self._given.acquire()

    def give(self) -> None:
        """Tell it that it has its places."""
        self._given.release()

    def was_given(self, within_s: float) -> bool:
        """Wait for them; whether they were given within so many seconds."""
        return self._given.acquire(timeout=within_s)


class Shares:
    """So many places. Thread-safe."""

    def __init__(self, places: int, *, multiple: int) -> None:
        self._free = places
        self._multiple = multiple
        self._held: Counter[UUID] = Counter()
        self._waiting: dict[UUID, deque[_Wait]] = {}
        self._lock = threading.Lock()

    def take(self, tenant_id: UUID, *, places: int = 1, wait_s: float = 0.0) -> bool:
        """Take places, waiting for them for `wait_s` at most; whether there were so many.

        Nobody passes those of the same tenant who wait already: one who needs many would wait until nobody else comes.
        """
        with self._lock:
            if tenant_id not in self._waiting and self._has_room(tenant_id, places):
                self._hold(tenant_id, places)
                return True
            if wait_s <= 0:
                return False
            wait = _Wait(places)
            self._waiting.setdefault(tenant_id, deque()).append(wait)
        return wait.was_given(wait_s) or not self._gives_up(tenant_id, wait)

    def leave(self, tenant_id: UUID, *, places: int = 1) -> None:
        """Give places back, and to those who wait for them: one of each tenant after the other, as they came."""
        with self._lock:
            self._hold(tenant_id, -places)
            self._serve()

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

    def _hold(self, tenant_id: UUID, places: int) -> None:
        self._free -= places
        self._held[tenant_id] += places
        if not self._held[tenant_id]:
            del self._held[tenant_id]

    def _serve(self) -> None:
        lines = deque(self._waiting)
        while lines:
            if self._serves_one_of(tenant_id := lines.popleft()):
                lines.append(tenant_id)

    def _serves_one_of(self, tenant_id: UUID) -> bool:
        """Give the tenant's first one in line its places, if there are so many; whether another one waits behind it."""
        waiting = self._waiting[tenant_id]
        if not self._has_room(tenant_id, waiting[0].places):
            return False
        wait = waiting.popleft()
        self._hold(tenant_id, wait.places)
        wait.give()
        if not waiting:
            del self._waiting[tenant_id]
        return bool(waiting)

    def _gives_up(self, tenant_id: UUID, wait: _Wait) -> bool:
        """Leave the line; False when the places were given meanwhile."""
        with self._lock:
            waiting = self._waiting.get(tenant_id, deque())
            if wait not in waiting:
                return False
            waiting.remove(wait)
            if not waiting:
                del self._waiting[tenant_id]
            self._serve()  # it may have stood before those who need less
            return True


class OneAtATime:
    """A place for each holder, given in the order in which it was asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[_Wait]] = {}

    def take(self, holder: Hashable, *, wait_s: float = 0.0) -> bool:
        """Take the place, waiting for it for `wait_s` at most; whether it was to be had."""
        with self._lock:
            if not self._held[holder]:
                self._held[holder] = 1
                return True
            if wait_s <= 0:
                return False
            wait = _Wait()
            waiting = self._waiting.setdefault(holder, deque())
            waiting.append(wait)
        if wait.was_given(wait_s):
            return True
        with self._lock:
            if wait not in waiting:
                return True  # it was given meanwhile
            waiting.remove(wait)
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
                waiting.popleft().give()
                return
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
                self._waiting.pop(holder, None)
