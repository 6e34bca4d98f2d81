"""The codes of problems are closed sets: written once, used, and told of in the documents."""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

import models
from models.field_codes import FieldCode
from service.problem_codes import BatchProblem, JobProblem
from tests.unit.service.test_statements import SOURCES, written

MODELS = sorted(Path(models.__path__[0]).rglob("*.py"))
API = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
CODES: tuple[type[StrEnum], ...] = (JobProblem, BatchProblem, FieldCode)
IN_LETTERS = re.compile(
    r"""(?<!>)'code', '[a-z_]+'|\{"code": ?"[a-z_]+"|->>'code' \S+( DISTINCT FROM)? '[a-z_]+'"""
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("jsonb_build_object('code', 'too_many_errors',", True),
        ('{"code": "worker_crashed", "detail": ', True),
        ("problem->>'code' <> 'predecessor_failed'", True),
        ("jsonb_build_object('code', problem->>'code', 'detail', problem->>'detail')", False),
        ("problem->>'code' = %(code)s", False),
    ],
)
def test_a_code_in_letters_is_told_from_one_that_is_read(text: str, *, found: bool) -> None:
    assert bool(IN_LETTERS.search(text)) is found


def test_no_statement_writes_a_code_in_letters_of_its_own() -> None:
    assert written(IN_LETTERS) == []


def test_no_problem_has_a_code_in_letters_of_its_own() -> None:
    problems = [
        (path.name, node.lineno)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Problem"
        if node.args and isinstance(node.args[0], ast.Constant)
    ]
    assert problems == []


@cache
def attributes() -> Mapping[str, set[str]]:
    """Which attributes of each name are written in the modules that name a set of codes."""
    found = defaultdict(set)
    texts = (path.read_text() for path in [*SOURCES, *MODELS])
    for text in texts:
        if any(codes.__name__ in text for codes in CODES):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    found[node.value.id].add(node.attr)
    return found


@pytest.mark.parametrize("codes", CODES)
def test_every_code_is_used_and_documented(codes: type[StrEnum]) -> None:
    assert attributes()[codes.__name__] == {code.name for code in codes}
    assert [code.value for code in codes if f"`{code}`" not in API] == []


def test_the_table_of_field_codes_has_the_set_and_no_others() -> None:
    table = API.split("| field code | meaning |\n|---|---|\n")[1].split("\n\n")[0]
    assert [row.split("`")[1] for row in table.splitlines()] == [code.value for code in FieldCode]
