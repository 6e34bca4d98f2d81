"""Micro-batches of costly cases are small ones, and what a model costs tells its lane."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import pytest

from models.pipelines import Case, Pipeline
from models.pipelines.example_image import gray_png
from workers.pace import (
    FIRST_CASES,
    MICRO_BATCH_S,
    QUICK_BATCH_BYTES,
    QUICK_BATCH_S,
    QUICK_CALL_S,
    QUICK_CASE_S,
    SHARED_CASES,
    SHARED_FOR_S,
    SLOW_FOR_S,
    Budget,
    Pace,
)


def pipeline(*, binary: bool = False) -> Pipeline:
    return cast(Pipeline, SimpleNamespace(binary=binary))


def case(content: bytes, parts: Mapping[str, bytes] | None = None) -> Case:
    return Case(content, {}, parts or {})


def test_before_anything_is_known_a_model_is_slow_and_its_batch_small() -> None:
    pace = Pace()
    assert (pace.is_slow, pace.limit(64, slow=True), pace.limit(8, slow=True)) == (True, FIRST_CASES, 8)
    pace.took(16, 0.016, busy_s=0.016)
    assert (pace.is_slow, pace.limit(64, slow=False)) == (False, 30)


@pytest.mark.parametrize(("case_s", "cases"), [(0.001, 64), (0.25, 4), (0.9, 1), (30.0, 1)])
def test_a_batch_takes_about_a_second(case_s: float, cases: int) -> None:
    pace = Pace()
    pace.took(64, 64 * case_s, busy_s=0.0)
    assert pace.limit(64, slow=True) == cases
    assert cases == 1 or cases * case_s <= MICRO_BATCH_S


@pytest.mark.parametrize(("case_s", "cases"), [(0.0001, 64), (0.001, 30), (0.01, 3), (0.3, 1)])
def test_a_batch_of_a_quick_model_takes_little_of_it(case_s: float, cases: int) -> None:
    pace = Pace()
    pace.took(64, 64 * case_s, busy_s=0.0)
    assert pace.limit(64, slow=False) == cases
    assert cases == 1 or cases * case_s <= QUICK_BATCH_S


def test_a_costly_batch_counts_at_once_and_cheap_ones_by_and_by() -> None:
    pace, limits = Pace(), []
    pace.took(64, 0.064, busy_s=0.0)
    pace.took(4, 2.0, busy_s=0.0)
    for _ in range(8):
        limits.append(pace.limit(64, slow=True))
        pace.took(limits[-1], 0.001 * limits[-1], busy_s=0.0)
    assert limits == [2, 3, 7, 15, 31, 60, 64, 64]


def test_a_model_is_slow_for_a_while_after_its_last_costly_case() -> None:
    now_s = [100.0]
    pace = Pace(clock=lambda: now_s[0])
    pace.took(4, 1.0, busy_s=QUICK_CALL_S + 4 * QUICK_CASE_S)
    assert not pace.is_slow
    pace.took(4, 1.0, busy_s=QUICK_CALL_S + 4.1 * QUICK_CASE_S)
    assert pace.is_slow
    now_s[0] += SLOW_FOR_S - 1
    pace.is_costly()
    now_s[0] += SLOW_FOR_S - 1
    assert pace.is_slow
    now_s[0] += 2
    assert not pace.is_slow


def test_batches_are_small_for_a_while_after_several_tenants_had_jobs() -> None:
    now_s = [100.0]
    pace = Pace(clock=lambda: now_s[0])
    pace.took(512, 0.001, busy_s=0.0)
    pace.claimed(1)
    assert (pace.limit(512, slow=False), pace.is_shared) == (512, False)
    pace.claimed(2)
    pace.claimed(1)
    assert (pace.limit(512, slow=False), pace.is_shared) == (SHARED_CASES, True)
    assert pace.limit(16, slow=True) == 16
    pace.took(1, 0.014, busy_s=0.0)
    assert pace.limit(512, slow=False) == 2
    now_s[0] += SHARED_FOR_S
    assert (pace.limit(16, slow=True), pace.is_shared) == (16, False)


def test_who_waited_for_a_processor_is_not_slow() -> None:
    pace = Pace()
    pace.took(1, 3.0, busy_s=0.001)
    assert not pace.is_slow


def test_a_call_that_cost_much_for_one_case_makes_no_slow_model() -> None:
    pace = Pace()
    pace.took(1, 0.02, busy_s=0.006)  # of a model that takes 1 ms, while the machine is busy
    assert not pace.is_slow
    pace.took(1, 0.02, busy_s=0.014)
    assert pace.is_slow


def test_what_a_quick_model_takes_is_small() -> None:
    small, half = case(b"{}"), case(b" " * (QUICK_BATCH_BYTES // 2))
    budget = Budget(pipeline(), slow=False)
    assert [budget.takes(each) for each in (small, half, half, small)] == [True, True, False, False]
    assert not Budget(pipeline(), slow=False).takes(case(b"{}", {"scan": b" " * QUICK_BATCH_BYTES}))
    assert Budget(pipeline(), slow=False).takes(small)


def test_of_a_slow_model_the_first_input_is_taken_whatever_its_size() -> None:
    large = case(gray_png(5000, 5000))
    budget = Budget(pipeline(binary=True), slow=True)
    assert [budget.takes(each) for each in (large, large)] == [True, False]
    assert not Budget(pipeline(binary=True), slow=False).takes(large)
    assert not Budget(pipeline(), slow=False).takes(case(b"{}", {"scan": large.payload}))
    assert Budget(pipeline(), slow=True).takes(case(b"{}" * QUICK_BATCH_BYTES))


def test_many_pictures_of_some_size_are_too_many_for_a_quick_model() -> None:
    picture = case(gray_png(300, 300))
    budget = Budget(pipeline(binary=True), slow=False)
    assert [budget.takes(picture) for _ in range(13)] == [True] * 11 + [False] * 2
