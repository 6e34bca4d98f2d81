"""How SQL is written in the product: parameters by name, and no member of a closed set in letters of its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
import workers
from service import lifecycle
from service.audit import Action
from service.lifecycle import BatchState, JobState

SOURCES = sorted(path for package in (service, workers) for path in Path(package.__path__[0]).rglob("*.py"))
BY_PLACE = re.compile(r"(?<!\))%[sbt](?![a-z])")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module, f-strings in pieces, with the line it begins in; not its docstrings."""
    tree = ast.parse(path.read_text())
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.lineno, node.value


def written(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern stands in a string of the product."""
    return [
        f"{path}:{line}: {text}" for path in SOURCES for line, text in texts(path) if pattern.search(text)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("WHERE id = %s AND", True),
        ("unnest(%b::uuid[])", True),
        ("id = %(id)s", False),
        ("%(ids)b::uuid[]", False),
        ("100 %sure", False),
    ],
)
def test_parameters_by_place_are_told_from_those_by_name(text: str, *, found: bool) -> None:
    assert bool(BY_PLACE.search(text)) is found


def test_statements_have_their_parameters_by_name() -> None:
    assert written(BY_PLACE) == []


# Actions that a statement makes of the state it leads to, as `'job.' || state`.
OF_STATES = {f"job.{state}" for state in JobState if state in lifecycle.ENDED_STATES} | {
    f"batch.{state}" for state in (*lifecycle.ENDED_BATCH_STATES, BatchState.PAUSED, BatchState.FINALIZING)
}
MADE_OF_STATES = re.compile(r"'([a-z]+)\.' \|\| state")


def test_no_statement_writes_an_action_in_letters_of_its_own() -> None:
    assert written(re.compile(r"'(?:job|batch|webhook|schedule|upload|artifact|result|key)\.[a-z_]+'")) == []


def test_what_statements_make_of_states_are_actions() -> None:
    made = {
        found[1] for path in SOURCES for _, text in texts(path) for found in MADE_OF_STATES.finditer(text)
    }
    assert made == {"job", "batch"}
    assert set(Action) >= OF_STATES


def test_every_action_is_recorded_somewhere() -> None:
    named = {
        node.attr
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"Action", "audit.Action"}
    }
    assert {action for action in Action if action.name not in named} <= OF_STATES


def test_what_is_published_are_actions() -> None:
    assert set(Action) >= set(lifecycle.PUBLISHED_ACTIONS)
