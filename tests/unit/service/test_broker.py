"""What stands on the wire between processes, and where each task goes. Redis itself: contract."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.broker import ROUTES, announced_ids
from service.consuming import celery_app
from service.queue import QueueName, TaskName, score_wake_up

NOWHERE = "redis://localhost:1/0"


@given(st.lists(st.uuids(), max_size=20))
def test_announced_ids_come_back(ids: list[UUID]) -> None:
    assert announced_ids("".join(map(str, ids))) == list(map(str, ids))


@pytest.mark.parametrize("message", ["x", f"{UUID(int=7)}"[:-1], f"{UUID(int=7)}x", "x" * 36])
def test_an_announcement_that_is_none_is_told_apart(message: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        announced_ids(message)


def test_a_wake_up_names_a_model_version_and_nothing_else() -> None:
    assert score_wake_up(UUID(int=7)) == (TaskName.SCORE, str(UUID(int=7)))


def test_every_task_is_routed() -> None:
    assert set(ROUTES) == set(TaskName)


def test_every_queue_is_used() -> None:
    assert set(ROUTES.values()) == set(QueueName)


@pytest.mark.parametrize("task", TaskName)
def test_celery_sends_each_task_to_its_queue(task: TaskName) -> None:
    routed = celery_app(NOWHERE).amqp.router.route({}, task.value)
    assert routed["queue"].name == ROUTES[task].value


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_serializer", "json"),
        ("accept_content", ["json"]),
        ("task_ignore_result", True),
        ("task_acks_late", False),
        ("worker_prefetch_multiplier", 1),
        ("broker_connection_max_retries", None),
        ("worker_send_task_events", False),
        ("worker_enable_remote_control", False),
    ],
)
def test_the_settings_that_keep_messages_unimportant_are_set(setting: str, value: object) -> None:
    assert celery_app(NOWHERE).conf[setting] == value


def test_no_connection_waits_for_ever() -> None:
    options = celery_app(NOWHERE).conf.broker_transport_options
    assert options["socket_timeout"] <= 10
    assert options["socket_connect_timeout"] <= 10
    assert celery_app(NOWHERE).conf.broker_pool_acquire_timeout <= 10
