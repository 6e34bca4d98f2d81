"""Waiting requests: woken by announcements, bounded in number, their places given back."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from service.desk.waiting import REMEMBERED, REREAD_S, Waiting
from service.errors import DatabaseUnavailable
from service.metrics import REGISTRY

LONG_S = 20.0
AT_ONCE_S = 1.0
JOB, OTHER = uuid4(), uuid4()
TENANT = UUID(int=9)


def never() -> bool:
    return False


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def waits(
    pool: ThreadPoolExecutor, waiting: Waiting, job: UUID, has_ended: Callable[[], bool] = never
) -> Future[bool]:
    """A request that waits for `job` in a thread of its own and has started to."""
    started, before = threading.Event(), gauge("medqueue_waiting_requests")

    def wait() -> bool:
        started.set()
        return waiting.wait(TENANT, job, LONG_S, has_ended)

    future = pool.submit(wait)
    started.wait()
    until = time.monotonic() + AT_ONCE_S
    while gauge("medqueue_waiting_requests") == before and time.monotonic() < until:
        time.sleep(0.001)
    return future


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def test_a_waiter_is_woken_by_the_announcement_of_its_job(threads: ThreadPoolExecutor) -> None:
    waiting = Waiting(1)
    waiter = waits(threads, waiting, JOB)
    waiting.ended([str(OTHER), str(JOB)])
    assert waiter.result(AT_ONCE_S) is True


def test_all_waiters_of_a_job_are_woken_together(threads: ThreadPoolExecutor) -> None:
    waiting = Waiting(3)
    waiters = [waits(threads, waiting, JOB) for _ in range(3)]
    waiting.ended([str(JOB)])
    assert [waiter.result(AT_ONCE_S) for waiter in waiters] == [True] * 3


def test_the_announcement_of_another_job_wakes_nobody(threads: ThreadPoolExecutor) -> None:
    waiting = Waiting(1)
    waiter = waits(threads, waiting, JOB)
    waiting.ended([str(OTHER)])
    with pytest.raises(TimeoutError):
        waiter.result(0.1)
    waiting.ended([str(JOB)])


def test_an_announcement_that_came_before_the_wait_is_not_missed() -> None:
    waiting = Waiting(1)
    waiting.ended([str(JOB)])
    started = time.monotonic()
    assert waiting.wait(TENANT, JOB, LONG_S, never) is True
    assert time.monotonic() - started < AT_ONCE_S


def test_announcements_are_remembered_up_to_a_bound() -> None:
    waiting = Waiting(1)
    waiting.ended([str(JOB)])
    waiting.ended([str(uuid4()) for _ in range(REMEMBERED)])
    started = time.monotonic()
    waiting.wait(TENANT, JOB, 0.1, never)
    assert time.monotonic() - started >= 0.1


def test_a_lost_announcement_is_made_up_for_by_reading_again() -> None:
    started = time.monotonic()
    assert Waiting(1).wait(TENANT, JOB, LONG_S, lambda: True) is True
    assert time.monotonic() - started < REREAD_S + AT_ONCE_S


def test_a_wait_ends_when_its_time_is_over() -> None:
    started = time.monotonic()
    assert Waiting(1).wait(TENANT, JOB, 0.1, never) is True
    assert 0.1 <= time.monotonic() - started < AT_ONCE_S


def test_past_the_bound_a_request_is_answered_at_once_and_counted(threads: ThreadPoolExecutor) -> None:
    waiting = Waiting(1)
    waiter = waits(threads, waiting, JOB)
    refused = gauge("medqueue_waits_refused_total")
    started = time.monotonic()
    assert waiting.wait(TENANT, OTHER, LONG_S, never) is False
    assert time.monotonic() - started < AT_ONCE_S
    assert gauge("medqueue_waits_refused_total") == refused + 1
    waiting.ended([str(JOB)])
    waiter.result(AT_ONCE_S)


def test_with_a_bound_of_none_nobody_waits() -> None:
    assert Waiting(0).wait(TENANT, JOB, LONG_S, never) is False


def test_a_place_is_given_back_after_a_wait() -> None:
    waiting = Waiting(1)
    assert [waiting.wait(TENANT, JOB, 0.001, never) for _ in range(3)] == [True] * 3


def test_a_place_is_given_back_when_the_database_is_away() -> None:
    def fails() -> bool:
        raise DatabaseUnavailable

    waiting, before = Waiting(1), gauge("medqueue_waiting_requests")
    with pytest.raises(DatabaseUnavailable):
        waiting.wait(TENANT, JOB, 0.001, fails)
    assert waiting.wait(TENANT, JOB, 0.001, never) is True
    assert gauge("medqueue_waiting_requests") == before


def test_waiting_requests_are_counted_while_they_wait(threads: ThreadPoolExecutor) -> None:
    waiting, before = Waiting(2), gauge("medqueue_waiting_requests")
    waiters = [waits(threads, waiting, JOB) for _ in range(2)]
    assert gauge("medqueue_waiting_requests") == before + 2
    waiting.ended([str(JOB)])
    assert all(waiter.result(AT_ONCE_S) for waiter in waiters)
    assert gauge("medqueue_waiting_requests") == before


def test_one_who_follows_events_is_woken_by_any_announcement(threads: ThreadPoolExecutor) -> None:
    waiting = Waiting(1)
    heard = waiting.announcements
    follower = threads.submit(waiting.wait_for_news, heard, LONG_S)
    waiting.ended([str(OTHER)])
    assert follower.result(AT_ONCE_S) is True


def test_news_that_came_between_reading_and_waiting_is_not_missed() -> None:
    waiting = Waiting(1)
    heard = waiting.announcements
    waiting.ended([str(JOB)])
    assert waiting.wait_for_news(heard, LONG_S) is True
    assert waiting.wait_for_news(waiting.announcements, 0.01) is False


def test_followers_and_those_who_wait_for_a_job_share_the_places() -> None:
    waiting, before = Waiting(1), gauge("medqueue_waiting_requests")
    with waiting.place(TENANT) as placed:
        assert placed
        assert gauge("medqueue_waiting_requests") == before + 1
        assert waiting.wait(TENANT, JOB, LONG_S, never) is False
        with waiting.place(TENANT) as second:
            assert not second
    assert gauge("medqueue_waiting_requests") == before
    assert waiting.wait(TENANT, JOB, 0.001, never) is True


def test_while_announcements_are_not_heard_the_database_is_read_more_often(
    threads: ThreadPoolExecutor,
) -> None:
    waiting, reads = Waiting(1), list[float]()
    waiting.hears = lambda: False

    def has_ended() -> bool:
        reads.append(time.monotonic())
        return len(reads) == 3

    began = time.monotonic()
    assert waits(threads, waiting, JOB, has_ended).result(2 * REREAD_S)
    assert time.monotonic() - began < REREAD_S
