"""Failpoints: off they do nothing, armed they do what the token says, once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest

from service import failpoints
from service.failpoints import EXIT_STATUS, Effect, Point

JOB, OTHER = UUID(int=1), UUID(int=2)
SCRIPT = """
import sys, pathlib, uuid
from service import failpoints
failpoints.arm(pathlib.Path(sys.argv[1]))
failpoints.reach(failpoints.Point.RUN_BEFORE, map(uuid.UUID, sys.argv[2:]))
print("went on")
"""


def passing(folder: Path, *job_ids: UUID) -> subprocess.Popen[str]:
    """A process that comes to a point and goes on if it may."""
    command = [sys.executable, "-c", SCRIPT, str(folder), *map(str, job_ids)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def statuses(folder: Path, *job_ids: UUID) -> list[int]:
    """How two processes end that come to the point one after the other."""
    ended = []
    for _ in range(2):
        with passing(folder, *job_ids) as process:
            process.communicate()
            ended.append(process.returncode)
    return ended


def test_off_a_point_does_nothing() -> None:
    failpoints.reach(Point.RUN_BEFORE)


def test_without_a_token_a_process_goes_on(tmp_path: Path) -> None:
    out, _ = passing(tmp_path, JOB).communicate()
    assert out == "went on\n"


def test_a_token_ends_one_process_and_is_taken(tmp_path: Path) -> None:
    (tmp_path / Point.RUN_BEFORE).write_text(Effect.EXIT)
    assert statuses(tmp_path) == [EXIT_STATUS, 0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("job_id", "status"), [(JOB, EXIT_STATUS), (OTHER, 0)])
def test_a_token_of_a_job_ends_every_process_that_has_it(tmp_path: Path, job_id: UUID, status: int) -> None:
    (tmp_path / f"{Point.RUN_BEFORE}@{JOB}").write_text(Effect.EXIT)
    assert statuses(tmp_path, job_id) == [status, status]


def test_a_token_lets_a_process_stand_still_until_it_is_continued(tmp_path: Path) -> None:
    (tmp_path / Point.RUN_BEFORE).write_text(Effect.STOP)
    process = passing(tmp_path)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate()
    assert out == "went on\n"


def test_off_a_point_costs_next_to_nothing() -> None:
    started = time.process_time()
    for _ in range(100_000):
        failpoints.reach(Point.RUN_BEFORE)
    assert time.process_time() - started < 0.5
