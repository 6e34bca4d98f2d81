"""Phrases that had to be replaced in documents, docstrings and messages, with what to write; none may come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_conventions import MODULES, ROOT, place, tree

REPLACED = {
    "found out without": "detected if omitted",
    "has not the": "lacks the",
    "have not the": "lack the",
    "as good as none": "counts as none",
    "not to be had": "not available",
    "from nought": "from zero",
    "nobody foresaw": "unexpected",
    "in the hands of": "held by",
    "wants to know": "name the caller",
    "what it has to say": "its message",
    "tells of": "describes, announces",
    "told of": "announced, reported",
    "so many are": "more than N",
    "anew": "again",
    "stands on the command line": "is given on the command line",
    "stands in the docs": "is documented",
    "as it stands": "in its present state, unchanged",
    "it was tried as often as is allowed": "its attempts are used up",
    "its crashes forgiven": "its crash count reset",
    "is no regular file": "is not a regular file",
    "knows nothing of": "does not depend on",
    "worded as": "expressed as",
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SEEN = re.compile(rf"\b({'|'.join(map(re.escape, REPLACED))})\b")
# Not migrations, which do not change once they are released.
CODE = [path for path in MODULES if place(path).split("/")[0] in {"service", "workers", "models"}]


def replaced_in(text: str) -> list[str]:
    """The phrases that a text has, across line breaks and whatever their case."""
    return SEEN.findall(" ".join(text.lower().split()))


def texts(path: Path) -> Iterator[str]:
    """Docstrings, messages and all other strings of a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("text", ["Found out without them.", "It is found out\n    without a hint."])
def test_a_phrase_is_seen_in_either_case_and_across_lines(text: str) -> None:
    assert replaced_in(text) == ["found out without"]


def test_part_of_a_word_is_no_phrase() -> None:
    assert replaced_in("reopened by a new row, untold offers") == []


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_a_page_has_no_phrase_that_was_replaced(page: Path) -> None:
    found = replaced_in(page.read_text())
    assert found == [], {phrase: REPLACED[phrase] for phrase in found}


def test_no_string_of_the_product_has_a_phrase_that_was_replaced() -> None:
    found = {
        place(path): [f"{phrase}: write {REPLACED[phrase]}" for phrase in phrases]
        for path in CODE
        if (phrases := [phrase for text in texts(path) for phrase in replaced_in(text)])
    }
    assert found == {}
