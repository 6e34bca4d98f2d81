"""What many ask for is made once for all of them, and never from before they asked unless it is fresh."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.api.http.remembered import Remembered


class Made:
    """Numbers in turn, each of which takes a while, and a clock."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.now_s = 10.0
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        self.now_s += self.takes_s
        return self.count

    def remembered(self, for_s: float) -> Remembered[int]:
        return Remembered(self, for_s=for_s, clock=lambda: self.now_s)


def test_it_is_made_again_when_its_time_is_over() -> None:
    made = Made()
    remembered = made.remembered(0.25)
    assert [remembered(), remembered()] == [1, 1]
    made.now_s += 0.2
    assert remembered() == 1
    made.now_s += 0.06
    assert remembered() == 2


def test_what_takes_long_is_made_for_a_part_of_the_time() -> None:
    made = Made(takes_s=2.0)
    remembered = Remembered(made, for_s=0.25, pauses=10, clock=lambda: made.now_s)
    assert remembered() == 1
    made.now_s += 9 * 2.0 - 0.1
    assert remembered() == 1
    made.now_s += 0.2
    assert remembered() == 2


def test_without_a_time_it_is_made_each_time() -> None:
    made = Made()
    remembered = made.remembered(0.0)
    made.now_s += 1
    assert [remembered(), _later(made, remembered)] == [1, 2]


def _later(made: Made, remembered: Remembered[int]) -> int:
    made.now_s += 0.001
    return remembered()


def test_a_fault_is_not_remembered() -> None:
    faults = [ConnectionError("away")]

    def make() -> int:
        if faults:
            raise faults.pop()
        return 7

    remembered = Remembered(make)
    with pytest.raises(ConnectionError):
        remembered()
    assert remembered() == 7


def test_those_who_wait_for_the_same_get_what_was_begun_after_they_asked() -> None:
    goes_on, begun, count = threading.Event(), threading.Event(), [0]

    def make() -> int:
        count[0] += 1
        begun.set()
        assert goes_on.wait(5)
        return count[0]

    remembered = Remembered(make, for_s=0.0)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(remembered)
        assert begun.wait(5)
        others = [threads.submit(remembered) for _ in range(8)]
        threading.Event().wait(0.1)
        goes_on.set()
        assert first.result(5) == 1
        assert {other.result(5) for other in others} == {2}
