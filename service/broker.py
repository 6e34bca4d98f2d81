"""Celery over Redis: its configuration, the TaskQueue that sends through it, and the listener for announcements.

Nothing here may matter for correctness: Redis can be slow, empty or gone. Tasks are sent by name, from a thread of
their own, so that a request never waits for Redis.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

from service.queue import QueueName, TaskName, WakeUp

ENDED_CHANNEL = "medqueue:ended"
FLAG_PREFIX = "medqueue:woken:"
SOCKET_TIMEOUT_S = 2.0
PAUSE_AFTER_FAULT_S = 0.5
MAX_ANNOUNCEMENTS = 1000
UUID_CHARS = 36

ROUTES = {
    TaskName.SCORE: QueueName.SCORE,
    TaskName.RESCUE: QueueName.MAINTENANCE,
    TaskName.REWAKE: QueueName.MAINTENANCE,
}

log = structlog.get_logger()


def celery_app(redis_url: str) -> Celery:
    """A Celery app with the settings that matter; docs/decisions/0001 and DESIGN say why each is so."""
    app = Celery("medqueue", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_routes={task.value: {"queue": queue.value} for task, queue in ROUTES.items()},
        # The nameless exchange goes straight to the queue; a named one is looked up in Redis for every message.
        task_queues=[_queue(name) for name in QueueName],
        task_default_queue=QueueName.MAINTENANCE.value,
        task_acks_late=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=2,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "visibility_timeout": 60,
            "brpop_timeout": 1,
        },
        timezone="UTC",
        enable_utc=True,
        beat_max_loop_interval=1,
    )
    return app


def _queue(name: QueueName) -> Queue:
    return Queue(name.value, Exchange(""), routing_key=name.value)  # type: ignore[no-untyped-call]


def redis_client(url: str, *, timeout_s: float = SOCKET_TIMEOUT_S) -> Redis:
    """A Redis client that never retries on its own: a repeated wake-up is sent by the sweep, not by the driver."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
    )
    return Redis.from_pool(pool)


class CeleryTaskQueue:
    """Sends wake-ups and announcements from its own thread, joining equal wake-ups.

    A flag in Redis with a short life joins the wake-ups of all processes: who sets it sends the message, the task
    clears it before it claims. A wake-up that cannot be sent is tried again until it is sent or joined.
    """

    def __init__(self, redis_url: str, *, flag_ms: int) -> None:
        self._app = celery_app(redis_url)
        self._redis = redis_client(redis_url)
        self._flag_ms = flag_ms
        self._pending: dict[WakeUp, None] = {}
        self._ended: deque[UUID] = deque(maxlen=MAX_ANNOUNCEMENTS)
        self._flagged: set[WakeUp] = set()  # the flag is ours, the message not yet sent
        self._signal = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
        self._thread.start()

    def wake(self, wake_up: WakeUp) -> None:
        """See TaskQueue."""
        with self._signal:
            self._pending[wake_up] = None
            self._signal.notify()

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """See TaskQueue. Past MAX_ANNOUNCEMENTS unsent ids the oldest are dropped: callers look again by themselves."""
        with self._signal:
            self._ended.extend(job_ids)
            self._signal.notify()

    def clear(self, wake_up: WakeUp) -> None:
        """See TaskQueue. When Redis does not answer, the flag's short life clears it."""
        try:
            self._redis.delete(_flag(wake_up))
        except RedisError:
            log.warning("wake_up_flag_not_cleared", task=wake_up.task)

    def close(self) -> None:
        """Send what is pending, as far as Redis answers, and end the thread."""
        with self._signal:
            self._closing = True
            self._signal.notify()
        self._thread.join(timeout=2 * SOCKET_TIMEOUT_S)
        self._redis.close()
        self._app.close()

    def _run(self) -> None:
        while True:
            with self._signal:
                while not (self._pending or self._ended or self._closing):
                    self._signal.wait()
                wake_ups, ended, closing = list(self._pending), list(self._ended), self._closing
                self._pending.clear()
                self._ended.clear()
            try:
                self._send(wake_ups, ended)
            except (RedisError, OperationalError, OSError) as error:
                log.warning("wake_ups_not_sent", reason=type(error).__name__)
                self._again(wake_ups)
            if closing:
                return

    def _send(self, wake_ups: list[WakeUp], ended: list[UUID]) -> None:
        if ended:
            self._redis.publish(ENDED_CHANNEL, "".join(map(str, ended)))
        for wake_up in wake_ups:
            if wake_up in self._flagged or self._redis.set(_flag(wake_up), 1, nx=True, px=self._flag_ms):
                self._flagged.add(wake_up)
                self._app.send_task(wake_up.task.value, (wake_up.subject,), ignore_result=True)
                self._flagged.discard(wake_up)

    def _again(self, wake_ups: list[WakeUp]) -> None:
        """Put wake-ups back after a pause; announcements are not repeated."""
        with self._signal:
            self._signal.wait_for(lambda: self._closing, timeout=PAUSE_AFTER_FAULT_S)
            self._pending.update(dict.fromkeys(wake_ups))


class EndedListener:
    """Hears which jobs have ended and tells `on_ended`; reconnects for ever. What it misses stays unheard."""

    def __init__(self, redis_url: str, on_ended: Callable[[list[UUID]], None]) -> None:
        self._redis = redis_client(redis_url, timeout_s=5)
        self._on_ended = on_ended
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ended-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except (RedisError, OSError, ValueError) as error:  # ValueError: an announcement that is none
                log.warning("announcements_not_heard", reason=type(error).__name__)
                self._closing.wait(PAUSE_AFTER_FAULT_S)

    def _listen(self) -> None:
        subscription: PubSub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        with subscription:
            subscription.subscribe(ENDED_CHANNEL)
            while not self._closing.is_set():
                message: dict[str, Any] | None = subscription.get_message(timeout=1.0)
                if message is not None:
                    self._on_ended(announced_ids(message["data"]))


def announced_ids(message: str) -> list[UUID]:
    """The job ids of one announcement: 36 characters each, with nothing between."""
    return [UUID(message[start : start + UUID_CHARS]) for start in range(0, len(message), UUID_CHARS)]


def _flag(wake_up: WakeUp) -> str:
    return f"{FLAG_PREFIX}{wake_up.task}:{wake_up.subject}"
