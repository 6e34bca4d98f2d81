"""Slow models are scored in a thread of their own: which models, in which order, and what is done about faults."""

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest

from service.errors import BundleUnusable, DatabaseUnavailable
from tests.acceptance.stack import eventually
from workers.heartbeat import HANG_EXIT_STATUS
from workers.jobs.lanes import NICENESS, RESTS_S, Lanes, SlowLane
from workers.jobs.scoring import Scorer
from workers.pool import ModelPool

ONE, TWO, QUICK = UUID(int=1), UUID(int=2), UUID(int=3)


class Jobs:
    """How many micro-batches wait of each model. Stands in for the scorer of a lane."""

    def __init__(self) -> None:
        self.waiting = {ONE: 0, TWO: 0, QUICK: 0}
        self.faults: dict[UUID, BaseException] = {}
        self.scored: list[UUID] = []
        self.threads: set[str] = set()
        self.niceness: set[int] = set()
        self.stopping = False
        self.quiet_s = 1.5
        self.goes_on = threading.Event()
        self.goes_on.set()

    def score(self, version: UUID) -> int:
        self.threads.add(threading.current_thread().name)
        self.niceness.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.scored.append(version)
        self.goes_on.wait(5)
        if version in self.faults:
            raise self.faults[version]
        claimed = min(self.waiting[version], 1)
        self.waiting[version] -= claimed
        return claimed


class Worker:
    """A worker process's lanes over `Jobs`."""

    def __init__(self) -> None:
        self.quick, self.slow, self.ended, self.now_s = Jobs(), Jobs(), list[int](), 100.0
        lane = SlowLane(
            cast(Scorer, self.slow),
            clock=lambda: self.now_s,
            end_process=self.ended.append,
        )
        pool = SimpleNamespace(is_slow=lambda version: version != QUICK)
        self.lanes = Lanes(cast(Scorer, self.quick), lane, cast(ModelPool, pool))

    def scores(self, *versions: UUID) -> None:
        """The slow lane scores exactly these, in this order."""
        eventually(lambda: len(self.slow.scored) >= len(versions), within_s=5)
        assert self.slow.scored == list(versions)
        self.slow.scored.clear()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.slow.goes_on.set()
    made.lanes.close()


def test_quick_models_are_scored_while_a_slow_one_is(worker: Worker) -> None:
    worker.slow.goes_on.clear()
    worker.quick.waiting[QUICK] = 1
    worker.lanes.start()
    assert worker.lanes.score(ONE) == 0
    worker.scores(ONE)
    assert worker.lanes.score(QUICK) == 1
    assert worker.quick.threads == {threading.current_thread().name}
    assert worker.slow.threads == {"slow-lane"}


def test_the_kernel_prefers_the_quick_lane(worker: Worker) -> None:
    worker.slow.waiting[ONE] = 1
    worker.lanes.start()
    for version in (ONE, QUICK):
        worker.lanes.score(version)
    eventually(lambda: bool(worker.slow.scored), within_s=5)
    assert worker.quick.niceness == {os.getpriority(os.PRIO_PROCESS, 0)}
    assert worker.slow.niceness == {os.getpriority(os.PRIO_PROCESS, 0) + NICENESS}


def test_slow_models_take_turns_until_nothing_waits(worker: Worker) -> None:
    worker.slow.waiting |= {ONE: 2, TWO: 1}
    for version in (ONE, TWO, ONE):
        worker.lanes.score(version)
    worker.lanes.start()
    worker.scores(ONE, TWO, ONE, TWO, ONE)


def test_a_model_that_failed_rests_until_a_message_comes_or_its_time(worker: Worker) -> None:
    worker.slow.faults[ONE] = BundleUnusable()
    worker.lanes.start()
    worker.lanes.score(ONE, polled=True)
    worker.scores(ONE)
    eventually(lambda: ONE in worker.lanes._slow._rests_until, within_s=5)
    worker.lanes.score(ONE, polled=True)
    worker.lanes.score(TWO, polled=True)
    worker.scores(TWO)
    worker.lanes.score(ONE)
    worker.scores(ONE)
    worker.now_s += RESTS_S
    worker.slow.faults.clear()
    worker.lanes.score(ONE, polled=True)
    worker.scores(ONE)


def test_without_postgres_nothing_rests(worker: Worker) -> None:
    worker.slow.faults[ONE] = DatabaseUnavailable()
    worker.lanes.start()
    for _ in range(2):
        worker.lanes.score(ONE, polled=True)
        worker.scores(ONE)
        eventually(lambda: not worker.lanes._slow._waiting, within_s=5)


def test_a_stop_leaves_what_waits_to_others(worker: Worker) -> None:
    worker.slow.goes_on.clear()
    worker.lanes.start()
    worker.lanes.score(ONE)
    worker.scores(ONE)
    worker.lanes.score(TWO)
    worker.lanes.stop()
    assert worker.quick.stopping
    assert worker.slow.stopping
    worker.slow.goes_on.set()
    worker.lanes.close()
    assert worker.slow.scored == []
    assert worker.ended == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_process_whose_slow_lane_ends_ends_itself(worker: Worker) -> None:
    worker.slow.faults[ONE] = SystemExit(1)
    worker.lanes.start()
    worker.lanes.score(ONE)
    eventually(lambda: worker.ended == [HANG_EXIT_STATUS], within_s=5)


def test_the_quiet_of_the_callers_lane_counts(worker: Worker) -> None:
    worker.slow.quiet_s = 0.0
    assert worker.lanes.quiet_s == 1.5
