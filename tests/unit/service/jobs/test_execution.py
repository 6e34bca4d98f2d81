"""Back-off, and what an ending leads to. Claims and fences: integration."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.execution import Ending, Problem, backoff_s
from service.leases import Lease
from service.lifecycle import JobState

LEASE = Lease(UUID(int=1), 1)
attempts = st.integers(1, 10**6)
bases = st.floats(1e-3, 600)
caps = st.floats(1e-3, 86_400)
chances = st.floats(0, 1, exclude_max=True)


@given(attempts, bases, caps, chances)
def test_a_delay_stays_within_half_and_one_and_a_half_of_its_doubling(
    attempt: int, base_s: float, cap_s: float, chance: float
) -> None:
    doubled_s = min(base_s * 2.0 ** min(attempt - 1, 1000), cap_s)
    delay_s = backoff_s(attempt, base_s=base_s, cap_s=cap_s, chance=chance)
    assert 0.5 * doubled_s <= delay_s <= 1.5 * doubled_s


@given(bases, caps, chances)
def test_the_next_delay_is_never_shorter(base_s: float, cap_s: float, chance: float) -> None:
    delays = [backoff_s(attempt, base_s=base_s, cap_s=cap_s, chance=chance) for attempt in range(1, 40)]
    assert all(earlier <= later for earlier, later in pairwise(delays))


def test_delays_double_from_the_first_up_to_the_longest() -> None:
    delays = [backoff_s(attempt, base_s=1, cap_s=10, chance=0.5) for attempt in range(1, 7)]
    assert delays == [1, 2, 4, 8, 10, 10]


def test_chance_spreads_delays() -> None:
    delays = {backoff_s(3, base_s=1, cap_s=100, chance=chance / 10) for chance in range(10)}
    assert len(delays) == 10


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending(LEASE, payload=b"sealed"), JobState.SUCCEEDED),
        (Ending(LEASE, problem=Problem("model_failed", "It fails.")), JobState.FAILED),
    ],
)
def test_an_ending_with_a_result_succeeds_and_one_with_a_problem_fails(
    ending: Ending, state: JobState
) -> None:
    assert ending.state is state
