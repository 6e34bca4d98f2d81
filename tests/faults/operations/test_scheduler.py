"""No scheduler runs: jobs are scored all the same, and that nothing is swept is told."""

import pytest

from tests.faults.operations.conftest import Operated
from tests.faults.operations.endurance import endured
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(5400)


def test_a_scheduler_that_stands_still_is_named(operated: Operated, report: Report) -> None:
    stopped = operated.arena.stack.paused("scheduler")
    endured(
        operated.arena,
        report,
        "O the scheduler stands still",
        stopped,
        words=['"scheduler": "stopped"'],
        scored_meanwhile=True,
    )
