"""Places that tenants share: those who want many leave some for the next one."""

import threading
from collections import Counter
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
