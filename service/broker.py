"""What goes through Redis: wake-ups that Celery takes, a process's own pulse, and announcements of jobs that ended.

Nothing here may matter for correctness: Redis can be slow, empty or gone. Tasks are sent by name.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import structlog
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NotAnswered

from service import failpoints
from service.failpoints import Point
from service.queue import QueueName, TaskName, WakeUp, pulse_wake_up
from service.redis_client import SOCKET_TIMEOUT_S, redis_client
from service.redis_faults import RedisFault, fault_of
from service.wire import Command, Refused, Wire

ENDED_CHANNEL = "medqueue:ended"
CHECK_S = 0.25
PAUSE_AFTER_REFUSAL_S = 1.0
PAUSES_OF_LISTENER_S = (0.5, 1.0, 2.0)
PROBE_TIMEOUT_S = 1.0
HEALTH_CHECK_S = (
    2  # of a listener: the driver sends a ping after as long a silence, and one a second until it is answered
)
UNANSWERED_PINGS = 2
UUID_CHARS = 36
UUIDS = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Sends a wake-up unless the same one waits to be taken: the message itself is the flag that joins them.
SEND = """
if not redis.call('LPOS', KEYS[1], ARGV[1]) then
    redis.call('LPUSH', KEYS[1], ARGV[1])
