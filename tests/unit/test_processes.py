"""Tests that run in several processes: each is reported as it would be in one, also where its process dies."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FIXTURE = """
import os, pytest
from pathlib import Path

@pytest.fixture(scope="session")
def shared():
    with Path("begun").open("a") as begun:
        print(os.getpid(), file=begun)
    yield
    with Path("ended").open("a") as ended:
        print(os.getpid(), file=ended)
"""
GOOD = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_good(shared, number):
    print("this test is not shown")
"""
BAD = """
import pytest

@pytest.fixture
def broken():
    yield
    raise ValueError("left behind")

def test_wrong(tmp_path):
    print("printed in it")
    assert 6 * 7 == 43

@pytest.mark.skip(reason="no need")
def test_skipped(): pass

def test_cleared_up_badly(broken): pass
"""
DEADLY = """
import os

def test_before(): pass
def test_that_ends_its_process(): os._exit(3)
def test_behind(): pass
"""
LONG = """
import time

def test_first():
    time.sleep(1)
    print("more than a pipe holds" * 10_000)
    assert False

def test_second(): pass
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest on the files of a folder, with no plugin but ours."""
    (folder / "conftest.py").write_text(FIXTURE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.processes", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    return subprocess.run(
        [*command, "--rootdir", folder, "--basetemp", folder / "temporary", *options],
        check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_every_outcome_is_reported_and_fixtures_end_once_in_each_process(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"test_good_{number}.py").write_text(GOOD)
    (tmp_path / "test_bad.py").write_text(BAD)
    done = run(tmp_path, "--processes", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 13 passed, 1 skipped, 1 error in" in done.stdout
    assert "printed in it" in done.stdout
    assert "left behind" in done.stdout
    assert "this test is not shown" not in done.stdout
    begun = (tmp_path / "begun").read_text().split()
    assert len(begun) == len(set(begun))
    assert sorted(begun) == sorted((tmp_path / "ended").read_text().split())


def test_the_test_in_which_a_process_died_is_named_and_all_others_are_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "test_deadly.py").write_text(DEADLY)
    (tmp_path / "test_good.py").write_text(GOOD)
    done = run(tmp_path, "--processes", "2")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "2 failed, 4 passed in" in done.stdout
    assert re.search(r"_ test_that_ends_its_process _+\nForkProcess-. ended with 3\n", done.stdout)
    assert re.search(r"_ test_behind _+\nnot run: its process had ended\n", done.stdout)


def test_no_process_goes_on_after_as_many_failures_as_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(BAD)
    (tmp_path / "test_long.py").write_text(LONG)
    done = run(tmp_path, "--processes", "2", "--maxfail", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stopping after 1 failures" in done.stdout
    assert "1 failed in" in done.stdout
