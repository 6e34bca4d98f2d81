"""The heartbeat: renews while there is progress, stops a step that overruns, ends a process that hangs."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import pytest

from service.db import Database, UnitOfWork
from service.errors import DatabaseUnavailable
from service.leases import Lease
from workers.heartbeat import HANG_EXIT_STATUS, Heartbeat

LEASE_S = 0.9
BEAT_S = LEASE_S / 3
LATE_S = 0.25  # how late a thread may be on a busy machine
LONG_S = 60.0
GIVE_UP_S = 3.0


class LeaseBook(Database):
    """A table of leases: remembers when each was renewed. `taken` are no longer held; while `away` nothing answers."""

    def __init__(self) -> None:
        self.renewals: list[tuple[float, tuple[UUID, ...], float]] = []
        self.taken: set[UUID] = set()
        self.away = False

    def statement(self) -> UnitOfWork:
        """See Database."""
        return _Renewal(self)


class _Renewal(UnitOfWork):
    def __init__(self, book: LeaseBook) -> None:
        self._book = book

    def __enter__(self) -> Self:
        if self._book.away:
            raise DatabaseUnavailable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        pass

    def execute(self, query: str, params: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        assert isinstance(params, Mapping)
        ids, lease_s = params["ids"], params["lease_s"]
        self._book.renewals.append((time.monotonic(), tuple(ids), lease_s))
        return [SimpleNamespace(id=held) for held in ids if held not in self._book.taken]


class DyingProcess:
    """What stands for the process: once told to end it does nothing more, so its thread stands still."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.ended = threading.Event()
        self.buried = threading.Event()

    def __call__(self, status: int) -> None:
        self.statuses.append(status)
        self.ended.set()
        self.buried.wait(LONG_S)


@pytest.fixture
def book() -> LeaseBook:
    return LeaseBook()


@pytest.fixture
def process() -> Iterator[DyingProcess]:
    dying = DyingProcess()
    yield dying
    dying.buried.set()


@pytest.fixture
def heartbeat(book: LeaseBook, process: DyingProcess) -> Iterator[Heartbeat]:
    beating = Heartbeat(book, table="job", lease_s=LEASE_S, end_process=process)
    yield beating
    process.buried.set()
    beating.close()


def leases(count: int = 2) -> list[Lease]:
    return [Lease(uuid4(), 1) for _ in range(count)]


