"""Each way in which a real Redis refuses is told apart by a message that is sent as wake-ups are, and has advice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from service.broker import redis_fault
from service.redis_faults import RedisFault
from tests.acceptance.stack import eventually
from tests.faults.operations.redis_server import OwnRedis, own_redis

Fault = Callable[[OwnRedis], AbstractContextManager[None]]

FAULTS: dict[RedisFault, list[Fault]] = {
    RedisFault.UNREACHABLE: [OwnRedis.dead, OwnRedis.standing_still],
    RedisFault.READ_ONLY: [OwnRedis.replica],
    RedisFault.FORBIDDEN: [
        lambda redis: redis.without("eval"),
        lambda redis: redis.without("lpush"),
        lambda redis: redis.without("brpop"),
        lambda redis: redis.allowed_keys("other.*"),
        lambda redis: redis.restarted("--rename-command", "EVAL", ""),
        lambda redis: redis.restarted("--rename-command", "LPOS", ""),
    ],
    RedisFault.OUT_OF_MEMORY: [OwnRedis.full],
    RedisFault.CANNOT_PERSIST: [OwnRedis.unwritable],
    RedisFault.LACKS_REPLICAS: [OwnRedis.lonely_master],
    RedisFault.LOGIN_REFUSED: [OwnRedis.other_password],
    RedisFault.TOO_MANY_CLIENTS: [OwnRedis.crowded],
    RedisFault.BUSY: [OwnRedis.busy],
    RedisFault.OCCUPIED: [lambda redis: redis.occupied("score"), lambda redis: redis.occupied("maintenance")],
    RedisFault.CLUSTER: [OwnRedis.cluster, OwnRedis.whole_cluster],
}
CASES = [(fault, number) for fault, ways in FAULTS.items() for number in range(len(ways))]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    with own_redis(Path(tmp_path_factory.mktemp("redis")) / "server") as server:
        yield server


@pytest.mark.parametrize(("fault", "number"), CASES)
def test_a_fault_is_told_apart_and_is_over_when_it_is_mended(
    own: OwnRedis, fault: RedisFault, number: int
) -> None:
    with FAULTS[fault][number](own):
        eventually(lambda: redis_fault(own.url) is not None, within_s=5)
        assert redis_fault(own.url) is fault
    eventually(lambda: redis_fault(own.url) is None, within_s=10)


def test_a_probe_leaves_nothing_behind(own: OwnRedis) -> None:
    assert redis_fault(own.url) is None
    with own.client() as client:
        assert client.dbsize() == 0


def test_a_database_that_the_server_lacks_is_a_wrong_setting(own: OwnRedis) -> None:
    assert redis_fault(own.url.replace("/0", "/99")) is RedisFault.MISCONFIGURED


def test_an_address_that_cannot_be_read_is_no_fault_of_the_server() -> None:
    assert redis_fault("") is RedisFault.MISCONFIGURED


@pytest.mark.parametrize("fault", RedisFault)
def test_every_fault_has_advice(fault: RedisFault) -> None:
    assert fault.advice
