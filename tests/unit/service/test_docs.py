"""What the documents list is what the code has."""

import re
import tomllib
from enum import StrEnum
from pathlib import Path

import pytest

from service.api.http import problems
from service.batches.files.problems import FileProblem
from service.config import PREFIX, Settings
from service.errors import ServiceError
from service.jobs.execution import Problem
from service.lifecycle import BATCH_TRANSITIONS, TRANSITIONS, BatchState, JobState
from service.metrics import REGISTRY
from tests.acceptance.bad_requests import ALL
from workers.jobs import scoring

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_INSTALLED = {"train", "bench", "dev"}  # extras of those who work on medqueue
LIBRARIES = sorted(
    {
        re.split(r"[\[>=]", requirement)[0]
        for requirements in (
            PROJECT["dependencies"],
            *(
                found
                for extra, found in PROJECT["optional-dependencies"].items()
                if extra not in NOT_INSTALLED
            ),
        )
        for requirement in requirements
    }
)


def is_there(name: str) -> bool:
    """Whether a page's `folder/file`, with or without its suffix, stands in the code."""
    path = ROOT / name
    return path.exists() or path.with_name(path.name + ".py").exists()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_each_setting_is_documented(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in (DOCS / "operations.md").read_text()


@pytest.mark.parametrize("error", list(problems.STATUS))
def test_each_problem_code_is_documented_with_its_status(error: type[ServiceError]) -> None:
    assert f"| `{error.code}` | {problems.STATUS[error].value} |" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize(
    ("code", "status"), sorted({(bad.code, bad.status) for bad in ALL} | {("internal_error", 500)})
)
def test_each_code_of_a_refused_request_is_documented(code: str, status: int) -> None:
    assert f"| `{code}` | {status} |" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize("problem", [value for value in vars(scoring).values() if isinstance(value, Problem)])
def test_each_problem_of_a_job_is_documented(problem: Problem) -> None:
    assert f"`{problem.code}`" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize(
    ("heading", "transitions", "states"),
    [
        ("The life of a job", TRANSITIONS, JobState),
        ("The life of a batch", BATCH_TRANSITIONS, BatchState),
    ],
)
def test_a_state_diagram_has_the_edges_of_the_code_and_no_others(
    heading: str, transitions: dict[StrEnum, frozenset[StrEnum]], states: type[StrEnum]
) -> None:
    section = (DOCS / "architecture.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", section, re.MULTILINE))
    assert drawn == {(state.value, after.value) for state, nexts in transitions.items() for after in nexts}
    assert set(states) == set(transitions)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_each_file_of_the_code_that_a_page_points_to_is_there(page: Path) -> None:
    named = re.findall(r"`((?:service|workers|models|migrations|tests)/[\w/.-]+)`", page.read_text())
    assert [name for name in named if not is_there(name)] == []


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_library_that_is_installed_stands_in_its_decision(name: str) -> None:
    page = (DOCS / "decisions" / "0006-libraries.md").read_text().lower()
    assert name.replace("-", "") in re.sub(r"[ -]", "", page)


@pytest.mark.parametrize("problem", list(FileProblem))
def test_each_problem_of_a_file_is_documented(problem: FileProblem) -> None:
    assert f"| `{problem.value}` |" in (DOCS / "api.md").read_text()


OVERNIGHT = ("medqueue_batch_rows", "medqueue_batch_chunk")


@pytest.mark.parametrize(
    "name", sorted(found.name for found in REGISTRY.collect() if found.name.startswith(OVERNIGHT))
)
def test_each_metric_of_overnight_batches_is_documented(name: str) -> None:
    assert f"`{name}" in (DOCS / "operations.md").read_text()
