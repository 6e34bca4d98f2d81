"""The job store against a model of it, on real Postgres: whatever sessions do, in whatever order, both agree.

`--faults=full` looks at many more and longer runs. A failure prints the steps to it and a line that repeats it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.job_store_bench import Bench, bench
from tests.faults.job_store_machine import JobStoreMachine


@dataclass(frozen=True)
class Effort:
    """How many runs of how many steps, and how long they may take."""

    examples: int
    steps: int
    timeout_s: int


EFFORTS = {
    "short": Effort(examples=100, steps=25, timeout_s=600),
    "full": Effort(examples=2_000, steps=50, timeout_s=7_200),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One effort a run, with the time that it may take."""
    if "effort" in metafunc.fixturenames:
        name = metafunc.config.getoption("--faults", default="short")
        effort = EFFORTS["full" if name == "full" else "short"]
        marks = pytest.mark.timeout(effort.timeout_s)
        metafunc.parametrize("effort", [pytest.param(effort, marks=marks, id=name)])


@pytest.fixture
def opened(database_url: str) -> Iterator[Bench]:
    """A bench over this test's database."""
    with bench(database_url) as made:
        yield made


def test_the_store_does_what_the_model_does(opened: Bench, effort: Effort) -> None:
    run_state_machine_as_test(
        lambda: JobStoreMachine(opened),  # type: ignore[arg-type]  # any factory will do, says its docstring
        settings=settings(
            max_examples=effort.examples,
            stateful_step_count=effort.steps,
            deadline=None,
            derandomize=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
