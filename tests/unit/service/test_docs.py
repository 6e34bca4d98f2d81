"""What the documents list is what the code has."""

import re
from pathlib import Path

import pytest

from service.api import problems
from service.config import PREFIX, Settings
from service.errors import ServiceError
from service.jobs.execution import Problem
from service.lifecycle import TRANSITIONS, JobState
from workers import scoring

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_each_setting_is_documented(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in (DOCS / "operations.md").read_text()


@pytest.mark.parametrize("error", list(problems.STATUS))
def test_each_problem_code_is_documented_with_its_status(error: type[ServiceError]) -> None:
    assert f"| `{error.code}` | {problems.STATUS[error].value} |" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize("problem", [value for value in vars(scoring).values() if isinstance(value, Problem)])
def test_each_problem_of_a_job_is_documented(problem: Problem) -> None:
    assert f"`{problem.code}`" in (DOCS / "api.md").read_text()


def test_the_state_diagram_has_the_edges_of_the_code_and_no_others() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", (DOCS / "architecture.md").read_text(), re.MULTILINE))
    assert drawn == {(state.value, after.value) for state, nexts in TRANSITIONS.items() for after in nexts}
    assert set(JobState) == set(TRANSITIONS)
