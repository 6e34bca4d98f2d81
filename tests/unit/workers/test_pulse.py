"""How a process judges its own pulse: from when a message has waited, and what excuses it."""

from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as NotConnected

from workers.process.pulse import RECONNECT_S, TASK_S, OwnPulse


class World:
    """A clock, and a Redis that can go away. `meanwhile` happens while a message is being sent."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.away = False
        self.holds = False
        self.meanwhile: Callable[[], object] = lambda: None
        self.pulse = OwnPulse(self.send, holds=lambda: self.holds, clock=lambda: self.now_s)

    def send(self) -> None:
        if self.away:
            raise NotConnected
        self.now_s += 0.001
        self.meanwhile()

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds

    def take(self) -> None:
        with self.pulse.task():
            self.pass_s(0.001)


@pytest.fixture
def world() -> World:
    return World()


def test_a_message_waits_from_when_it_was_sent_until_it_is_taken(world: World) -> None:
    assert world.pulse.beat().waits_since_s == 100.0
    world.pass_s(3)
    assert world.pulse.beat().waits_since_s == 100.0
    world.take()
    assert world.pulse.now().waits_since_s is None


def test_a_message_that_is_taken_while_it_is_sent_does_not_wait(world: World) -> None:
    world.meanwhile = world.take
    assert world.pulse.beat().waits_since_s is None


def test_a_process_is_busy_while_a_task_is_in_hand(world: World) -> None:
    with world.pulse.task():
        world.pass_s(TASK_S - 1)
        assert world.pulse.now().busy
        world.pass_s(2)
        assert not world.pulse.now().busy
    assert not world.pulse.now().busy


def test_a_process_that_holds_work_is_busy_however_long(world: World) -> None:
    world.holds = True
    with world.pulse.task():
        world.pass_s(100 * TASK_S)
        assert world.pulse.now().busy


def test_what_waited_behind_a_task_waits_from_its_end(world: World) -> None:
    with world.pulse.task():
        world.pass_s(1)
        world.pulse.beat()
        world.pass_s(200)
        ended = world.now_s
    assert world.pulse.now().waits_since_s == ended


def test_without_redis_nothing_waits(world: World) -> None:
    world.pulse.beat()
    world.away = True
    found = world.pulse.beat()
    assert (found.redis_away, found.waits_since_s) == (True, None)


def test_after_an_outage_celery_is_given_time_to_notice(world: World) -> None:
    world.away = True
    world.pulse.beat()
    world.away = False
    began = world.now_s
    found = world.pulse.beat()
    assert (found.redis_away, found.waits_since_s) == (False, began + RECONNECT_S)
    world.pass_s(3)
    assert world.pulse.beat().waits_since_s == began + RECONNECT_S


def test_a_task_that_fails_is_no_longer_in_hand(world: World) -> None:
    with pytest.raises(LookupError), world.pulse.task():
        raise LookupError
    assert not world.pulse.now().busy
