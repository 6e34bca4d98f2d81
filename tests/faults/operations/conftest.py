"""The stack that operators break: embedded Postgres, one worker, and a Redis of our own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.arena import Arena, opened_arena
from tests.faults.operations.redis_server import OwnRedis, own_redis


@dataclass(frozen=True)
class Operated:
    """A stack and the Redis that it uses."""

    arena: Arena
    redis: OwnRedis


@pytest.fixture(scope="package")
def operated(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Operated]:
    """Started once: a stack takes seconds to come up."""
    folder = tmp_path_factory.mktemp("operated")
    with own_redis(folder / "redis") as redis:
        settings = {"MEDQUEUE_REDIS_URL": redis.url}
        with opened_arena(folder, seed, workers=1, settings=settings) as arena:
            yield Operated(arena, redis)