end
"""

# A process that is gone never takes its message: so the queue expires.
SEND_PULSE = SEND + "redis.call('EXPIRE', KEYS[1], ARGV[2])"
PULSE_EXPIRES_S = 60

ROUTES = {
    TaskName.SCORE: QueueName.SCORE,
    TaskName.DELIVER: QueueName.MAINTENANCE,
    TaskName.PULSE: QueueName.PULSE,
}

log = structlog.get_logger()


def queue_of(wake_up: WakeUp) -> str:
    """The list in Redis that its message waits in."""
    queue = ROUTES[wake_up.task].value
    return f"{queue}.{wake_up.subject}" if wake_up.task is TaskName.PULSE else queue


def send_pulse(redis: Redis, process: str) -> None:
    """Send a process its pulse, unless the last one still waits. Raises RedisError or OSError."""
    wake_up = pulse_wake_up(process)
    redis.eval(SEND_PULSE, 1, queue_of(wake_up), message_of(wake_up), PULSE_EXPIRES_S)


def redis_fault(url: str, *, timeout_s: float = PROBE_TIMEOUT_S) -> RedisFault | None:
    """Why Redis takes no wake-ups; None when one was sent as the API does and taken as workers do.

    The lists are this probe's own. Their names are covered by the permission for pulses; the first one is kept by the
    node of a cluster that keeps the list of wake-ups, and the second by another, so that a cluster is detected. The
    lists of wake-ups are checked, too: a foreign key of that name would block them all.
    """
    number = uuid4().hex
    lists = [f"{QueueName.PULSE}.{{{QueueName.SCORE}}}.{number}", f"{QueueName.PULSE}.{number}"]
    try:
        with redis_client(url, timeout_s=timeout_s) as client:
            client.eval(SEND_PULSE, 1, lists[0], "probe", PULSE_EXPIRES_S)
            client.brpop(lists, timeout=1)
            client.llen(QueueName.SCORE)
            client.llen(QueueName.MAINTENANCE)
    except (RedisError, OSError, ValueError) as error:
        return fault_of(error)
    return None


def waits(redis: Redis, wake_up: WakeUp) -> bool:
    """Whether a wake-up is waiting. Raises RedisError or OSError."""
    return redis.lpos(queue_of(wake_up), message_of(wake_up)) is not None


@lru_cache(maxsize=1024)
def message_of(wake_up: WakeUp) -> str:
    """A wake-up as Celery's worker takes it from Redis: always the same text, so that equal ones are found.

    Celery's message protocol, version 2 (docs.celeryq.dev, "Message Protocol"), in kombu's envelope for Redis. Written here
    because kombu gives every message another id, and costs ten times the round trip; a test lets a worker take one.
    """
    task_id = f"{wake_up.task}:{wake_up.subject}"
    queue = queue_of(wake_up)
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
        self._fault: RedisFault | None = None
        self._connects_at = 0.0
        self._signal = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
        self._thread.start()

    def wake(self, wake_up: WakeUp) -> None:
        """See TaskQueue."""
        failpoints.reach(Point.WAKE_UP_BEFORE)
        command = ("EVAL", SEND, "1", queue_of(wake_up), message_of(wake_up))
        with self._signal:
            if not self._sent(command):
                self._pending[command] = None
        failpoints.reach(Point.WAKE_UP_AFTER)

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """See TaskQueue. What Redis does not take is not repeated: callers poll as well."""
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
        except Refused as refused:
            self._note_refusal(self._wire, refused)
        except (RedisError, OSError) as error:
            self._break(self._wire, error)
        return False

    def _note_refusal(self, wire: Wire, refused: Refused) -> None:
        """Keep a wake-up that Redis refused, and reconnect after a while: the master may have changed by then."""
        if refused.command[0] != "EVAL":  # announcements are not repeated
            self._tell(refused)
            return
        self._pending[refused.command] = None
        self._connects_at = time.monotonic() + PAUSE_AFTER_REFUSAL_S
        self._break(wire, refused)

    def _break(self, wire: Wire, error: Exception) -> None:
        """Give a wire up. The wake-ups on it may have been lost: they are sent again."""
        self._tell(error)
        self._pending.update(dict.fromkeys(sent for sent in wire.unanswered() if sent[0] == "EVAL"))
        self._wire = None
        wire.close()

    def _run(self) -> None:
        while True:
            if self._wire is None and (self._closing or time.monotonic() >= self._connects_at):
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
        with self._signal:
            self._wire = wire

    def _look_after(self) -> None:
        """Read replies that nobody has read, and send what is pending."""
        if self._wire is not None:
            try:
                self._wire.check()
                if self._wire.answered:
                    self._fault = None
            except Refused as refused:
                self._note_refusal(self._wire, refused)
            except (RedisError, OSError) as error:
                self._break(self._wire, error)
        for command in list(self._pending):
            if not self._sent(command):
                return
            del self._pending[command]

    def _tell(self, error: Exception) -> None:
        """Log what is wrong with Redis, once while it stays the same."""
        fault = fault_of(error)
        if fault is not self._fault:
            self._fault = fault
            log.warning("redis_away", fault=fault.value, advice=fault.advice, reason=type(error).__name__)


class EndedListener:
    """Listens for jobs that have ended and calls `on_ended`; reconnects for ever. Missed announcements are lost."""

    def __init__(self, redis_url: str, on_ended: Callable[[list[str]], None]) -> None:
        self._redis = redis_client(redis_url, timeout_s=5, health_check_s=HEALTH_CHECK_S)
        self._on_ended = on_ended
        self._hears = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ended-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(timeout=3)

    @property
    def hears(self) -> bool:
        """Whether it is subscribed. If not, callers find out by polling."""
        return self._hears

    def _run(self) -> None:
        tries, told = 0, None
        while not self._closing.is_set():
            try:
                self._listen()
            except (RedisError, OSError, ValueError) as error:  # ValueError: a malformed announcement
                tries, told = (0, None) if self._hears else (tries, told)
                self._hears = False
                if (fault := fault_of(error)) is not told:
                    told = fault
                    log.warning("announcements_not_heard", fault=fault.value, reason=type(error).__name__)
                self._closing.wait(PAUSES_OF_LISTENER_S[min(tries, len(PAUSES_OF_LISTENER_S) - 1)])
                tries += 1

    def _listen(self) -> None:
        subscription: PubSub = self._redis.pubsub()  # type: ignore[no-untyped-call]
        with subscription:
            subscription.subscribe(ENDED_CHANNEL)
            while not self._closing.is_set():
                message: dict[str, Any] | None = subscription.get_message(timeout=1.0)
                if subscription.health_check_response_counter > UNANSWERED_PINGS:
                    raise NotAnswered
                self._hears = self._hears or message is not None
                if message is not None and message["type"] == "message":
                    self._on_ended(announced_ids(message["data"]))


def announced_ids(message: str) -> list[str]:
    """The job ids of one announcement, as canonical text with nothing between. Raises ValueError.

    They stay text: every API process hears of every job, and to make a UUID takes ten times as long.
    """
    ids: list[str] = UUIDS.findall(message)
    if len(ids) * UUID_CHARS != len(message):
        raise ValueError("the announcement is no sequence of UUIDs")
    return ids