def until(true: Callable[[], object], within_s: float = GIVE_UP_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def test_leases_are_renewed_every_third_of_their_time(book: LeaseBook, heartbeat: Heartbeat) -> None:
    started = time.monotonic()
    heartbeat.hold(leases(), step_s=LONG_S)
    until(lambda: len(book.renewals) == 4)
    times = [started, *(at for at, _, _ in book.renewals)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.9 * BEAT_S <= gap <= BEAT_S + LATE_S for gap in gaps), gaps


def test_all_held_leases_are_renewed_for_their_whole_time(book: LeaseBook, heartbeat: Heartbeat) -> None:
    held = leases(3)
    heartbeat.hold(held, step_s=LONG_S)
    until(lambda: book.renewals)
    _, ids, lease_s = book.renewals[0]
    assert (set(ids), lease_s) == ({lease.id for lease in held}, LEASE_S)


def test_nothing_is_renewed_while_nothing_is_held(book: LeaseBook, heartbeat: Heartbeat) -> None:
    heartbeat.step(LONG_S)
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.let_go()
    time.sleep(BEAT_S + LATE_S)
    assert book.renewals == []


def test_a_lease_that_somebody_else_has_is_known_as_lost(book: LeaseBook, heartbeat: Heartbeat) -> None:
    kept, taken = leases()
    heartbeat.hold([kept, taken], step_s=LONG_S)
    assert heartbeat.lost == set()
    book.taken.add(taken.id)
    until(lambda: heartbeat.lost == {taken.id})


def test_what_was_lost_is_forgotten_with_the_next_hold(book: LeaseBook, heartbeat: Heartbeat) -> None:
    held = leases()
    book.taken = {lease.id for lease in held}
    heartbeat.hold(held, step_s=LONG_S)
    until(lambda: heartbeat.lost)
    heartbeat.hold(leases(), step_s=LONG_S)
    assert heartbeat.lost == set()


def test_leases_that_join_and_leave_are_renewed_at_the_next_beat(
    book: LeaseBook, heartbeat: Heartbeat
) -> None:
    first, second, third = leases(3)
    began = time.monotonic()
    heartbeat.hold([first], step_s=LONG_S)
    heartbeat.change([first, second])
    while time.monotonic() < began + 0.8 * BEAT_S:  # each of which would put off the beat if it began anew
        heartbeat.change([second, third])
    until(lambda: book.renewals)
    at, ids, _ = book.renewals[0]
    assert at - began <= BEAT_S + LATE_S
    assert set(ids) == {second.id, third.id}


def test_a_lease_that_is_lost_stays_lost_while_others_join(book: LeaseBook, heartbeat: Heartbeat) -> None:
    kept, taken, joined = leases(3)
    book.taken.add(taken.id)
    heartbeat.hold([kept, taken], step_s=LONG_S)
    until(lambda: heartbeat.lost)
    heartbeat.change([kept, taken, joined])
    until(lambda: len(book.renewals) == 3)
    assert heartbeat.lost == {taken.id}


def test_while_postgres_is_away_nothing_counts_as_lost(book: LeaseBook, heartbeat: Heartbeat) -> None:
    book.away = True
    heartbeat.hold(leases(), step_s=LONG_S)
    time.sleep(BEAT_S + LATE_S)
    assert heartbeat.lost == set()


def test_renewing_goes_on_when_postgres_is_back(book: LeaseBook, heartbeat: Heartbeat) -> None:
    book.away = True
    heartbeat.hold(leases(), step_s=LONG_S)
    time.sleep(BEAT_S + LATE_S)
    book.away = False
    until(lambda: book.renewals, within_s=BEAT_S + LATE_S)


def test_a_step_that_overruns_is_told_once_to_stop(heartbeat: Heartbeat, process: DyingProcess) -> None:
    told: list[float] = []
    heartbeat.hold(leases(), step_s=LONG_S)
    started = time.monotonic()
    heartbeat.step(0.1, lambda: told.append(time.monotonic()))
    assert process.ended.wait(GIVE_UP_S)
    assert len(told) == 1
    assert 0.1 <= told[0] - started <= 0.1 + LATE_S


def test_a_step_that_does_not_stop_ends_the_process_a_beat_later(
    heartbeat: Heartbeat, process: DyingProcess
) -> None:
    told: list[float] = []
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.step(0.05, lambda: told.append(time.monotonic()))
    assert process.ended.wait(GIVE_UP_S)
    assert 0.9 * BEAT_S <= time.monotonic() - told[0] <= BEAT_S + 2 * LATE_S
    assert process.statuses == [HANG_EXIT_STATUS]


def test_a_step_that_cannot_be_stopped_ends_the_process_at_once(
    heartbeat: Heartbeat, process: DyingProcess
) -> None:
    heartbeat.hold(leases(), step_s=0.05)
    assert process.ended.wait(0.05 + LATE_S)


def test_a_hung_process_renews_nothing_more(
    book: LeaseBook, heartbeat: Heartbeat, process: DyingProcess
) -> None:
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.step(0.05, lambda: None)
    assert process.ended.wait(GIVE_UP_S)
    renewed = len(book.renewals)
    time.sleep(BEAT_S + LATE_S)
    assert len(book.renewals) == renewed <= 1


def test_a_step_that_stops_when_told_keeps_the_process(heartbeat: Heartbeat, process: DyingProcess) -> None:
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.step(0.05, lambda: heartbeat.step(LONG_S))
    assert not process.ended.wait(BEAT_S + LATE_S)


def test_work_that_is_given_back_when_told_to_stop_keeps_the_process(
    heartbeat: Heartbeat, process: DyingProcess
) -> None:
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.step(0.05, heartbeat.let_go)
    assert not process.ended.wait(BEAT_S + LATE_S)


def test_progress_keeps_long_work_alive(heartbeat: Heartbeat, process: DyingProcess) -> None:
    heartbeat.hold(leases(), step_s=0.3)
    for _ in range(20):
        heartbeat.step(0.3)
        time.sleep(0.03)
    heartbeat.let_go()
    assert process.statuses == []


def test_a_fault_in_stopping_a_step_still_ends_the_process(
    heartbeat: Heartbeat, process: DyingProcess
) -> None:
    def fails() -> None:
        raise LookupError

    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.step(0.05, fails)
    assert process.ended.wait(GIVE_UP_S)


def test_a_closed_heartbeat_renews_nothing(book: LeaseBook, process: DyingProcess) -> None:
    heartbeat = Heartbeat(book, table="job", lease_s=LEASE_S, end_process=process)
    heartbeat.hold(leases(), step_s=LONG_S)
    heartbeat.close()
    time.sleep(BEAT_S + LATE_S)
    assert book.renewals == []
