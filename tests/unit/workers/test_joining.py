"""Jobs that are scored while others join them: whose leases are renewed, and who needs no answer any more."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from models.pipelines import Case
from service.jobs.execution import ClaimedJob
from service.leases import Lease
from workers.jobs.inputs import OpenedJob
from workers.jobs.joining import Joining, JoiningJobs, Steps


class HeldLeases:
    """Remembers whose leases are renewed."""

    def __init__(self) -> None:
        self.lost: set[UUID] = set()
        self.held: list[UUID] = []

    def change(self, held: Sequence[Lease]) -> None:
        self.held = [lease.id for lease in held]


def claimed() -> ClaimedJob:
    return ClaimedJob(Lease(uuid4(), 1), uuid4(), 1, b"", None, None)


def opened(jobs: Sequence[ClaimedJob]) -> Any:
    return [OpenedJob(job, str(job.lease.id), Case(b"")) for job in jobs], [], []


def test_the_lease_of_a_job_that_was_lost_is_renewed_no_longer_and_nobody_waits_for_its_answer() -> None:
    steps: Any = Steps(lambda *_: [], opened, lambda *_: None, lambda: False)  # type: ignore[arg-type]
    heartbeat: Any = HeldLeases()
    idle: Any = SimpleNamespace(idle=True)
    joining = JoiningJobs("writer", Joining(4, 1.0), steps, heartbeat=heartbeat, write_back=idle)
    first, second = claimed(), claimed()
    joining.add([first, second])
    assert len(joining.take()) == 2
    heartbeat.lost = {first.lease.id}
    assert set(joining.given_up()) == {0}
    assert heartbeat.held == [second.lease.id] == [*joining.ids]
    assert [case.job for case in joining.unanswered] == [second]
