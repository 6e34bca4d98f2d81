"""A Redis that answers and refuses, or does not answer at all: jobs are scored all the same, and the cause has a name."""

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
    "became a replica of a dead master": (OwnRedis.replica, "read_only"),
    "forbids EVAL": (lambda redis: redis.without("eval"), "forbidden"),
    "forbids BRPOP": (lambda redis: redis.without("brpop"), "forbidden"),
    "holds somebody else's key": (lambda redis: redis.occupied("score"), "occupied"),
    "has no memory left": (OwnRedis.full, "out_of_memory"),
    "cannot write its snapshot": (OwnRedis.unwritable, "cannot_persist"),
    "lacks the replicas it is to have": (OwnRedis.lonely_master, "lacks_replicas"),
    "has another password": (OwnRedis.other_password, "login_refused"),
    "takes no more clients": (OwnRedis.crowded, "too_many_clients"),
    "runs somebody's endless script": (OwnRedis.busy, "busy"),
    "became a node of a cluster": (OwnRedis.cluster, "cluster"),
}

# In the short form; how each of the others is named is tested in contract/.
SHORT = (
    *("is dead", "stands still", "became a replica of a dead master", "forbids EVAL", "forbids BRPOP"),
    *("has no memory left", "has another password", "became a node of a cluster"),
)


@pytest.mark.parametrize("fault", FAULTS)
def test_redis_is_at_fault_and_jobs_are_scored(
    operated: Operated, report: Report, fault: str, full: bool
) -> None:
    if not full and fault not in SHORT:
        pytest.skip("with --faults full")
    broken, word = FAULTS[fault]
    endured(
        operated.arena,
        report,
        f"O Redis {fault}",
        broken(operated.redis),
        words=[word],
        scored_meanwhile=True,
        lasts_s=60.0 if full else 3.0,
        swept_meanwhile=True,
    )
