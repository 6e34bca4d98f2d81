"""What workers share of the models that they refuse, over a real Redis."""

from collections.abc import Iterator

import pytest
from redis import Redis

from service.embedded import ServerUrls
from service.refusals import Refusal
from service.shared_refusals import EXPIRES_S, WORKERS, refused_by_all, share_refusals
from tests.contract.redis_queue import asking

NO_LOAD = Refusal("it cannot be loaded", "Start another worker.")
DIFFERENT = Refusal("its golden cases come out differently", "Publish another version.")
NAMES = ("a@host:1", "b@host:2")


@pytest.fixture
def redis_url(servers: ServerUrls) -> str:
    return servers.redis_url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with asking(redis_url) as client:
        forget(client)
        yield client
        forget(client)


def forget(redis: Redis) -> None:
    redis.delete(WORKERS, *(f"pulse.{name}.refused" for name in NAMES))


def test_only_what_every_live_worker_refuses_is_refused_by_all(redis: Redis, redis_url: str) -> None:
    assert refused_by_all(redis_url) == {}
    share_refusals(redis, NAMES[0], {"m 1.0.0": NO_LOAD, "n 1.0.0": NO_LOAD})
    assert refused_by_all(redis_url) == {"m 1.0.0": NO_LOAD, "n 1.0.0": NO_LOAD}
    share_refusals(redis, NAMES[1], {"n 1.0.0": DIFFERENT})
    assert refused_by_all(redis_url) == {"n 1.0.0": NO_LOAD}
    share_refusals(redis, NAMES[1], {})
    assert refused_by_all(redis_url) == {}


def test_a_worker_that_is_gone_is_forgotten(redis: Redis, redis_url: str) -> None:
    share_refusals(redis, NAMES[0], {})
    share_refusals(redis, NAMES[1], {"m 1.0.0": DIFFERENT})
    assert 0 < int(str(redis.ttl(f"pulse.{NAMES[0]}.refused"))) <= EXPIRES_S
    redis.delete(f"pulse.{NAMES[0]}.refused")
    assert refused_by_all(redis_url) == {"m 1.0.0": DIFFERENT}
    assert redis.smembers(WORKERS) == {NAMES[1]}


def test_without_redis_no_refusal_is_known() -> None:
    assert refused_by_all("redis://127.0.0.1:1/0") == {}
    assert refused_by_all("") == {}
