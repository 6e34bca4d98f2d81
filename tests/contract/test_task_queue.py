"""TaskQueue: wake-ups that join, announcements that arrive. The same for the fake and for Celery over real Redis."""

import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from celery.worker.request import Request
from redis import Redis

from service.broker import ENDED_CHANNEL, CeleryTaskQueue, EndedListener, celery_app, redis_client
from service.embedded import ServerUrls
from service.queue import QueueName, TaskName, TaskQueue, WakeUp, score_wake_up
from tests.fakes import FakeTaskQueue

QUIET_S = 0.3
CALLS = 21


@dataclass(frozen=True)
class Waking:
    """A queue and its other end: how often a wake-up waits to be taken, and taking it."""

    queue: TaskQueue
    waiting: Callable[[WakeUp], int]
    take: Callable[[WakeUp], None]


@dataclass(frozen=True)
class Announcing:
    """A queue and its other end: which announcements arrived."""

    queue: TaskQueue
    heard: list[UUID]


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
    listener = EndedListener(redis_url, heard.extend)
    opened.callback(listener.close)
    with asking(redis_url) as redis:
        until(lambda: redis.publish(ENDED_CHANNEL, ""))
    return heard


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["fake", "celery"])
def waking(request: pytest.FixtureRequest, opened: ExitStack) -> Waking:
    if request.param == "fake":
        fake = FakeTaskQueue()
        return Waking(fake, lambda wake_up: wake_up in fake.waiting, fake.take)
    url = request.getfixturevalue("servers").redis_url
    return Waking(
        real(url, opened), lambda wake_up: messages(url, wake_up), lambda wake_up: take(url, wake_up)
    )


@pytest.fixture(params=["fake", "celery"])
def announcing(request: pytest.FixtureRequest, opened: ExitStack) -> Announcing:
    if request.param == "fake":
        fake = FakeTaskQueue()
        return Announcing(fake, fake.announced)
    url = request.getfixturevalue("servers").redis_url
    return Announcing(real(url, opened), listening(url, opened))


@pytest.fixture
def wake_up() -> WakeUp:
    """A wake-up that no other test sends."""
    return score_wake_up(uuid4())


def test_a_wake_up_is_sent(waking: Waking, wake_up: WakeUp) -> None:
    waking.queue.wake(wake_up)
    until(lambda: waking.waiting(wake_up) == 1)


def test_equal_wake_ups_are_joined(waking: Waking, wake_up: WakeUp) -> None:
    for _ in range(100):
        waking.queue.wake(wake_up)
    until(lambda: waking.waiting(wake_up))
    waking.queue.wake(wake_up)
    time.sleep(QUIET_S)
    assert waking.waiting(wake_up) == 1


def test_different_wake_ups_are_sent_apart(waking: Waking) -> None:
    subject = str(uuid4())
    others = [score_wake_up(uuid4()), WakeUp(TaskName.SCORE, subject), score_wake_up(uuid4())]
    for other in others:
        waking.queue.wake(other)
    until(lambda: [waking.waiting(other) for other in others] == [1, 1, 1])


def test_a_wake_up_is_sent_again_once_it_was_taken(waking: Waking, wake_up: WakeUp) -> None:
    for _ in range(3):
        waking.queue.wake(wake_up)
        until(lambda: waking.waiting(wake_up) == 1)
        waking.take(wake_up)
        assert waking.waiting(wake_up) == 0


def test_taking_one_wake_up_leaves_the_others_joined(waking: Waking, wake_up: WakeUp) -> None:
    other = score_wake_up(uuid4())
    for sent in (wake_up, other):
        waking.queue.wake(sent)
        until(lambda: waking.waiting(sent) == 1)  # noqa: B023 - it is called at once
    waking.take(other)
    waking.queue.wake(wake_up)
    time.sleep(QUIET_S)
    assert waking.waiting(wake_up) == 1


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_announced_jobs_are_heard_in_order(announcing: Announcing, count: int) -> None:
    ids = [uuid4() for _ in range(count)]
    announcing.queue.announce(ids)
    until(lambda: len(announcing.heard) >= count)
    assert announcing.heard == ids


