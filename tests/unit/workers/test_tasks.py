"""Tasks: each name is registered, and a task that fails is logged, never raised."""

import time
from collections.abc import Callable
from typing import cast

import pytest
from celery import Celery

from service.consuming import celery_app
from service.errors import BlobUnavailable, DatabaseUnavailable
from service.queue import TaskName
from workers.process.parts import Parts
from workers.process.schedule import Sweeper
from workers.process.tasks import register, sweeps_of

NOWHERE = "redis://localhost:1/0"
SUBJECT = {TaskName.SCORE: ("01890a5d-ac96-774b-bcce-b302099a8057",)}


def worker(parts: Callable[[], Parts]) -> Celery:
    app = celery_app(NOWHERE)
    register(app, parts)
    return app


def failing_with(fault: Exception) -> Callable[[], Parts]:
    """Parts that cannot be had: whatever a task does, it fails with `fault`."""

    def parts() -> Parts:
        raise fault

    return parts


def test_exactly_the_task_names_are_registered() -> None:
    ours = {name for name in worker(failing_with(LookupError())).tasks if not name.startswith("celery.")}
    assert ours == {task.value for task in TaskName}


@pytest.mark.parametrize("task", TaskName)
@pytest.mark.parametrize("fault", [DatabaseUnavailable(), BlobUnavailable(), LookupError("x")], ids=repr)
def test_a_task_that_fails_is_left_to_the_next_sweep(task: TaskName, fault: Exception) -> None:
    worker(failing_with(fault)).tasks[task.value](*SUBJECT.get(task, ()))


def test_a_wake_up_for_something_that_is_no_id_is_dropped() -> None:
    worker(failing_with(LookupError())).tasks[TaskName.SCORE.value]("no id")


@pytest.mark.parametrize("subjects", [(), ("a", "b")])
def test_a_wake_up_with_the_wrong_number_of_subjects_is_dropped(subjects: tuple[str, ...]) -> None:
    worker(failing_with(LookupError())).tasks[TaskName.SCORE.value](*subjects)


def noting(ran: list[str], name: str, *, well: bool = True) -> Callable[[], bool]:
    def sweep() -> bool:
        ran.append(name)
        return well

    return sweep


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_sweeps_run_again_and_again_in_their_order_until_closed() -> None:
    ran: list[str] = []
    rounds: list[bool] = []
    sweeps = {"one": noting(ran, "one"), "two": noting(ran, "two")}
    sweeper = Sweeper(sweeps, every_s=0.01, ended=rounds.append)
    sweeper.start()
    until(lambda: len(ran) >= 6)
    sweeper.close()
    assert ran[:6] == ["one", "two"] * 3
    assert rounds == [True] * (len(ran) // 2)
    after = len(ran)
    time.sleep(0.05)
    assert len(ran) == after


def test_a_round_in_which_a_sweep_failed_did_not_go_well_and_the_others_ran() -> None:
    ran: list[str] = []
    rounds: list[bool] = []
    sweeps = {"one": noting(ran, "one", well=False), "two": noting(ran, "two")}
    sweeper = Sweeper(sweeps, every_s=0.01, ended=rounds.append)
    sweeper.start()
    until(lambda: rounds)
    sweeper.close()
    assert (ran[:2], rounds[0]) == (["one", "two"], False)


def test_a_sweep_that_fails_is_left_to_the_next() -> None:
    for sweep in sweeps_of(cast(Parts, None)).values():  # without parts it cannot work
        assert sweep() is False
