"""The stack that operators break: embedded Postgres, one worker, a Redis of our own, and a small volume for blobs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.arena import Arena, opened_arena
from tests.faults.operations.deployment import small_volume
from tests.faults.operations.redis_server import OwnRedis, own_redis


@dataclass(frozen=True)
class Operated:
    """A stack, the Redis that it uses, and where its blobs are: a volume of its own where one can be mounted."""

    arena: Arena
    redis: OwnRedis
    blobs: Path


@pytest.fixture(scope="package")
def operated(tmp_path_factory: pytest.TempPathFactory, seed: int, full: bool) -> Iterator[Operated]:
    """Started once: a stack takes seconds to come up."""
    folder = tmp_path_factory.mktemp("operated")
    with own_redis(folder / "redis") as redis, small_volume() as blobs:
        settings = {"MEDQUEUE_REDIS_URL": redis.url, "MEDQUEUE_BLOB_URL": blobs.as_uri()}
        with opened_arena(folder, seed, workers=1, settings=settings, forked=not full) as arena:
            yield Operated(arena, redis, blobs)
