"""Jobs that are scored while others join them: whose leases are renewed, and who needs no answer any more."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.pipelines import Case
from service.jobs.execution import ClaimedJob
from service.leases import Lease
from workers.jobs import joining
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


def joining_jobs(show: Callable[[Any], None] = lambda _: None) -> tuple[JoiningJobs, HeldLeases]:
    """Jobs of a worker that writes nothing back, and whose leases it renews."""
    steps: Any = Steps(lambda *_: [], opened, lambda *_: None, show, lambda: False)  # type: ignore[arg-type]
    heartbeat: Any = HeldLeases()
    idle: Any = SimpleNamespace(idle=True)
    return JoiningJobs("writer", Joining(4, 1.0), steps, heartbeat=heartbeat, write_back=idle), heartbeat


def test_the_lease_of_a_job_that_was_lost_is_renewed_no_longer_and_nobody_waits_for_its_answer() -> None:
    jobs, heartbeat = joining_jobs()
    first, second = claimed(), claimed()
    jobs.add([first, second])
    assert len(jobs.take()) == 2
    heartbeat.lost = {first.lease.id}
    assert set(jobs.given_up()) == {0}
    assert heartbeat.held == [second.lease.id] == [*jobs.ids]
    assert [case.job for case in jobs.unanswered] == [second]


def test_of_what_is_written_the_news_of_jobs_without_an_answer_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joining, "SHOW_S", 0.0)
    monkeypatch.setattr(joining, "SHOWN_PER_S", float("inf"))
    shown: list[Any] = []
    jobs, heartbeat = joining_jobs(shown.append)
    first, second = claimed(), claimed()
    jobs.add([first, second])
    jobs.take()
    jobs.show(lambda: {0: "no", 1: ""})
    jobs.show(lambda: {0: "no", 1: ""})
    jobs.show(lambda: {0: "no fever", 1: "pain"})
    heartbeat.lost = {first.lease.id}
    jobs.given_up()
    jobs.show(lambda: {0: "no fever at all", 1: "pain in"})
    assert [[(each.job, text) for each, text in texts] for texts in shown] == [
        [(first, "no")], [(first, "no fever"), (second, "pain")], [(second, "pain in")]
    ]  # fmt: skip


@pytest.mark.parametrize(("per_s", "times"), [(float("inf"), 2), (1.0, 1)])
def test_long_texts_are_shown_less_often(per_s: float, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SHOW_S", 0.0)
    monkeypatch.setattr(joining, "SHOWN_PER_S", per_s)
    shown: list[Any] = []
    jobs, _ = joining_jobs(shown.append)
    jobs.add([claimed()])
    jobs.take()
    jobs.show(lambda: {0: "no fever " * 100})
    jobs.show(lambda: {0: "no fever " * 101})
    assert len(shown) == times
