"""The real TaskQueue over a real Redis, and what can be seen of it from the other side."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from uuid import UUID

from redis import Redis

from service.broker import ENDED_CHANNEL, CeleryTaskQueue, EndedListener
from service.queue import QueueName, WakeUp


def until(true: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def asking(redis_url: str) -> Redis:
    """A client for looking into Redis; it closes what it opened."""
    client: Redis = Redis.from_url(redis_url, decode_responses=True)
    return client


def messages(redis_url: str, wake_up: WakeUp, queue: QueueName = QueueName.SCORE) -> int:
    """How many messages with this wake-up wait in Redis."""
    with asking(redis_url) as redis:
        waiting = [json.loads(text) for text in redis.lrange(queue.value, 0, -1)]
    return sum(
        (message["headers"]["task"], message["headers"]["argsrepr"])
        == (wake_up.task.value, repr((wake_up.subject,)))
        for message in waiting
    )


def take(redis_url: str, wake_up: WakeUp) -> None:
    """What a worker does: the message leaves the queue."""
    with asking(redis_url) as redis:
        for text in redis.lrange(QueueName.SCORE.value, 0, -1):
            if wake_up.subject in text:
                redis.lrem(QueueName.SCORE.value, 1, text)


def real(redis_url: str, opened: ExitStack) -> CeleryTaskQueue:
    queue = CeleryTaskQueue(redis_url)
    opened.callback(queue.close)
    return queue


def listening(redis_url: str, opened: ExitStack) -> list[UUID]:
    """Ids heard by a listener that has subscribed."""
    heard: list[UUID] = []
    listener = EndedListener(redis_url, lambda ids: heard.extend(map(UUID, ids)))
    opened.callback(listener.close)
    with asking(redis_url) as redis:
        until(lambda: redis.publish(ENDED_CHANNEL, ""))
    return heard
