"""Calls join while one is under way, and each caller gets what is his."""

import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from service.combining import Combiner


class Gate:
    """A run that can be held up, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def run_all(self, items: Sequence[int]) -> list[int]:
        """Double every item; 13 is bad luck for whoever sends it, 99 for all."""
        self.batches.append(list(items))
        self.entered.set()
        self.open.wait(timeout=10)
        if 99 in items:
            raise ConnectionError
        if 13 in items:
            raise ValueError
        return [2 * item for item in items]


def combiner(gate: Gate, limit: int = 8) -> Combiner[int, int]:
    return Combiner(gate.run_all, limit=limit, for_all=(ConnectionError,))


def together(
    gate: Gate, combined: Combiner[int, int], first: int, others: list[int]
) -> list[int | Exception]:
    """The outcomes of `others`, sent while `first` is under way."""

    def outcome(item: int) -> int | Exception:
        try:
            return combined.run(item)
        except (ValueError, ConnectionError) as error:
            return error

    with ThreadPoolExecutor(max_workers=len(others) + 1) as pool:
        leader = pool.submit(combined.run, first)
        assert gate.entered.wait(timeout=10)
        futures = [pool.submit(outcome, item) for item in others]
        while len(combined._waiting) < len(others):
            threading.Event().wait(0.001)
        gate.open.set()
        leader.result(timeout=10)
        return [future.result(timeout=10) for future in futures]


def test_a_lone_call_runs_at_once() -> None:
    gate = Gate()
    gate.open.set()
    assert combiner(gate).run(4) == 8


def test_calls_that_come_meanwhile_run_as_one() -> None:
    gate = Gate()
    answers = together(gate, combiner(gate), 1, [2, 3, 4])
    assert answers == [4, 6, 8]
    assert [len(batch) for batch in gate.batches] == [1, 3]


def test_a_batch_keeps_to_its_limit() -> None:
    gate = Gate()
    assert sorted(map(int, together(gate, combiner(gate, limit=2), 1, [2, 3, 4, 5, 6]))) == [4, 6, 8, 10, 12]  # type: ignore[arg-type]
    assert [len(batch) for batch in gate.batches] == [1, 2, 2, 1]


def test_an_error_meets_the_caller_who_caused_it() -> None:
    gate = Gate()
    answers = together(gate, combiner(gate), 1, [2, 13, 4])
    assert [answers[0], answers[2]] == [4, 8]
    assert isinstance(answers[1], ValueError)


def test_an_error_that_is_for_all_is_not_tried_again() -> None:
    gate = Gate()
    answers = together(gate, combiner(gate), 1, [2, 99, 4])
    assert all(isinstance(answer, ConnectionError) for answer in answers)
    assert len(gate.batches) == 2


def test_the_line_moves_on_after_an_error() -> None:
    gate = Gate()
    gate.open.set()
    combined = combiner(gate)
    with pytest.raises(ConnectionError):
        combined.run(99)
    assert combined.run(1) == 2


class Item:
    """What can be watched."""


def test_an_item_that_failed_is_not_kept() -> None:
    def fail(_: Sequence[Item]) -> list[Item]:
        raise ConnectionError

    combined = Combiner(fail, limit=8, for_all=(ConnectionError,))
    item = Item()
    watched = weakref.ref(item)
    gc.disable()
    try:
        with suppress(ConnectionError):
            combined.run(item)
        del item
        assert watched() is None
    finally:
        gc.enable()
