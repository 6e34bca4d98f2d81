"""A Redis that does not answer: the cause has a name, and all jobs end well."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.faults.operations.conftest import Operated
from tests.faults.operations.endurance import endured
from tests.faults.operations.redis_server import OwnRedis
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(5400)

Fault = Callable[[OwnRedis], AbstractContextManager[None]]

FAULTS: dict[str, tuple[Fault, str]] = {
    "is dead": (OwnRedis.dead, "unreachable"),
    "stands still": (OwnRedis.standing_still, "unreachable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_redis_is_at_fault_and_all_jobs_end_well(operated: Operated, report: Report, fault: str) -> None:
    broken, word = FAULTS[fault]
    endured(
        operated.arena,
        report,
        f"O Redis {fault}",
        broken(operated.redis),
        words=[word],
    )
