"""The project's conventions: what a reader may rely on in every file. Documents: test_docs."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from models.bundle import bundled, read_bundle
from models.release import released
from service.cli.up import CLIENT_VARIABLES
from service.config import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
PRODUCT = ("service", "workers", "models", "migrations")
PACKAGES = (*PRODUCT, "tests", "benchmarks")
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.read_text().strip()
)

MOST_LINES = 400
LONGER = {
    "service/errors.py": "every error with its code on one page",
    "service/orm.py": "the whole schema on one page",
    "tests/unit/service/test_cli_commands.py": "one table of every command",
}
AVOIDED = {"util", "utils", "helper", "helpers", "common", "base", "manager", "handler", "info", "data"}
NAMED_ALL_THE_SAME = {
    "DataFolder": "the folder that --data-dir names",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def document(name: str) -> str:
    path = ROOT / "docs" / name
    assert path.is_file(), f"docs/{name} has yet to be written"
    return path.read_text()


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("base_of_all", {"base", "of", "all"}), ("BlobManager", {"blob", "manager"}), ("HTTPInfo", {"http", "info"})],
)  # fmt: skip
def test_the_words_of_a_name_are_told_apart(name: str, expected: set[str]) -> None:
    assert words(name) == expected


def test_every_module_opens_with_what_it_owns() -> None:
    assert [place(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


def test_every_file_has_at_most_400_lines_or_a_reason() -> None:
    longer = {place(path) for path in MODULES if len(path.read_text().splitlines()) > MOST_LINES}
    assert longer == set(LONGER)


def test_no_module_is_named_with_a_word_that_says_nothing() -> None:
    assert [place(path) for path in MODULES if not words(path.stem).isdisjoint(AVOIDED)] == []


def test_no_class_is_named_with_a_word_that_says_nothing() -> None:
    nodes = (node for path in MODULES for node in ast.walk(tree(path)))
    named = {node.name for node in nodes if isinstance(node, ast.ClassDef) and words(node.name) & AVOIDED}
    assert named == set(NAMED_ALL_THE_SAME)


def test_every_public_function_and_class_of_the_product_has_a_docstring() -> None:
    undescribed = [
        f"{place(path)}: {node.name}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] in PRODUCT and "zoo" not in path.parts
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert undescribed == []


def test_no_setting_is_documented_that_does_not_exist() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z0-9_]*[A-Z0-9]", document("operations.md")))
    assert set(Settings.unknown_variables(dict.fromkeys(named, ""))) <= CLIENT_VARIABLES


def test_the_documented_default_of_a_setting_is_the_real_one() -> None:
    """The table's rows read `| NAME | default | meaning |`; an empty default means none."""
    for line in document("operations.md").splitlines():
        row = re.match(rf"\|\s*`{PREFIX}([A-Z0-9_]+)`\s*\|([^|]*)\|", line)
        if row and (default := row[2].strip().strip("`")):
            assert Settings.from_environment({PREFIX + row[1]: default}) == Settings(), line


def test_the_gate_checks_who_imports_whom() -> None:
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert check, "the Makefile has no target `check`"
    assert "lint-imports" in check[1]
    assert "mypy" in check[1]
    assert "ruff check" in check[1]


def test_a_new_module_must_be_given_a_layer() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"].get("importlinter", {})
    layers = [contract for contract in linter.get("contracts", []) if contract["type"] == "layers"]
    assert any(contract.get("exhaustive") for contract in layers)


def test_the_same_gate_runs_everywhere() -> None:
    run = (ROOT / ".ci" / "run").read_text()
    assert "make check" in run
    assert "make test" in run


def test_the_digests_of_the_release_are_those_of_the_bundled_models() -> None:
    assert released() == {folder.name: read_bundle(folder).digest for folder in bundled()}, (
        "run `make models-page`"
    )
