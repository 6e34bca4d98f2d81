"""Celery over Redis: its configuration, the TaskQueue that sends through it, and the listener for announcements.

Nothing here may matter for correctness: Redis can be slow, empty or gone. Tasks are sent by name.
"""

import json
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

from service import failpoints
from service.failpoints import Point
from service.queue import QueueName, TaskName, WakeUp, pulse_wake_up
from service.wire import Command, Wire

ENDED_CHANNEL = "medqueue:ended"
SOCKET_TIMEOUT_S = 2.0
CHECK_S = 0.25
PAUSE_AFTER_FAULT_S = 0.5
UUID_CHARS = 36

# Sends a wake-up unless the same one waits to be taken: the message itself is the flag that joins them.
SEND = """
if not redis.call('LPOS', KEYS[1], ARGV[1]) then
    redis.call('LPUSH', KEYS[1], ARGV[1])
end
"""

# A process that is gone takes its message no more: then the queue expires.
SEND_PULSE = SEND + "redis.call('EXPIRE', KEYS[1], ARGV[2])"
PULSE_EXPIRES_S = 60

ROUTES = {
    TaskName.SCORE: QueueName.SCORE,
    TaskName.DELIVER: QueueName.MAINTENANCE,
    TaskName.PULSE: QueueName.PULSE,
}

log = structlog.get_logger()


def celery_app(redis_url: str) -> Celery:
    """A Celery app with the settings that matter; docs/decisions/0001 and DESIGN say why each is so."""
    app = Celery("medqueue", broker=redis_url, set_as_current=False, amqp=PromptAMQP)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_routes={task.value: {"queue": queue.value} for task, queue in ROUTES.items()},
        # The nameless exchange goes straight to the queue; a named one is looked up in Redis for every message.
        task_queues=[_queue(name.value, no_ack=name is QueueName.SCORE) for name in QueueName],
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
    )
    return app


class PromptConnection(Connection):
    """A broker connection that looks for a Redis that is away every second; kombu's own waits up to half a minute."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Connection:
        """See kombu."""
        intervals = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
        return super().ensure_connection(*args, **(intervals | kwargs))  # type: ignore[no-untyped-call, no-any-return]


class PromptAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's message factory over such connections."""

    Connection = PromptConnection


def _queue(name: str, *, no_ack: bool) -> Queue:
    # A message may be lost, so taking one need not be written down: that would be two round trips before each claim.
    # The scheduler's threads take one message each all the same.
    return Queue(name, Exchange(""), routing_key=name, no_ack=no_ack)  # type: ignore[no-untyped-call]


def listen_to_pulse(app: Celery, process: str) -> None:
    """Let this worker also consume the queue of its own pulse, whatever its command line selects."""
    app.amqp.queues.select_add(_queue(_queue_of(pulse_wake_up(process)), no_ack=True))


def _queue_of(wake_up: WakeUp) -> str:
    queue = ROUTES[wake_up.task].value
    return f"{queue}.{wake_up.subject}" if wake_up.task is TaskName.PULSE else queue


def send_pulse(redis: Redis, process: str) -> None:
    """Send a process its pulse, unless the last one still waits. Raises RedisError or OSError."""
    wake_up = pulse_wake_up(process)
    redis.eval(SEND_PULSE, 1, _queue_of(wake_up), message_of(wake_up), PULSE_EXPIRES_S)


def waits(redis: Redis, wake_up: WakeUp) -> bool:
    """Whether a wake-up waits to be taken. Raises RedisError or OSError."""
    return redis.lpos(_queue_of(wake_up), message_of(wake_up)) is not None


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


@lru_cache(maxsize=1024)
def message_of(wake_up: WakeUp) -> str:
    """A wake-up as Celery's worker takes it from Redis: always the same text, so that equal ones are found.

    Celery's message protocol, version 2 (docs.celeryq.dev, "Message Protocol"), in kombu's envelope for Redis. Written here
    because kombu gives every message another id, and costs ten times the round trip; a test lets a worker take one.
    """
    task_id = f"{wake_up.task}:{wake_up.subject}"
    queue = _queue_of(wake_up)
    return json.dumps(
        {
            "body": json.dumps([[wake_up.subject], {}, {}]),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {
                "lang": "py",
                "task": wake_up.task.value,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": repr((wake_up.subject,)),
                "kwargsrepr": "{}",
                "ignore_result": True,
            },
            "properties": {
                "correlation_id": task_id,
                "delivery_tag": task_id,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
            },
        }
    )


class CeleryTaskQueue:
    """Sends wake-ups and announcements at once and without waiting, joining equal wake-ups.

    A wake-up whose message still waits in Redis, whoever sent it, is not sent again: the worker that takes it has yet
    to claim, and will find this work too. A thread connects, looks after the replies, and sends again what Redis may
    not have taken. Handing every wake-up to that thread was measured to cost a lone job 0.7 ms of waiting for the
    interpreter.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_client(redis_url)
        self._wire: Wire | None = None
        self._pending: dict[Command, None] = {}
        self._away = False
        self._signal = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
        self._thread.start()

    def wake(self, wake_up: WakeUp) -> None:
        """See TaskQueue."""
        failpoints.reach(Point.WAKE_UP_BEFORE)
        command = ("EVAL", SEND, "1", _queue_of(wake_up), message_of(wake_up))
        with self._signal:
            if not self._sent(command):
                self._pending[command] = None
        failpoints.reach(Point.WAKE_UP_AFTER)

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """See TaskQueue. What Redis does not take is not repeated: callers look again by themselves."""
        if job_ids:
            with self._signal:
                self._sent(("PUBLISH", ENDED_CHANNEL, "".join(map(str, job_ids))))
            failpoints.reach(Point.ANNOUNCE_AFTER)

    def close(self) -> None:
        """Send what is pending, as far as Redis answers, and end the thread."""
        with self._signal:
            self._closing = True
            self._signal.notify()
        self._thread.join(timeout=2 * SOCKET_TIMEOUT_S)
        self._redis.close()

    def _sent(self, command: Command) -> bool:
        """Whether the wire took it. Called with the lock held, as is what follows."""
        if self._wire is None:
            return False
        try:
            return self._wire.send(command)
        except (RedisError, OSError) as error:
            self._break(self._wire, error)
            return False

    def _break(self, wire: Wire, error: Exception) -> None:
        """Give a wire up. The wake-ups on it may have been lost: they are sent again."""
        self._tell(error)
        self._pending.update(dict.fromkeys(sent for sent in wire.unanswered() if sent[0] == "EVAL"))
        self._wire = None
        wire.close()

    def _run(self) -> None:
        while True:
            if self._wire is None:
                self._connect()
            with self._signal:
                self._look_after()
                if self._closing and not (self._wire and self._wire.unanswered()):
                    break
                self._signal.wait(timeout=CHECK_S)
        if self._wire is not None:
            self._wire.close()

    def _connect(self) -> None:
        """Make a wire, which may take a while."""
        try:
            wire = Wire(self._redis, patience_s=SOCKET_TIMEOUT_S)
        except (RedisError, OSError) as error:
            self._tell(error)
            return
        self._away = False
        with self._signal:
            self._wire = wire

    def _look_after(self) -> None:
        """Read replies that nobody has read, and send what is pending."""
        if self._wire is not None:
            try:
                self._wire.check()
            except (RedisError, OSError) as error:
                self._break(self._wire, error)
        for command in list(self._pending):
            if not self._sent(command):
                return
            del self._pending[command]

    def _tell(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("redis_away", reason=type(error).__name__)


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
