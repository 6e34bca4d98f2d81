"""What an operator gets wrong or a server loses: it is named, no job is failed for good, and all end well once it is mended."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from service.jobs.sweeps import LATE_S
from tests.faults.operations import deployment
from tests.faults.operations.conftest import Operated
from tests.faults.operations.endurance import endured
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Scenario:
    """A fault, the word by which it must be named, when it shows, and whether jobs are to be scored while it lasts."""

    fault: Callable[[Operated], AbstractContextManager[object]]
    word: str
    scored: bool = False
    shows_after_s: float = 0.0


def stranger(operated: Operated) -> AbstractContextManager[object]:
    return deployment.another_worker(operated.arena, MEDQUEUE_MASTER_KEY=deployment.another_key())


def nowhere_to_write(operated: Operated) -> AbstractContextManager[object]:
    below_a_file = operated.arena.stack.data / "master.key" / "data"
    key = (operated.arena.stack.data / "master.key").read_text().strip()
    return deployment.another_worker(
        operated.arena, MEDQUEUE_DATA_DIR=str(below_a_file), MEDQUEUE_MASTER_KEY=key
    )


SCENARIOS = {
    "one of two workers has another master key": Scenario(stranger, "MEDQUEUE_MASTER_KEY", scored=True),
    "a worker cannot write to its data folder": Scenario(nowhere_to_write, "MEDQUEUE_DATA_DIR", scored=True),
    "all processes have another master key": Scenario(
        lambda operated: deployment.wrong_master_key(operated.arena, *deployment.PROCESSES),
        "MEDQUEUE_MASTER_KEY",
    ),
    "the API has another master key": Scenario(
        lambda operated: deployment.wrong_master_key(operated.arena, "api"), "MEDQUEUE_MASTER_KEY"
    ),
    "the database has another password": Scenario(
        lambda operated: deployment.wrong_password(operated.arena), "refuses the password"
    ),
    "the database takes no writes": Scenario(
        lambda operated: deployment.read_only(operated.arena), "takes no writes"
    ),
    "the volume of the blobs is full": Scenario(
        lambda operated: deployment.full(operated.blobs), "No space left on device", scored=True
    ),
    "the bundles are gone from the blob store": Scenario(
        lambda operated: deployment.bundles_gone(operated.arena, operated.blobs), "in the blob store"
    ),
    "no scheduler runs": Scenario(
        lambda operated: operated.arena.stack.paused("scheduler"),
        '"scheduler": "stopped"',
        scored=True,
        shows_after_s=LATE_S,
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_named_and_every_job_ends_well(operated: Operated, report: Report, name: str) -> None:
    scenario = SCENARIOS[name]
    with contextlib.ExitStack() as settled:
        settled.callback(operated.arena.settle)
        endured(
            operated.arena,
            report,
            f"O {name}",
            scenario.fault(operated),
            words=[scenario.word],
            scored_meanwhile=scenario.scored,
            shows_after_s=scenario.shows_after_s,
        )
