"""How many bytes a tenant may upload in a day, and have stored in all. Soft bounds; a repeated count costs little."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from service.db import Database
from service.errors import BodyTooLarge, StorageQuotaExceeded, UploadQuotaExceeded

COUNTED_EVERY_S = 1.0
PAUSES = 50  # of a count's own length until the next one, as in jobs.admission
HOUR_S = 3600
HOURS = 24

# One pass over an index that has all three columns. Ages are in whole hours; those of a day and more are counted together.
USED = """
SELECT least(floor(extract(epoch FROM now() - created_at) / 3600)::int, 24) AS age, sum(size_bytes)::bigint AS bytes
FROM upload WHERE tenant_id = %(tenant_id)s GROUP BY 1
"""


@dataclass(frozen=True)
class Usage:
    """Bytes of a tenant's uploads: of each of the last 24 hours, the latest first, and of all."""

    by_hour: Sequence[int] = (0,) * HOURS
    in_all: int = 0


def used(database: Database, tenant_id: UUID) -> Usage:
    """What a tenant has uploaded. Raises DatabaseUnavailable."""
    with database.statement() as work:
        found = {row.age: row.bytes for row in work.execute(USED, {"tenant_id": tenant_id})}
    return Usage([found.get(hour, 0) for hour in range(HOURS)], sum(found.values()))


@dataclass
class _Known:
    """What is known of a tenant: its last count, what this process has stored since, and when to count again."""

    usage: Usage = Usage()
    added: int = 0
    due: float = -math.inf
    counting: threading.Lock = field(default_factory=threading.Lock)


class UploadQuotas:
    """Bounds on a tenant's uploads, checked before a body is read.

    Counts are at least a second apart, or 50 times as long as a count takes. In between, a process sees what it has stored
    itself and not what the others have, so a bound may be exceeded by that.
    """

    def __init__(
        self,
        count: Callable[[UUID], Usage],
        *,
        in_a_day: int,
        in_all: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._in_a_day = in_a_day
        self._in_all = in_all
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[UUID, _Known] = {}

    @contextmanager
    def room(self, tenant_id: UUID, size_bytes: int) -> Iterator[None]:
        """Reserve room for an upload; released if the block fails.

        Raises BodyTooLarge, UploadQuotaExceeded, StorageQuotaExceeded or DatabaseUnavailable.
        """
        if size_bytes > self._in_a_day:
            raise BodyTooLarge(f"A tenant may upload {self._in_a_day} bytes in 24 hours.")
        known = self._counted(tenant_id)
        with self._lock:
            self._check(known, size_bytes)
            known.added += size_bytes
        try:
            yield
        except BaseException:
            with self._lock:
                known.added -= size_bytes
            raise

    def _counted(self, tenant_id: UUID) -> _Known:
        with self._lock:
            known = self._known.setdefault(tenant_id, _Known())
        with known.counting:
            began = self._clock()
            if began >= known.due:
                before = known.added
                usage = self._count(tenant_id)
                with self._lock:
                    known.usage, known.added = usage, known.added - before
                ended = self._clock()
                known.due = ended + max(COUNTED_EVERY_S, PAUSES * (ended - began))
        return known

    def _check(self, known: _Known, size_bytes: int) -> None:
        if known.usage.in_all + known.added + size_bytes > self._in_all:
            raise StorageQuotaExceeded(
                f"The tenant has {known.usage.in_all + known.added} of {self._in_all} bytes of uploads. "
                "An operator can raise MEDQUEUE_UPLOADED_BYTES_PER_TENANT."
            )
        over = sum(known.usage.by_hour) + known.added + size_bytes - self._in_a_day
        if over > 0:
            hours = _until_free(known.usage.by_hour, over)
            refused = UploadQuotaExceeded(
                f"The tenant may upload {self._in_a_day} bytes in 24 hours, and has uploaded "
                f"{self._in_a_day + over - size_bytes}. There is room for {size_bytes} bytes in {hours} hours at the latest."
            )
            refused.retry_after_s = hours * HOUR_S
            raise refused


def _until_free(by_hour: Sequence[int], needed: int) -> int:
    """In how many hours so many bytes are more than a day old: an hour of the latest age at once, when its youngest is."""
    for age in reversed(range(HOURS)):
        needed -= by_hour[age]
        if needed <= 0:
            return HOURS - age
    return HOURS
