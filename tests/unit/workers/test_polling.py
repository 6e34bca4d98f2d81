"""When a worker looks for jobs by itself, and what it does with what it finds."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest

from service.db import Database
from service.errors import DatabaseUnavailable, ModelNotFound
from service.gate import Gate
from workers.arbiter import GraphArbiter
from workers.jobs.lanes import RESTS_S, Lanes
from workers.jobs.polling import Polling
from workers.jobs.scoring import Scorer

ONE, TWO = UUID(int=1), UUID(int=2)


class Queue:
    """Jobs of models, a clock, and how often somebody looked. Stands in for the database and the scorer."""

    def __init__(self) -> None:
        self.jobs = {ONE: 0, TWO: 0}
        self.faults: dict[UUID, Exception] = {}
        self.scored: list[UUID] = []
        self.looks = 0
        self.quiet_s = 10.0
        self.now_s = 100.0

    @contextmanager
    def statement(self) -> Iterator["Queue"]:
        yield self

    def execute(self, _: str) -> list[SimpleNamespace]:
        self.looks += 1
        return [SimpleNamespace(id=version) for version, waiting in self.jobs.items() if waiting]

    def score(self, version: UUID, *, polled: bool) -> int:
        assert polled
        self.scored.append(version)
        if version in self.faults:
            raise self.faults[version]
        claimed = min(self.jobs[version], 4)
        self.jobs[version] -= claimed
        return claimed


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def polling(queue: Queue) -> Iterator[Polling]:
    made = Polling(
        cast(Database, queue), cast(Lanes, queue), chance=lambda low, _: low, clock=lambda: queue.now_s
    )
    yield made
    made.close()


@pytest.fixture
def in_time(queue: Queue) -> Iterator[Polling]:
    """One that goes by the clock."""
    made = Polling(cast(Database, queue), cast(Lanes, queue), chance=lambda low, _: low)
    yield made
    made.close()


def until(true: threading.Event) -> None:
    assert true.wait(5)


def test_a_look_scores_a_micro_batch_of_each_model_that_has_work(queue: Queue, polling: Polling) -> None:
    queue.jobs = {ONE: 6, TWO: 1}
    assert polling.look() == 5
    assert sorted(queue.scored) == [ONE, TWO]
    assert polling.look() == 2
    assert polling.look() == 0


def test_a_model_that_cannot_be_loaded_rests_and_the_others_are_scored(
    queue: Queue, polling: Polling
) -> None:
    queue.jobs, queue.faults = {ONE: 1, TWO: 4}, {ONE: ModelNotFound()}
    assert polling.look() == 4
    assert polling.look() == 0
    assert queue.scored.count(ONE) == 1
    queue.now_s += RESTS_S
    queue.faults = {}
    assert polling.look() == 1


def test_without_postgres_nothing_rests(queue: Queue, polling: Polling) -> None:
    queue.jobs, queue.faults = {ONE: 1, TWO: 0}, {ONE: DatabaseUnavailable()}
    with pytest.raises(DatabaseUnavailable):
        polling.look()
    queue.faults = {}
    assert polling.look() == 1


def test_while_wake_ups_come_nobody_looks(queue: Queue, in_time: Polling) -> None:
    queue.quiet_s, queue.jobs[ONE] = 0.0, 1
    in_time.start()
    threading.Event().wait(1.2)
    assert queue.looks == 0


def test_what_waits_is_found_within_about_a_second_and_to_its_end(queue: Queue, in_time: Polling) -> None:
    done = threading.Event()
    queue.jobs[ONE] = 9
    score = queue.score

    def noting(version: UUID, *, polled: bool) -> int:
        claimed = score(version, polled=polled)
        if not queue.jobs[ONE]:
            done.set()
        return claimed

    queue.score = noting  # type: ignore[method-assign]  # a fake of our own
    in_time.start()
    until(done)
    assert queue.scored == [ONE, ONE, ONE]


def test_an_idle_worker_looks_about_once_a_second(queue: Queue, in_time: Polling) -> None:
    in_time.start()
    threading.Event().wait(3.0)
    assert 2 <= queue.looks <= 4


def test_after_a_find_the_next_looks_come_soon_and_then_ever_later(queue: Queue, in_time: Polling) -> None:
    """Without Redis jobs come in between looks: whoever found one need not wait for a second."""
    queue.jobs[ONE] = 1
    in_time.start()
    until_looks(queue, 5)
    began = time.monotonic()
    until_looks(queue, 6)
    assert time.monotonic() - began < 0.7  # on the way from 0.05 to 1 s
    threading.Event().wait(2.0)
    assert queue.looks <= 10


def until_looks(queue: Queue, count: int) -> None:
    deadline = time.monotonic() + 5
    while queue.looks < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_threads_never_score_at_once() -> None:
    """The consumer of wake-ups and the thread that looks share a scorer, a heartbeat and a write-back."""
    scorer, at_once, most = Scorer.__new__(Scorer), [0], [0]
    scorer.stopping, scorer._arbiter, scorer._one_at_a_time = False, GraphArbiter(), threading.Lock()
    scorer._gate = Gate("worker", tuple)

    def score(_: UUID) -> int:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.01)
        at_once[0] -= 1
        return 1

    scorer._score = score  # type: ignore[assignment,method-assign]  # what follows the lock
    threads = [threading.Thread(target=scorer.score, args=(ONE,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
