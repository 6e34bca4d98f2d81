"""The models that each live worker refuses, in Redis, where the API and operators on other machines can read them.

A worker shares them with every pulse; what a worker that is gone has shared expires. A hint, like all that Redis
holds: without Redis no refusal is known, and jobs and answers stay the same.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from service.queue import QueueName
from service.redis_client import redis_client
from service.refusals import Refusal, parsed_refusals

MODEL_REFUSED: Final = "model_refused"  # the code of a model's problem while every live worker refuses it
WORKERS: Final = f"{QueueName.PULSE}.workers"
EXPIRES_S: Final = 30  # ten pulses
TIMEOUT_S: Final = 1.0

log = structlog.get_logger()


def share_refusals(redis: Redis, worker: str, refused: Mapping[str, Refusal]) -> None:
    """Share what a live worker refuses, by model; also that it refuses none. Raises RedisError or OSError."""
    told = json.dumps({model: asdict(refusal) for model, refusal in refused.items()})
    pipeline = redis.pipeline()
    pipeline.sadd(WORKERS, worker)
    pipeline.set(_key(worker), told, ex=EXPIRES_S)
    pipeline.execute()


def refused_by_each(redis_url: str) -> list[dict[str, Refusal]] | None:
    """The models ("NAME VERSION") that each live worker refuses; None without Redis."""
    try:
        with redis_client(redis_url, timeout_s=TIMEOUT_S) as redis:
            return _shared(redis)
    except (RedisError, OSError, ValueError) as error:  # ValueError: there is no address
        log.warning("refusals_not_read", reason=type(error).__name__)
        return None


def refused_by_all(redis_url: str) -> dict[str, Refusal]:
    """The models that every live worker refuses, each with one worker's reason; none without Redis."""
    told = refused_by_each(redis_url)
    if not told:
        return {}
    first, *others = told
    return {model: refusal for model, refusal in first.items() if all(model in each for each in others)}


def _shared(redis: Redis) -> list[dict[str, Refusal]]:
    """What each live worker refuses, in the order of their names. Forgets workers that are gone."""
    workers = sorted(map(str, redis.smembers(WORKERS)))
    if not workers:
        return []
    told = redis.mget([_key(worker) for worker in workers])
    if gone := [worker for worker, text in zip(workers, told, strict=True) if text is None]:
        redis.srem(WORKERS, *gone)  # one that lives adds itself again with its next pulse
    return [parsed_refusals(str(text)) for text in told if text is not None]


def _key(worker: str) -> str:
    return f"{QueueName.PULSE}.{worker}.refused"