def test_announcing_nothing_is_no_error(announcing: Announcing) -> None:
    announcing.queue.announce([])
    job = uuid4()
    announcing.queue.announce([job])
    until(lambda: announcing.heard == [job])


# What follows is true of the real one only: the fake has no clock, no Redis and no other process.


def test_wake_ups_of_several_processes_are_joined(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    queues = [real(servers.redis_url, opened) for _ in range(3)]
    for queue in queues:
        queue.wake(wake_up)
    time.sleep(QUIET_S)
    assert messages(servers.redis_url, wake_up) == 1


def waking_up(subject: str) -> None:
    """What a task looks like from outside."""


def test_celery_takes_a_wake_up_as_a_task_with_its_subject(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    """The message is written by us: the broker that workers read from must find task, arguments and queue in it."""
    real(servers.redis_url, opened).wake(wake_up)
    until(lambda: messages(servers.redis_url, wake_up) == 1)
    app = celery_app(servers.redis_url)
    opened.callback(app.close)
    task = app.task(waking_up, name=wake_up.task.value, shared=False)
    taken: list[Request] = []

    def take_it(message: Any) -> None:
        taken.append(Request(message, app=app, task=task))

    def ours() -> list[Request]:
        return [found for found in taken if list(found.args) == [wake_up.subject]]

    with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection, no_ack=True) as consumer:
        consumer.on_message = take_it
        until(lambda: connection.drain_events(timeout=1) or ours())
    assert [(found.name, found.kwargs) for found in ours()] == [(wake_up.task.value, {})]


def test_a_wake_up_holds_a_task_and_a_subject_and_nothing_else(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    real(servers.redis_url, opened).wake(wake_up)
    until(lambda: messages(servers.redis_url, wake_up) == 1)
    with asking(servers.redis_url) as redis:
        waiting = [json.loads(text) for text in redis.lrange(QueueName.SCORE.value, 0, -1)]
    (message,) = [found for found in waiting if wake_up.subject in found["headers"]["argsrepr"]]
    assert (message["headers"]["kwargsrepr"], message["headers"]["argsrepr"]) == (
        "{}",
        repr((wake_up.subject,)),
    )


def test_more_wake_ups_than_the_wire_takes_at_once_are_all_sent(
    servers: ServerUrls, opened: ExitStack
) -> None:
    queue, wake_ups = real(servers.redis_url, opened), [score_wake_up(uuid4()) for _ in range(300)]
    for wake_up in wake_ups:
        queue.wake(wake_up)
    until(lambda: all(messages(servers.redis_url, wake_up) == 1 for wake_up in wake_ups))


def test_a_queue_that_is_closed_sends_what_is_pending_first(servers: ServerUrls, wake_up: WakeUp) -> None:
    queue = CeleryTaskQueue(servers.redis_url)
    queue.wake(wake_up)
    queue.close()
    assert messages(servers.redis_url, wake_up) == 1


def test_a_wake_up_that_could_not_be_sent_is_sent_when_redis_takes_it(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    """Redis takes the command and refuses the message."""
    redis = opened.enter_context(asking(servers.redis_url))
    address = urlsplit(servers.redis_url)

    def allow(*rules: str) -> None:
        redis.execute_command("ACL", "SETUSER", "limited", *rules)

    allow("on", ">pw", "~*", "&*", "+@all", "-lpush")
    opened.callback(redis.acl_deluser, "limited")
    real(f"redis://limited:pw@{address.hostname}:{address.port}/0", opened).wake(wake_up)
    time.sleep(QUIET_S)
    assert messages(servers.redis_url, wake_up) == 0
    allow("+lpush")
    until(lambda: messages(servers.redis_url, wake_up) == 1)


@pytest.mark.parametrize("message", [b"x", b"\xff\xfe", b"x" * 36], ids=repr)
def test_a_listener_hears_on_after_an_announcement_that_is_none(
    message: bytes, servers: ServerUrls, opened: ExitStack
) -> None:
    heard, job = listening(servers.redis_url, opened), uuid4()
    with asking(servers.redis_url) as redis:
        redis.publish(ENDED_CHANNEL, message)

        def heard_after() -> bool:
            redis.publish(ENDED_CHANNEL, str(job))
            return job in heard

        until(heard_after, within_s=2.0)


def test_a_listener_subscribes_again_when_its_connection_breaks(
    servers: ServerUrls, opened: ExitStack
) -> None:
    heard, job = listening(servers.redis_url, opened), uuid4()
    with asking(servers.redis_url) as redis:
        redis.client_kill_filter(_type="pubsub")

        def heard_after() -> bool:
            redis.publish(ENDED_CHANNEL, str(job))
            return job in heard

        until(heard_after)


def test_a_client_that_is_closed_leaves_no_connection(servers: ServerUrls) -> None:
    with redis_client(servers.redis_url) as client:
        client.client_setname("left")
    with asking(servers.redis_url) as redis:
        assert [found["name"] for found in redis.client_list() if found["name"] == "left"] == []


def test_a_flushed_redis_costs_no_later_wake_up(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    queue = real(servers.redis_url, opened)
    queue.wake(wake_up)
    until(lambda: messages(servers.redis_url, wake_up) == 1)
    with asking(servers.redis_url) as redis:
        redis.flushall()
    queue.wake(wake_up)
    until(lambda: messages(servers.redis_url, wake_up) == 1)


@pytest.fixture
def closed_port() -> str:
    """Where nobody listens: connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{free.getsockname()[1]}/0"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"redis://127.0.0.1:{silent.getsockname()[1]}/0"


@pytest.fixture(params=["closed_port", "black_hole"])
def away(request: pytest.FixtureRequest) -> str:
    """A Redis that is away."""
    url: str = request.getfixturevalue(request.param)
    return url


def seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def test_without_redis_neither_a_wake_up_nor_an_announcement_blocks_or_raises(
    away: str, opened: ExitStack
) -> None:
    queue = real(away, opened)
    first = [seconds(lambda: queue.wake(score_wake_up(uuid4()))) for _ in range(CALLS)]
    time.sleep(QUIET_S)  # the sender is stuck by now
    later = [seconds(lambda: queue.wake(score_wake_up(uuid4()))) for _ in range(CALLS)]
    announced = [seconds(lambda: queue.announce([uuid4()])) for _ in range(CALLS)]
    for taken in (first, later, announced):
        assert statistics.median(taken) < 0.05
        assert max(taken) < 0.5


def test_without_redis_a_queue_and_a_listener_can_be_closed(away: str, wake_up: WakeUp) -> None:
    queue = CeleryTaskQueue(away)
    listener = EndedListener(away, lambda ids: None)
    queue.wake(wake_up)
    assert seconds(queue.close) < 6
    assert seconds(listener.close) < 6


def test_a_wake_up_sent_without_redis_arrives_when_redis_comes_back(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    line = Line(servers.redis_url, opened)
    queue = real(line.url, opened)
    queue.wake(wake_up)
    time.sleep(QUIET_S)
    line.open()
    until(lambda: messages(servers.redis_url, wake_up) == 1)


class Line:
    """A forwarder to Redis on a port of its own, that refuses connections until it is opened."""

    def __init__(self, redis_url: str, opened: ExitStack) -> None:
        self._target = urlsplit(redis_url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._opened = opened
        self.url = redis_url.replace(f":{self._target.port}/", f":{self._port}/")

    def open(self) -> None:
        """Take connections from now on."""
        server = self._opened.enter_context(socket.create_server(("127.0.0.1", self._port)))
        threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection((self._target.hostname, self._target.port))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65536):
                sink.sendall(part)
        except OSError:
            pass
        sink.close()
