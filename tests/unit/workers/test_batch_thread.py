"""The thread that works on batches never ends unnoticed: a worker without it would look well and score no batch."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.errors import DatabaseUnavailable
from workers.arbiter import GraphArbiter
from workers.batches import thread
from workers.batches.services import BatchServices
from workers.batches.thread import THREAD_LOST_EXIT_STATUS, BatchThread
from workers.runtime import CPU

WAIT_S = 10.0


class Scripted(BatchThread):
    """Raises what it is told to, then stops."""

    def __init__(self, faults: list[BaseException]) -> None:
        self.statuses: list[int] = []
        self._faults = faults
        pool = SimpleNamespace(provider=CPU)
        services = cast(BatchServices, SimpleNamespace(database=None, lease_s=30.0, pool=pool))
        super().__init__(services, GraphArbiter(), end_process=self.statuses.append)

    def work(self) -> bool:
        """See BatchThread."""
        if not self._faults:
            self.stop()
            return False
        raise self._faults.pop(0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "AFTER_FAULT_S"):
        monkeypatch.setattr(thread, name, 0.0)


def statuses(*faults: BaseException) -> list[int]:
    """With what the process ends when its work raises these, one after the other."""
    batches = Scripted(list(faults))
    batches.start()
    batches._thread.join(WAIT_S)
    assert not batches._thread.is_alive()
    batches.close()
    return batches.statuses


@pytest.mark.parametrize("fault", [SystemExit(0), SystemExit("bye"), KeyboardInterrupt(), GeneratorExit()])
def test_a_thread_that_ends_ends_its_process(fault: BaseException) -> None:
    assert statuses(fault) == [THREAD_LOST_EXIT_STATUS]


def test_a_thread_whose_log_fails_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(thread.log, "error", broken)
    assert statuses(RuntimeError("x")) == [THREAD_LOST_EXIT_STATUS]


def test_faults_that_pass_and_a_stop_end_no_process() -> None:
    assert statuses(RuntimeError("x"), DatabaseUnavailable()) == []
