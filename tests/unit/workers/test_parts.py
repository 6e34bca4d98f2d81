"""Parts of inputs in a worker: how long reading them may take."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from models.pipelines import Part, PartKind
from workers.jobs.parts import READ_STEP_S, PartReader

UPLOADS = [UUID(int=number) for number in range(3)]


class Slow:
    """Uploads of which each takes nearly a whole step to read, and the clock that a heartbeat reads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.overdue_at = 0.0

    def step(self, step_s: float) -> None:
        """See Heartbeat."""
        self.overdue_at = self.now + step_s

    def read(self, tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
        """See Uploads."""
        self.now += READ_STEP_S - 1
        assert self.now < self.overdue_at, "the worker would end itself"
        yield bytes([upload_id.int])


def test_each_of_several_large_files_may_take_a_step_to_read() -> None:
    slow: Any = Slow()
    job: Any = SimpleNamespace(lease=SimpleNamespace(id=UUID(int=9)), tenant_id=UUID(int=1))
    parts = {f"scan{number}": Part(PartKind.FILE) for number in range(len(UPLOADS))}
    loaded: Any = SimpleNamespace(pipeline=SimpleNamespace(parts=parts))
    stored: Any = {
        job.lease.id: [
            SimpleNamespace(name=name, upload_id=upload) for name, upload in zip(parts, UPLOADS, strict=True)
        ]
    }
    opened = PartReader(slow, slow, slow, slow).opened(job, loaded, stored)
    assert opened == {"scan0": b"\x00", "scan1": b"\x01", "scan2": b"\x02"}
