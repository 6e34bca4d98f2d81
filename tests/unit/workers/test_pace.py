"""Micro-batches of costly cases are small ones."""

import pytest

from workers.pace import MICRO_BATCH_S, Pace


def test_before_anything_is_known_a_batch_is_a_whole_one() -> None:
    assert Pace().limit(64) == 64


@pytest.mark.parametrize(("case_s", "cases"), [(0.001, 64), (0.25, 4), (0.9, 1), (30.0, 1)])
def test_a_batch_takes_about_a_second(case_s: float, cases: int) -> None:
    pace = Pace()
    pace.took(64, 64 * case_s)
    assert pace.limit(64) == cases
    assert cases == 1 or cases * case_s <= MICRO_BATCH_S


def test_a_costly_batch_counts_at_once_and_cheap_ones_by_and_by() -> None:
    pace, limits = Pace(), []
    pace.took(64, 0.064)
    pace.took(4, 2.0)
    for _ in range(8):
        limits.append(pace.limit(64))
        pace.took(limits[-1], 0.001 * limits[-1])
    assert limits == [2, 3, 7, 15, 31, 60, 64, 64]
