"""Places that tenants share: those who want many leave some for the next one."""

import threading
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from service.shares import OneAtATime, Shares

A, B, C, D = (UUID(int=number) for number in range(4))


def taken(shares: Shares, tenant: UUID) -> int:
    """How many places a tenant gets that takes all it can."""
    found = 0
    while shares.take(tenant):
        found += 1
    return found


@pytest.mark.parametrize(
    ("multiple", "got"), [(1, [12, 6, 3, 2]), (3, [18, 5, 1, 0])], ids=["equal to the free ones", "triple"]
)
def test_each_gets_a_part_of_what_is_left(multiple: int, got: list[int]) -> None:
    shares = Shares(24, multiple=multiple)
    assert [taken(shares, tenant) for tenant in (A, B, C, D)] == got


def test_tenants_that_want_all_at_the_same_time_get_the_same_and_leave_some() -> None:
    shares, held = Shares(64, multiple=3), Counter[UUID]()
    for _ in range(64):
        for tenant in (A, B, C):
            held[tenant] += shares.take(tenant)
    assert held == {A: 20, B: 19, C: 19}
    assert shares.take(D)


def test_a_single_place_is_for_anybody() -> None:
    shares = Shares(1, multiple=1)
    with shares.place(A) as first, shares.place(B) as second:
        assert (first, second) == (True, False)
    with shares.place(B) as again:
        assert again


def test_without_places_there_is_none() -> None:
    assert not Shares(0, multiple=3).take(A)


def test_whoever_waits_gets_the_place_that_comes_free() -> None:
    shares = Shares(1, multiple=1)
    assert shares.take(A)
    threading.Timer(0.1, shares.leave, (A,)).start()
    assert shares.take(B, wait_s=10)
    assert not shares.take(A, wait_s=0.01)


def waiting_for(
    shares: Shares, wants: list[tuple[UUID, int, float]], got: list[tuple[UUID, int]]
) -> list[threading.Thread]:
    """Threads that ask for places one after the other, each for so long, and note what they got."""

    def ask(tenant: UUID, places: int, wait_s: float) -> None:
        if shares.take(tenant, places=places, wait_s=wait_s):
            got.append((tenant, places))

    threads = []
    for want in wants:
        threads.append(threading.Thread(target=ask, args=want))
        threads[-1].start()
        threading.Event().wait(0.05)  # so that this one stands before the next
    return threads


def test_places_that_come_free_go_to_as_many_as_they_are_enough_for_of_each_tenant_in_turn() -> None:
    shares, got = Shares(3, multiple=3), list[tuple[UUID, int]]()
    assert shares.take(D, places=3)
    threads = waiting_for(shares, [(A, 1, 10), (A, 1, 0.5), (B, 1, 10)], got)
    shares.leave(D, places=2)
    for thread in (threads[0], threads[2]):
        thread.join(timeout=10)
    assert sorted(got) == [(A, 1), (B, 1)]
    threads[1].join(timeout=10)  # who gave up
    shares.leave(D)
    assert taken(shares, C) == 1


def test_who_stood_before_smaller_ones_and_gave_up_lets_them_pass() -> None:
    shares, got = Shares(4, multiple=4), list[tuple[UUID, int]]()
    assert shares.take(D, places=3)
    threads = waiting_for(shares, [(A, 4, 0.5), (A, 2, 10)], got)
    shares.leave(D)
    assert got == []
    for thread in threads:
        thread.join(timeout=5)
    assert got == [(A, 2)]


@pytest.mark.parametrize(("left", "wanted"), [(2, [A, B]), (3, [A, A, B]), (4, [A, A, B, B])])
def test_tenants_that_wait_are_served_in_turn_until_nothing_is_left(left: int, wanted: list[UUID]) -> None:
    shares, got = Shares(4, multiple=100), list[tuple[UUID, int]]()
    assert shares.take(D, places=4)
    threads = waiting_for(shares, [(A, 1, 1), (A, 1, 1), (B, 1, 1), (B, 1, 1)], got)
    shares.leave(D, places=left)
    for thread in threads:
        thread.join(timeout=5)
    assert sorted(got) == [(tenant, 1) for tenant in wanted]


def test_places_given_as_one_gives_up_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(1, multiple=1)
    assert shares.take(A)

    def too_late(*_: object) -> bool:
        shares.leave(A)
        return False

    monkeypatch.setattr("service.shares._Wait.was_given", too_late)
    assert shares.take(B, wait_s=1)
    assert not shares.take(A)


def test_nobody_passes_those_of_the_same_tenant_who_wait() -> None:
    shares, got = Shares(4, multiple=4), list[tuple[UUID, int]]()
    assert shares.take(A, places=3)
    threads = waiting_for(shares, [(A, 4, 10), (A, 1, 10)], got)
    assert not shares.take(A)
    assert shares.take(B)
    shares.leave(B)
    assert got == []
    shares.leave(A, places=3)
    threads[0].join(timeout=5)
    assert got == [(A, 4)]
    shares.leave(A, places=4)
    threads[1].join(timeout=5)
    assert got == [(A, 4), (A, 1)]


def test_only_those_who_get_a_place_are_woken() -> None:
    shares = Shares(1, multiple=1)
    assert shares.take(A)
    threads = waiting_for(shares, [(B, 1, 10)] * 20, [])
    before = {thread.native_id: switches(thread) for thread in threads}
    shares.leave(A)
    for _ in range(20):
        threading.Event().wait(0.01)
    woken = [
        thread for thread in threads if not thread.is_alive() or switches(thread) > before[thread.native_id]
    ]
    assert len(woken) == 1
    for _ in range(19):
        shares.leave(B)
        threading.Event().wait(0.01)
    for thread in threads:
        thread.join(timeout=10)


def switches(thread: threading.Thread) -> int:
    """How often a waiting thread has slept."""
    for line in Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    raise AssertionError


def test_places_are_given_back_when_the_block_fails() -> None:
    shares = Shares(1, multiple=1)
    with pytest.raises(ValueError, match="x"), shares.place(A):
        raise ValueError("x")
    assert shares.take(A)


def in_threads(turns: OneAtATime, count: int, order: list[int]) -> list[threading.Thread]:
    """So many that ask for a place one after the other, and note their number once they have it."""

    def ask(number: int) -> None:
        assert turns.take(A, wait_s=10)
        order.append(number)
        turns.leave(A)

    threads = []
    for number in range(count):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        threading.Event().wait(0.05)  # so that this one stands before the next
    return threads


def test_a_place_goes_to_the_one_who_has_waited_longest() -> None:
    turns, order = OneAtATime(), list[int]()
    assert turns.take(A)
    threads = in_threads(turns, 4, order)
    assert (order, turns.take(A), turns.take(B)) == ([], False, True)
    turns.leave(A)
    for thread in threads:
        thread.join(timeout=10)
    assert order == [0, 1, 2, 3]
    assert turns.take(A)


def test_those_who_join_leave_before_the_place_is_free() -> None:
    turns, order = OneAtATime(), list[int]()
    for _ in range(3):
        turns.join(A)
    threads = in_threads(turns, 1, order)
    for _ in range(2):
        turns.leave(A)
    assert not turns.take(A, wait_s=0.05)
    assert order == []
    turns.leave(A)
    threads[0].join(timeout=10)
    assert order == [0]


def test_who_gave_up_waiting_is_passed_over() -> None:
    turns = OneAtATime()
    assert turns.take(A)
    assert not turns.take(A, wait_s=0.01)
    turns.leave(A)
    assert turns.take(A)
