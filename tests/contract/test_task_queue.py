"""TaskQueue: wake-ups that join, announcements that arrive. The same for the fake and for Celery over real Redis."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from celery.worker.request import Request

from service.broker import ENDED_CHANNEL, CeleryTaskQueue
from service.consuming import celery_app
from service.embedded import ServerUrls
from service.queue import QueueName, TaskName, TaskQueue, WakeUp, score_wake_up
from service.redis_client import redis_client
from tests.contract.redis_queue import asking, listening, messages, real, take, until
from tests.fakes import FakeTaskQueue

QUIET_S = 0.3


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
    queue, heard = real(url, opened), listening(url, opened)
    first = uuid4()

    def arrived() -> bool:
        queue.announce([first])  # what is announced before the queue has connected is lost
        return first in heard

    until(arrived)
    last = uuid4()
    queue.announce([last])
    until(lambda: last in heard)  # so that none of the first are still under way
    heard.clear()
    return Announcing(queue, heard)


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
    until(lambda: job in announcing.heard)  # what the tests before announced may come by as well


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


def test_announcements_that_are_refused_hold_up_no_wake_up(servers: ServerUrls, opened: ExitStack) -> None:
    redis = opened.enter_context(asking(servers.redis_url))
    address = urlsplit(servers.redis_url)
    redis.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-publish")
    opened.callback(redis.acl_deluser, "mute")
    queue = real(f"redis://mute:pw@{address.hostname}:{address.port}/0", opened)
    for _ in range(5):
        wake_up = score_wake_up(uuid4())
        queue.announce([uuid4()])
        queue.wake(wake_up)
        until(lambda: messages(servers.redis_url, wake_up) == 1, within_s=0.9)  # noqa: B023 - in this round


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
